"""When jobs were due, were promoted and started: dispatched here ahead of time, run by a worker process of their own.

The instant of promotion is that of the event ``job.queued``: MongoDB's clock when it began the write, so that others see the
job queued as much later as that write takes. The instant of a start is what the handler's first line reads from the machine's
clock. That is MongoDB's clock too, which runs on the same machine; it counts whole milliseconds, rounded down.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

import click

from benchmarks.jobgate_side import NOBODY
from gateway.children import Child, kept
from gateway.devstack import Servers
from jobs.dispatch import DispatchRequest
from jobs.events import EventType
from jobs.lifecycle import TERMINAL, JobStatus
from jobs.schedule import ScheduleSpec
from jobs.times import MILLISECOND
from resolvers.dispatching import dispatch
from resolvers.services import Services
from storage.client import Database

_AT_ONCE: Final = 100
_LOOK_EVERY: Final = 0.5
"""Seconds. Seldom, since looking takes the servers' time, and it is the jobs' own clocks that are read in the end."""

_PATIENCE: Final = 600.0
_UNTOLD: Final[Mapping[str, object]] = {"outbox.0": {"$exists": True}}


@dataclass(frozen=True, slots=True)
class Wish:
    """A job to dispatch ahead of its time."""

    product: str
    due_at: datetime
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Passage:
    """How one job came through."""

    product: str
    due_at: datetime
    queued_at: datetime
    started_at: datetime

    @property
    def promoted_late_ms(self) -> float:
        return (self.queued_at - self.due_at) / MILLISECOND

    @property
    def started_late_ms(self) -> float:
        return (self.started_at - self.due_at) / MILLISECOND


@asynccontextmanager
async def worker_process(servers: Servers, database: str, concurrency: int) -> AsyncIterator[None]:
    """A worker as an installation has it: a process of its own, with the settings that it has by itself."""
    environment = {
        **os.environ,
        "MONGODB_URL": servers.mongodb_url,
        "REDIS_URL": servers.redis_url,
        "JOBGATE_DATABASE": database,
        "JOBGATE_TASKS": "benchmarks.timing_tasks",
        "JOBGATE_CONCURRENCY": str(concurrency),
        "JOBGATE_LOG_LEVEL": "warning",
    }
    async with kept(Child("worker", ["worker"], environment)):
        yield


async def pass_through(services: Services, database: Database, wishes: Sequence[Wish]) -> list[Passage]:
    """Dispatch the jobs, wait until the last has ended and everything is told in the log; answer how each came through."""
    for start in range(0, len(wishes), _AT_ONCE):
        await asyncio.gather(*(_dispatch(services, wish) for wish in wishes[start : start + _AT_ONCE]))
    # What dispatching leaves to be done must not be what holds the jobs up.
    ahead = (min(wish.due_at for wish in wishes) - datetime.now(UTC)).total_seconds()
    try:
        await _until_nothing(database, _UNTOLD, ahead)
    except TimeoutError:
        raise click.ClickException("the first job came due before the others were dispatched: take fewer") from None
    await asyncio.sleep((max(wish.due_at for wish in wishes) - datetime.now(UTC)).total_seconds())
    going_on = [status.value for status in JobStatus if status not in TERMINAL]
    await _until_nothing(database, {"$or": [{"status": {"$in": going_on}}, _UNTOLD]}, _PATIENCE)
    return await _passages(database, len(wishes))


async def _dispatch(services: Services, wish: Wish) -> None:
    schedule = ScheduleSpec(start_at=wish.due_at)
    request = DispatchRequest("bench", "no_op", wish.product, "prd", {}, priority=wish.priority, schedule=schedule)
    await dispatch(services, NOBODY, request)


async def _until_nothing(database: Database, wanted: Mapping[str, object], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while await database["jobs"].find_one(wanted, {"_id": 1}) is not None:  # noqa: ASYNC110  # looked at from outside
            await asyncio.sleep(_LOOK_EVERY)


async def _passages(database: Database, wanted: int) -> list[Passage]:
    queued = database["events"].find({"type": EventType.JOB_QUEUED.value}, {"job_id": 1, "at": 1})
    queued_at = {event["job_id"]: event["at"] async for event in queued}
    completed = database["jobs"].find(
        {"status": JobStatus.COMPLETED.value}, {"product": 1, "scheduled_at": 1, "result": 1}
    )
    passages = [
        Passage(job["product"], job["scheduled_at"], queued_at[job["_id"]], datetime.fromtimestamp(job["result"], UTC))
        async for job in completed
    ]
    if len(passages) != wanted:
        raise click.ClickException(f"{len(passages)} of {wanted} jobs are completed")
    return passages


def out_of_turn(passages: Iterable[Passage]) -> int:
    """How many jobs were promoted before one that was due earlier. Those of one write are promoted at one instant."""
    count, earliest_due_at = 0, datetime.max.replace(tzinfo=UTC)
    latest_first = sorted(passages, key=lambda passage: passage.queued_at, reverse=True)
    for _, together in groupby(latest_first, key=lambda passage: passage.queued_at):
        due_at = [passage.due_at for passage in together]
        count += sum(due > earliest_due_at for due in due_at)
        earliest_due_at = min(earliest_due_at, *due_at)
    return count
