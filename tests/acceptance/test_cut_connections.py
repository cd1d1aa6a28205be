"""Who goes on behind the last cursor after every cut hears the whole log, in order and once, whatever happens to gateways.

`scripts/test tests/acceptance/test_cut_connections.py --events 20000` does it with more.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import pytest
from pymongo import MongoClient
from redis.asyncio import Redis

from gateway.children import Child
from gateway.devstack import Servers
from storage.client import Driver
from tests.conftest import opened
from tests.event_streams import Stream
from tests.followers import Heard, SocketFollower, StreamFollower
from tests.gateway import DISPATCH
from tests.installation import offer
from tests.programs import gateways

pytestmark = pytest.mark.timeout(600)

LATER: Final = {"every": 60_000, "startAt": "2099-01-01T00:00:00Z"}
JOB: Final = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd", "schedule": LATER}
EVENTS_OF_A_JOB: Final = 4
ROUNDS: Final = ("pauseMany", "resumeMany", "cancelMany")
AT_A_TIME: Final = 32


class Caller:
    """Makes events: jobs that are dispatched, and changed together."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    async def dispatch(self, count: int) -> None:
        room = asyncio.Semaphore(AT_A_TIME)

        async def one() -> None:
            async with room:
                answer = await self._ask(DISPATCH, input=JOB)
                assert answer["dispatch"]["__typename"] == "Job", answer

        await asyncio.gather(*(one() for _ in range(count)))

    async def change_all(self, field: str) -> str:
        """Begin a bulk operation; its id."""
        document = f'mutation {{ {field}(filter: {{ product: ["shop"] }}) {{ ... on BulkOperation {{ id }} }} }}'
        return str((await self._ask(document))[field]["id"])

    async def changed(self, operation_id: str, count: int) -> None:
        """Wait until an operation has changed all there are."""
        document = "subscription ($id: ID!) { bulkOperation(id: $id) { status count } }"
        request = {"query": document, "variables": {"id": operation_id}}
        async with self._http.stream(
            "POST", self._url, json=request, headers={"accept": "text/event-stream"}
        ) as answer:
            *_, last, complete = await Stream(answer).rest()
        assert last.data == {"data": {"bulkOperation": {"status": "COMPLETED", "count": count}}}
        assert complete.name == "complete"

    async def _ask(self, document: str, **variables: Any) -> dict[str, Any]:
        answer = (await self._http.post(self._url, json={"query": document, "variables": variables})).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data


async def make_events(caller: Caller, redis_url: str, victim: Child, jobs: int) -> None:
    """So many jobs, with four events each; meanwhile a gateway is killed, and Redis forgets everything."""
    await caller.dispatch(jobs)
    for field in ROUNDS:
        operation_id = await caller.change_all(field)
        if field == "pauseMany":
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
        if field == "resumeMany":
            async with Redis.from_url(redis_url) as redis:
                await redis.flushall()
        await caller.changed(operation_id, jobs)


def logged(events: Iterable[dict[str, Any]]) -> list[Heard]:
    """What is to be heard of the documents of the log."""
    return [(one["_id"], one["job_id"], one["seq"], one["type"].upper().replace(".", "_")) for one in events]


async def test_nothing_is_lost_or_told_twice_between_two_connections(
    servers: Servers,
    mongodb: MongoClient[dict[str, Any]],
    database_name: str,
    redis_url: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    count = request.config.getoption("--events")
    database = mongodb[database_name]
    log = tmp_path / "gateways.log"
    own = Servers(servers.mongodb_url, redis_url)
    random = Random()  # noqa: S311  # it decides where connections are cut
    began = time.monotonic()
    async with opened(servers.mongodb_url, database_name, Driver.MOTOR) as there:
        await offer(there, "demo.echo")
    # On a slow machine, httpx may find expired what it has just chosen for a request.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=AT_A_TIME, keepalive_expiry=30)
    async with (
        gateways(own, database_name, 2, log) as [(url, victim), (other_url, _)],
        httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as http,
        # Whoever cuts connections has some of his own: httpx may hand a cut one to the next request.
        httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as cut_http,
    ):
        urls = [url, other_url]
        followers = (SocketFollower(urls, random), StreamFollower(urls, random, cut_http))
        async with asyncio.TaskGroup() as group:
            for follower in followers:
                group.create_task(follower.follow(count))
            await make_events(Caller(http, other_url), redis_url, victim, count // EVENTS_OF_A_JOB)
    told = logged(database["events"].find({}, sort=[("_id", 1)]))
    assert len(told) == count
    for follower in followers:
        assert follower.heard == told
        assert follower.cuts > 5
    # Clients that are gone are nothing to complain of.
    assert "Traceback" not in log.read_text()
    cuts = ", ".join(f"{type(follower).__name__} {follower.cuts}" for follower in followers)
    sys.stdout.write(f"{count} events in {time.monotonic() - began:.1f} s; connections cut: {cuts}\n")
