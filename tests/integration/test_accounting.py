"""Every occurrence of a recurring job is run or told of as passed over, whoever looks for it; and backlogs have a pace."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway.devstack import Servers
from jobs.dispatch import RetrySpec
from jobs.events import EventType
from jobs.feed import JobEvent
from jobs.job import Job
from jobs.lifecycle import JobStatus
from jobs.occurrences import CATCH_UP_AT_ONCE
from jobs.recurrence import MissedRuns, Overlap
from jobs.schedule import ScheduleSpec
from jobs.times import truncate
from storage.client import Database
from tests.factories import every
from tests.installation import Installation, installed, offer
from worker.context import TaskContext
from worker.promoter import Promoter
from worker.tasks import TaskError

MINUTE = timedelta(minutes=1)
LONG = timedelta(seconds=15)
"""A lease that no busy machine makes expire."""
MISSED_RUNS = 3
"""So many occurrences each job has missed."""


@pytest.fixture
async def installation(database: Database, servers: Servers, redis_url: str) -> AsyncIterator[Installation]:
    await offer(database, "demo.echo", "demo.wait")
    async with installed(database, servers.mongodb_url, redis_url) as installation:
        yield installation


class Crowd:
    """A handler that counts who is in it, and lets them go once it is told to."""

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.entered = asyncio.Condition()
        self.open = asyncio.Event()

    async def __call__(self, context: TaskContext, _: Any) -> None:
        self.inside[context.product] += 1
        self.most[context.product] = max(self.most[context.product], self.inside[context.product])
        async with self.entered:
            self.entered.notify_all()
        await self.open.wait()
        self.inside[context.product] -= 1

    async def fill(self, **numbers: int) -> None:
        """Wait until so many of each product are in."""
        async with asyncio.timeout(20), self.entered:
            await self.entered.wait_for(lambda: self.inside == Counter(numbers))


async def overdue(
    installation: Installation,
    database: Database,
    product: str,
    count: int,
    task: str = "demo.wait",
    missed: int = MISSED_RUNS,
    **changes: Any,
) -> list[Job]:
    """Jobs that were to run every minute, and that nobody has looked after for some."""
    far = installation.services.clock.now() + timedelta(days=1)
    schedule = every(60, start_at=far, missed=MissedRuns.RUN_ALL)
    jobs = [await installation.dispatch(task, product=product, schedule=schedule, **changes) for _ in range(count)]
    oldest = truncate(installation.services.clock.now() - (missed - 1) * MINUTE - timedelta(seconds=5))
    changes = {
        "next_run_at": oldest,
        "scheduled_at": oldest,
        "recurrence.anchor": oldest,
        "recurrence.start_at": oldest,
    }
    await database["jobs"].update_many({"_id": {"$in": [job.id for job in jobs]}}, {"$set": changes})
    return jobs


async def test_a_backlog_goes_at_a_pace_and_leaves_the_workers_to_others(
    installation: Installation, database: Database
) -> None:
    crowd = Crowd()
    late = await overdue(installation, database, "late", CATCH_UP_AT_ONCE + 5)
    later = await overdue(installation, database, "later", 3)

    await installation.worker({"demo.wait": crowd, "demo.echo": crowd}, concurrency=100, lease=LONG)
    await crowd.fill(late=CATCH_UP_AT_ONCE, later=3)
    await installation.dispatch("demo.echo", product="fresh")
    await crowd.fill(late=CATCH_UP_AT_ONCE, later=3, fresh=1)

    crowd.open.set()
    for job in (*late, *later):
        await installation.until(job, EventType.JOB_COMPLETED, times=MISSED_RUNS)
        runs = [run.scheduled_for for run in await installation.runs(job)][::-1]
        assert runs == [runs[0] + number * MINUTE for number in range(MISSED_RUNS)]
    assert crowd.most == Counter(late=CATCH_UP_AT_ONCE, later=3, fresh=1)


async def test_a_backlog_goes_on_as_soon_as_a_run_of_it_has_ended(
    installation: Installation, database: Database
) -> None:
    crowd = Crowd()
    crowd.open.set()
    # Were each to wait for the next look around, which is a second away, that would be longer than the test waits.
    many = 40
    [job] = await overdue(installation, database, "late", 1, missed=many)

    await installation.worker({"demo.wait": crowd}, lease=LONG)

    await installation.until(job, EventType.JOB_COMPLETED, times=many)


async def test_what_nobody_can_run_is_in_nobody_s_way(installation: Installation, database: Database) -> None:
    crowd = Crowd()
    crowd.open.set()
    orphans = await overdue(installation, database, "late", CATCH_UP_AT_ONCE + 5)
    jobs = await overdue(installation, database, "late", 3, "demo.echo")

    await installation.worker({"demo.echo": crowd}, lease=LONG)

    for job in jobs:
        await installation.until(job, EventType.JOB_COMPLETED, times=MISSED_RUNS)
    assert {(await installation.job(job)).status for job in orphans} == {JobStatus.SCHEDULED}


async def test_retries_within_a_backlog_keep_its_pace(installation: Installation, database: Database) -> None:
    crowd = Crowd()

    async def fail_first(context: TaskContext, value: Any) -> None:
        if context.attempt == 1:
            raise TaskError("AGAIN", "the first attempt never succeeds")
        await crowd(context, value)

    soon = RetrySpec(initial_delay_ms=100, max_delay_ms=100)
    jobs = await overdue(installation, database, "late", CATCH_UP_AT_ONCE + 5, retries=1, retry=soon)
    await installation.worker({"demo.wait": fail_first}, concurrency=100, lease=LONG)

    for job in jobs:
        await installation.until(job, EventType.JOB_RETRYING)
    await crowd.fill(late=CATCH_UP_AT_ONCE)
    crowd.open.set()
    for job in jobs:
        await installation.until(job, EventType.JOB_COMPLETED, times=MISSED_RUNS)
    assert crowd.most == Counter(late=CATCH_UP_AT_ONCE)


async def test_jobs_that_cannot_be_moved_on_are_looked_at_again_and_not_at_once(
    installation: Installation, database: Database
) -> None:
    services = installation.services
    soon = services.clock.now() + timedelta(hours=1)
    for _ in range(200):
        await installation.dispatch(schedule=ScheduleSpec(start_at=soon))
    due = {"next_run_at": services.clock.now() - timedelta(seconds=30), "outbox": "broken"}
    await database["jobs"].update_many({}, {"$set": due})
    promoter = Promoter(services.jobs, services.writer, services.signals, services.clock, max_outstanding=10)
    assert await promoter.run_once() >= 0.2


async def test_two_schedulers_race_for_every_occurrence(installation: Installation, database: Database) -> None:
    async def echo(_: TaskContext, value: Any) -> Any:
        return value

    later = truncate(installation.services.clock.now() + timedelta(days=1))
    jobs = [
        await installation.dispatch(schedule=every(1, start_at=later, limit=4, overlap=overlap))
        for overlap in Overlap
        for _ in range(15)
    ]
    # Only now, for all of them: a dispatch that came after the start would leave occurrences out untold.
    start = truncate(installation.services.clock.now() + timedelta(seconds=1))
    moved = ("next_run_at", "scheduled_at", "recurrence.anchor", "recurrence.start_at")
    await database["jobs"].update_many({}, {"$set": dict.fromkeys(moved, start)})
    await asyncio.gather(*(installation.worker({"demo.echo": echo}, lease=LONG) for _ in range(2)))

    for job in jobs:
        told = await installation.until_told(lambda job=job: is_over(installation, job), job)  # type: ignore[misc]
        assert [run.number for run in await installation.runs(job)] == [4, 3, 2, 1]
        accounted = sorted([*taken(told), *left_out(told)])
        assert accounted == [start + timedelta(seconds=number) for number in range(len(accounted))]


def is_over(installation: Installation, job: Job) -> bool:
    return any(event.job_id == job.id and event.snapshot.status is JobStatus.COMPLETED for event in installation.told)


def taken(told: list[JobEvent]) -> list[datetime]:
    """The occurrences that were queued."""
    return [event.snapshot.scheduled_at for event in told if event.type is EventType.JOB_QUEUED]


def left_out(told: list[JobEvent]) -> list[datetime]:
    """Those that were passed over, of a job that recurs every second."""
    return [
        event.passed_over.first + timedelta(seconds=number)
        for event in told
        if event.passed_over
        for number in range(event.passed_over.count)
    ]
