"""`scripts/bench bulk [--jobs N]`: cancelMany over many jobs while workers run some of them.

Once in peace, and once with the process in charge killed half-way. Each pass ends with a count of everything: what the
operation says of itself, what the jobs say, and what the log says. Meanwhile, in peace, somebody else dispatches jobs and
waits to hear of them. The anchor is one bare ``update_many`` of the same change
to as many documents behind the same indexes: no history, no events, nobody to go on if it dies.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
import httpx
from pymongo import AsyncMongoClient
from uuid_utils import uuid7

from benchmarks.event_sides import following
from benchmarks.jobgate_side import open_side
from benchmarks.listeners import listening
from benchmarks.servers import benchmark_servers
from benchmarks.timing import Late
from gateway.children import Child, kept
from gateway.devstack import Servers
from gateway.devstack.ports import choose_port
from gateway.urls import graphql_url
from jobs.dispatch import DispatchRequest, TaskTerms, new_job
from jobs.schedule import ScheduleSpec
from jobs.times import truncate
from storage.client import Database, Driver
from storage.documents import Document, job_to_document

HOST: Final = "127.0.0.1"
REASON: Final = "benchmark"
LIVELY: Final = 50
"""One of so many jobs that match comes due while the operation runs, so that workers and the operation want the same jobs."""

_CHUNK: Final = 5_000
_NOW_AND_THEN: Final = 0.1
_PATIENCE: Final = 600.0
_WORKERS: Final = 2

_CANCEL_MANY: Final = """
mutation ($reason: String) {
  cancelMany(filter: { tags: ["wanted"] }, reason: $reason) {
    __typename ... on BulkOperation { id status matched count skipped } ... on Problem { message }
  }
}"""
_DISPATCH: Final = """
mutation ($at: DateTime) {
  dispatch(input: { namespace: "demo", task: "echo", product: "bystander", env: "prd", schedule: { startAt: $at } }) {
    __typename
  }
}"""
_LOOK: Final = "query ($id: ID!) { bulkOperation(id: $id) { status matched count skipped } }"


@dataclass(frozen=True, slots=True)
class Pass:
    """What one operation did, and how long it took."""

    seconds: float
    told: dict[str, Any]
    killed: str | None
    gap: float
    """The longest stretch without a step, in seconds."""


@click.command()
@click.option("--jobs", default=100_000, show_default=True, help="Jobs that match; a tenth as many do not.")
def main(jobs: int) -> None:
    """Measure, count, and end with status 1 if a count is wrong."""
    # Not on uvloop, where gateway.children fails to start a second child (EBADF).
    wrong = asyncio.run(_main(jobs))
    for line in wrong:
        click.echo(f"WRONG: {line}")
    sys.exit(1 if wrong else 0)


async def _main(jobs: int) -> list[str]:
    wrong: list[str] = []
    async with benchmark_servers() as servers:
        anchor = await _anchor(servers, jobs)
        click.echo(f"bare update_many of {jobs} documents: {anchor:.0f}/s")
        for name, kills in (("in peace", False), ("killed half-way", True)):
            database_name = f"bulk_{int(kills)}"
            async with open_side(servers.mongodb_url, servers.redis_url, database_name, Driver.MOTOR) as (_, database):
                await _fill(database, jobs)
                async with _running(servers, database_name) as (port, url), AsyncExitStack() as beside:
                    late = None if kills else await beside.enter_async_context(_bystanding(port, url))
                    done = await _cancel_many(url, database, kills)
                    await _settled(database)
                if late:
                    click.echo(
                        f"  meanwhile, from the answer to {len(late)} other dispatches to their event: {Late.of(late)}"
                    )
                rate = done.told["matched"] / done.seconds
                click.echo(
                    f"cancelMany {name}: {done.told['matched']} matched, {done.told['count']} cancelled, "
                    f"{done.told['skipped']} skipped in {done.seconds:.1f} s = {rate:.0f} jobs/s = {rate / anchor:.2f}x; "
                    f"longest rest {done.gap:.1f} s" + (f"; killed: {done.killed}" if done.killed else "")
                )
                wrong += await _check(database, done, jobs, kills)
    return wrong


async def _anchor(servers: Servers, jobs: int) -> float:
    async with open_side(servers.mongodb_url, servers.redis_url, "bulk_anchor", Driver.MOTOR) as (_, database):
        await _fill(database, jobs)
        began = time.perf_counter()
        change = {"status": "cancelled", "next_run_at": None, "completed_at": datetime.now(UTC)}
        # Not by a client of ours, which gives up what takes longer than any call of the product does.
        async with AsyncMongoClient[Document](servers.mongodb_url) as patient:
            await patient[database.name]["jobs"].update_many({"tags": "wanted"}, {"$set": change})
        return jobs / (time.perf_counter() - began)


async def _fill(database: Database, jobs: int) -> None:
    """So many jobs for tomorrow that match, some of them due in the next seconds, and a tenth as many that do not match."""
    chance, now = random.Random(7), truncate(datetime.now(UTC))  # noqa: S311  # nothing here is secret
    wanted = ["wanted"] * jobs + ["other"] * (jobs // 10)
    for start in range(0, len(wanted), _CHUNK):
        chunk = [_document(tag, now, chance) for tag in wanted[start : start + _CHUNK]]
        await database["jobs"].insert_many(chunk, ordered=False)


def _document(tag: str, now: datetime, chance: random.Random) -> Document:
    is_lively = chance.randrange(LIVELY) == 0
    wait = timedelta(milliseconds=chance.randrange(5_000, 60_000)) if is_lively else timedelta(days=1)
    request = DispatchRequest(
        namespace="demo",
        task="echo",
        product="shop",
        env="prd",
        input={"n": 1},
        tags=(tag,),
        schedule=ScheduleSpec(start_at=now + wait),
    )
    job = new_job(request, TaskTerms(), job_id=f"job_{uuid7().hex}", now=now, path=())
    return job_to_document(job) | {"outbox": [], "event_seq": 0}


@asynccontextmanager
async def _running(servers: Servers, database: str) -> AsyncIterator[tuple[int, str]]:
    """A gateway, its port and url, and workers, each started again when it dies, as a supervisor would."""
    port = choose_port(None)
    environment = {
        **os.environ,
        "MONGODB_URL": servers.mongodb_url,
        "REDIS_URL": servers.redis_url,
        "JOBGATE_DATABASE": database,
        "JOBGATE_PORT": str(port),
        "JOBGATE_AUTH": "none",
        "JOBGATE_LOG_LEVEL": "warning",
    }
    async with AsyncExitStack() as stack:
        for kind in ("serve", *["worker"] * _WORKERS):
            await stack.enter_async_context(kept(Child(kind, [kind], environment)))
        yield port, graphql_url(HOST, port)


@asynccontextmanager
async def _bystanding(port: int, url: str) -> AsyncIterator[list[float]]:
    """Somebody who dispatches a job now and then; in the end, how late its event came to each, in milliseconds."""
    late: list[float] = []
    acknowledged: list[float] = []
    over = asyncio.Event()

    async def dispatch(http: httpx.AsyncClient) -> None:
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        while not over.is_set():
            await _ask(http, url, _DISPATCH, at=tomorrow)
            acknowledged.append(time.monotonic())
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), _NOW_AND_THEN)

    wanted = [following({"product": ["bystander"]})]
    async with listening(port, wanted, compressed=False) as listeners, httpx.AsyncClient(timeout=120) as http:
        dispatching = asyncio.create_task(dispatch(http))
        yield late
        over.set()
        await dispatching
        await listeners.until(len(acknowledged))
        [heard] = await listeners.taken()
        late += [(at - sent) * 1000 for at, sent in zip(heard.monotonic, acknowledged, strict=True)]


async def _cancel_many(url: str, database: Database, kills: bool) -> Pass:
    async with httpx.AsyncClient(timeout=120) as http, asyncio.timeout(_PATIENCE):
        began = last = time.perf_counter()
        told = (await _ask(http, url, _CANCEL_MANY, reason=REASON))["cancelMany"]
        if told["__typename"] != "BulkOperation":
            raise click.ClickException(told["message"])
        killed, gap, operation_id, done = None, 0.0, told["id"], 0
        while told["status"] == "RUNNING":
            document = await database["operations"].find_one({"_id": operation_id})
            if document is None:
                raise click.ClickException("the operation is gone")
            position, now = document["count"] + document["skipped"], time.perf_counter()
            if position > done:
                done, gap, last = position, max(gap, now - last), now
            if kills and killed is None and document["count"] * 2 >= document["matched"]:
                killed = f"{document['owner']} at {document['count']}"
                os.kill(int(document["owner"].split(":")[1]), signal.SIGKILL)
            if document["status"] != "running":
                break
            await asyncio.sleep(0.02)
        seconds = time.perf_counter() - began
        await _answering(lambda: _ask(http, url, _LOOK, id=operation_id))
        told = (await _ask(http, url, _LOOK, id=operation_id))["bulkOperation"]
    return Pass(seconds, told, killed, gap)


async def _answering(ask: Callable[[], Awaitable[Any]]) -> None:
    """Wait until the gateway answers, which may have been the one that was killed."""
    while True:
        with suppress(httpx.TransportError):
            await ask()
            return
        await asyncio.sleep(0.1)


async def _ask(http: httpx.AsyncClient, url: str, query: str, **variables: Any) -> dict[str, Any]:
    answer = (await http.post(url, json={"query": query, "variables": variables})).json()
    if answer.get("errors"):
        raise click.ClickException(str(answer["errors"]))
    data: dict[str, Any] = answer["data"]
    return data


async def _settled(database: Database) -> None:
    """Wait until everything that happened is in the log and no run is under way."""
    restless = {"$or": [{"outbox.0": {"$exists": True}}, {"status": {"$in": ["queued", "running"]}}]}
    async with asyncio.timeout(_PATIENCE):
        while await database["jobs"].find_one(restless) is not None:  # noqa: ASYNC110  # looked at from outside
            await asyncio.sleep(0.1)


async def _check(database: Database, done: Pass, jobs: int, kills: bool) -> list[str]:
    """What does not add up."""
    told, collection = done.told, database["jobs"]
    mine = {"cancelled.reason": REASON}
    by_job = {"$group": {"_id": "$job_id", "times": {"$sum": 1}}}
    events = [{"$match": {"type": "job.cancelled", "reason": REASON}}, by_job]
    told_of = await database["events"].aggregate(events).to_list(None)
    numbers = {"$group": {"_id": "$job_id", "many": {"$sum": 1}, "last": {"$max": "$seq"}}}
    gaps = [numbers, {"$match": {"$expr": {"$ne": ["$many", "$last"]}}}, {"$count": "jobs"}]
    begun_after = [{"$match": {"seq": {"$gt": 1}, "type": {"$ne": "job.cancelled"}, "status": "cancelled"}}]
    facts = {
        "it is completed": told["status"] == "COMPLETED",
        "all that match were looked at": told["matched"] == jobs == told["count"] + told["skipped"],
        "as many jobs are cancelled as it says": await collection.count_documents({"tags": "wanted", **mine})
        == told["count"],
        "the others that match have ended by themselves": (
            await collection.count_documents({"tags": "wanted", "status": "completed"}) == told["skipped"]
        ),
        "every cancelled job was told of": len(told_of) == told["count"],
        "no job was told of twice": all(one["times"] == 1 for one in told_of),
        "no job that does not match was touched": await collection.count_documents({"tags": "other", **mine}) == 0,
        "no event is missing between two of a job": not await database["events"].aggregate(gaps).to_list(None),
        "nothing happened to a cancelled job": not await database["events"].aggregate(begun_after).to_list(1),
        "the process in charge was killed in the midst of it": bool(done.killed) is kills,
        "some jobs ran meanwhile": told["skipped"] > 0,
    }
    return [fact for fact, holds in facts.items() if not holds]


if __name__ == "__main__":
    main()
