"""One run: an installation under load and faults, then healed, settled, and looked at."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from storage.delivery_plan import POSITION as DELIVERIES
from tests.chaos.caller import Caller
from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Evidence, count_stale_finishes, read_defects, read_store
from tests.chaos.fleet import Fleet, Frozen, Place, fleet
from tests.chaos.history import History, Outcome
from tests.chaos.ledger import now, read_ledger
from tests.chaos.loader import CRON, Load, Loader
from tests.chaos.nemesis import APART, FIRST_AT, Nemesis, plan
from tests.chaos.receiver import Receiver, receiving
from tests.chaos.stalls import read_stalls
from tests.chaos.subscribers import Subscriber

SETTLED_WITHIN: Final = 60.0
"""Seconds from the end of all faults and calls: a lease, sweeps, the longest handler, the backlogs of runs and deliveries."""

_READY_WITHIN: Final = 60.0
_HEARD_WITHIN: Final = 15.0
_LOOK_AGAIN: Final = 0.25
_TERMINAL: Final = ["completed", "failed", "cancelled"]

WHOLE: Final = Load()
"""Callers of all kinds."""

Script = Callable[[Nemesis, Loader], Awaitable[None]]
"""What is done to an installation while callers use it."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What to do, and with which bug in the product, if any."""

    seed: int
    script: Script
    load: Load = WHOLE
    plant: str = ""
    subscribers: int = 2
    settled_within: float = SETTLED_WITHIN


def faults_for(seconds: float, seed: int) -> Script:
    """One fault after the other, as the seed has it, until the time is over."""
    draw = plan(Random(f"faults {seed}"))

    async def script(nemesis: Nemesis, _: Loader) -> None:
        over = now() + seconds
        await asyncio.sleep(FIRST_AT)
        while now() < over - APART:
            await nemesis.inject(*draw())
            await asyncio.sleep(APART)

    return script


async def carry_out(cluster: Cluster, folder: Path, experiment: Experiment) -> Evidence:
    """Do it on stores that run, with a database of its own."""
    database = f"chaos_{uuid.uuid4().hex[:8]}"
    place = Place(folder / database, cluster.mongodb_url, cluster.redis.url, database, experiment.plant)
    place.folder.mkdir(parents=True)
    await cluster.flush_redis()
    history = History()
    async with fleet(place) as members:
        urls = [gateway.url for gateway in members.gateways]
        caller = Caller(urls, history)
        loader = Loader(caller, Random(f"load {experiment.seed}"), experiment.load)
        nemesis = Nemesis(cluster, members, loader)
        async with (
            _following(urls, experiment) as subscribers,
            receiving(Random(f"receiver {experiment.seed}")) as receiver,
        ):
            await _set_webhook(caller, receiver)
            began = now()
            loader.start()
            await experiment.script(nemesis, loader)
            await _heal(cluster, members)
            healed = now()
            receiver.friendly = True
            await loader.stop()
            settled, leftovers = await _settle(cluster.mongodb_url, database, loader, experiment.settled_within)
            await _listen_to_the_end(subscribers, cluster.mongodb_url, database)
        await caller.close()
        store = await asyncio.to_thread(read_store, cluster.mongodb_url, database)
        return Evidence(
            history=history,
            effects=read_ledger(place.ledger, members.deaths, now()),
            faults=nemesis.faults,
            deaths=members.deaths,
            frozen=members.frozen,
            starved=[Frozen(*stall) for stall in read_stalls(place.stalls)],
            subscribers=subscribers,
            messages=receiver.messages,
            began=began,
            healed=healed,
            settled=settled,
            stale_finishes=count_stale_finishes(place.folder),
            defects=read_defects(place.folder),
            leftovers=leftovers,
            **store,
        )


@asynccontextmanager
async def _following(urls: list[str], experiment: Experiment) -> AsyncIterator[Sequence[Subscriber]]:
    subscribers = [
        Subscriber(urls, Random(f"subscriber {number} {experiment.seed}")) for number in range(experiment.subscribers)
    ]
    tasks = [asyncio.create_task(subscriber.follow()) for subscriber in subscribers]
    try:
        yield subscribers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _set_webhook(caller: Caller, receiver: Receiver) -> None:
    deadline = now() + _READY_WITHIN
    while (done := await caller.ask("setWebhook", input=receiver.wanted)).outcome is not Outcome.OK:
        if now() > deadline:
            raise ChildProcessError(f"the webhook could not be set: {done.answer}")
        await asyncio.sleep(_LOOK_AGAIN)


async def _heal(cluster: Cluster, members: Fleet) -> None:
    """Undo all faults, and wait until everything runs."""
    members.thaw_all()
    await cluster.revive()
    await cluster.primary()
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http, asyncio.timeout(_READY_WITHIN):
        for gateway in members.gateways:
            while not await _is_ready(http, gateway.url.replace("/graphql", "/readyz")):
                await asyncio.sleep(_LOOK_AGAIN)


async def _is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).is_success
    except httpx.TransportError:
        return False


async def _settle(url: str, database: str, loader: Loader, within: float) -> tuple[float | None, list[str]]:
    """Wait until everything is over; when that was, or what is not over in time."""
    deadline = now() + within
    left = ["nobody could look"]
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        while True:
            await loader.resume_all()
            await loader.cancel_all(CRON)
            # A primary that is only slow is deposed all the same, and hangs up.
            with suppress(PyMongoError):
                left = await _left(client[database])
            if not left or now() > deadline:
                return (None, left) if left else (now(), [])
            await asyncio.sleep(_LOOK_AGAIN)


async def _left(database: Any) -> list[str]:
    """What is not over, or not told yet. Looked at in the order in which one comes of the other: nothing slips through."""
    waiting = {"$or": [{"status": {"$nin": _TERMINAL}}, {"outbox.0": {"$exists": True}}]}
    fields = {"status": 1, "outbox.type": 1}
    operations = [one async for one in database["operations"].find({"status": "running"}, {"status": 1}).limit(20)]
    jobs = [job async for job in database["jobs"].find(waiting, fields).limit(20)]
    unplanned = await _head(database) - await _planned_until(database)
    deliveries = [one async for one in database["deliveries"].find({"status": "pending"}, {"due_at": 1}).limit(20)]
    return [
        *(f"{one['_id']} is still {one['status']}" for one in operations),
        *(f"{job['_id']} is {job['status']}, with {len(job['outbox'])} events untold" for job in jobs),
        *([f"the deliveries of {unplanned} events are not planned"] if unplanned > 0 else []),
        *(f"{one['_id']} is due at {one['due_at']}" for one in deliveries),
    ]


async def _head(database: Any) -> int:
    newest = await database["events"].find_one({}, sort=[("_id", -1)])
    return 0 if newest is None else int(newest["_id"])


async def _planned_until(database: Any) -> int:
    projection = await database["projections"].find_one({"_id": DELIVERIES})
    return 0 if projection is None else int(projection["position"])


async def _listen_to_the_end(subscribers: Sequence[Subscriber], url: str, database: str) -> None:
    """Give subscribers the time to hear of everything."""
    for subscriber in subscribers:
        subscriber.patient = True
    deadline = now() + _HEARD_WITHIN
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        number = await _head(client[database])
    while now() < deadline and any(subscriber.position < number for subscriber in subscribers):
        await asyncio.sleep(_LOOK_AGAIN)
