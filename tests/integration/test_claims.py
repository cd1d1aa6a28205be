"""The moment between a claim and the first line of its handler, in which anything can happen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from jobs.access import EVERYWHERE
from jobs.errors import NotWritten, StoreUnavailable
from jobs.job import Job
from jobs.lifecycle import JobStatus
from storage.batches import Batcher
from storage.client import Database
from storage.job_updates import Claim, first_nudge
from storage.transitions import JobWriter
from tests.installation import Installation
from worker.context import TaskContext
from worker.executor import Executor, Terms, Writes
from worker.running import Running
from worker.tasks import Handler, TaskRegistry, define
from worker.unschedulable import pause_unschedulable

Find = Callable[[str], Awaitable[Job | None]]
Claims = Callable[[Sequence[Claim]], Awaitable[Sequence[Job | Exception | None]]]


async def run_one(
    installation: Installation,
    database: Database,
    handler: Handler,
    lease: timedelta,
    claims: Claims | None = None,
    find: Find | None = None,
) -> Job:
    """Have an executor look at a new job; the job as it is once nothing is under way any more."""
    writer, running, services = JobWriter(database), Running(5), installation.services
    writes = Writes(
        claims=Batcher(claims or writer.claim_many),
        finishes=Batcher(writer.finish_many),
        progress=Batcher(writer.report_progress_many),
        find=find or partial(services.jobs.find, EVERYWHERE),
        pause=partial(pause_unschedulable, writer),
    )
    tasks = TaskRegistry([define("demo.echo", handler)])
    terms = Terms("w1", lease, timedelta(seconds=1))
    executor = Executor(tasks, running, writes, services.signals, services.clock, terms, beat=nothing)
    job = await installation.dispatch(input="heard")
    assert job.run is not None
    await executor.look_at(first_nudge(job, job.run))
    assert await running.wait_until_idle(10)
    return await installation.job(job)


def nothing() -> None:
    """Nobody cancels anything here."""


async def echo(_: TaskContext, value: Any) -> Any:
    return value


async def test_a_claim_whose_answer_was_lost_is_read_back(database: Database, installation: Installation) -> None:
    """Else the run would wait for its lease, and three such losses would fail a job that never ran."""
    writer = JobWriter(database)

    async def claim_and_lose_the_answer(claims: Sequence[Claim]) -> list[Job | Exception | None]:
        await writer.claim_many(claims)
        raise StoreUnavailable("MongoDB", "NetworkTimeout")

    done = await run_one(installation, database, echo, timedelta(seconds=15), claim_and_lose_the_answer)
    assert (done.status, done.result, done.tally.completed) == (JobStatus.COMPLETED, "heard", 1)


async def test_a_handler_is_not_begun_once_the_lease_of_its_claim_is_over(
    database: Database, installation: Installation
) -> None:
    """As when the process stood still since: another worker may be at the run. If none is, it costs no attempt."""
    begun = []

    async def note(context: TaskContext, _: Any) -> None:
        begun.append(context.attempt)

    left = await run_one(installation, database, note, timedelta(0))
    assert left.run is not None
    assert (left.status, left.run.attempt, begun) == (JobStatus.QUEUED, 1, [])


async def test_a_claim_that_was_certainly_not_written_is_not_looked_for(
    database: Database, installation: Installation
) -> None:
    """Else its place would stay taken for as long as MongoDB is away."""

    async def refuse(claims: Sequence[Claim]) -> list[Job | Exception | None]:
        return [NotWritten("MongoDB", "too many writes wait for it") for _ in claims]

    async def away(_: str) -> Job | None:
        raise StoreUnavailable("MongoDB", "nobody there")

    async with asyncio.timeout(10):
        left = await run_one(installation, database, echo, timedelta(hours=1), refuse, away)
    assert left.status is JobStatus.QUEUED
