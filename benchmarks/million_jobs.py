"""Believable jobs in any number: the same ones every time, but for the hour at which they end."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from uuid_utils import uuid7

from jobs.dispatch import DispatchRequest, TaskTerms, new_job
from jobs.job import Job, JobError, Tally
from jobs.lifecycle import TERMINAL, JobStatus
from jobs.schedule import ScheduleSpec
from jobs.statistics import Fact, Origin, RunEnd, Standing, fold
from jobs.times import MILLISECOND, truncate
from storage.client import Database
from storage.documents import Document, job_to_document
from storage.facts import fold_write

DAYS: Final = 60
END: Final = truncate(datetime.now(UTC))
PRODUCTS: Final = [f"product_{number:02}" for number in range(20)]
ENVS: Final = {"prd": 70, "stg": 20, "dev": 10}
CODES: Final = ["TIMEOUT", "HTTP_500", "HTTP_429", "CARD_DECLINED", "WORKER_LOST", "OUT_OF_STOCK"]
STATUSES: Final = {
    JobStatus.COMPLETED: 9500,
    JobStatus.FAILED: 100,
    JobStatus.CANCELLED: 100,
    JobStatus.SCHEDULED: 150,
    JobStatus.QUEUED: 80,
    JobStatus.RUNNING: 20,
    JobStatus.PAUSED: 50,
}
"""Of ten thousand jobs."""

_CHUNK: Final = 5_000
_PRODUCT_WEIGHTS: Final = [1 / number for number in range(1, len(PRODUCTS) + 1)]


async def fill(database: Database, jobs: int) -> None:
    """Store so many jobs, oldest first, with the run of each that ended and the counters that tell of both."""
    chance = random.Random(42)  # noqa: S311  # nothing here is secret
    made = (_make(number, jobs, chance) for number in range(jobs))
    for until, chunk in enumerate(_chunks(made), start=1):
        await asyncio.gather(
            database["jobs"].insert_many([_document(job) for job in chunk], ordered=False),
            database["executions"].insert_many([_execution(job) for job in chunk if _has_run(job)], ordered=False),
            _count(database, chunk, until),
        )


async def _count(database: Database, jobs: Sequence[Job], until: int) -> None:
    """What the projection makes of the events of these jobs. The events themselves nobody here reads."""
    cells = fold(map(_fact, jobs))
    writes = [fold_write(cell, counters, until, create=True) for cell, counters in cells.items()]
    await database["statistics"].bulk_write(writes, ordered=False)


def _chunks(jobs: Iterator[Job]) -> Iterator[list[Job]]:
    while chunk := list(itertools.islice(jobs, _CHUNK)):
        yield chunk


def _make(number: int, jobs: int, chance: random.Random) -> Job:
    [status] = chance.choices(list(STATUSES), list(STATUSES.values()))
    at = END - timedelta(days=DAYS) * ((jobs - number) / jobs)
    request = _request(number, chance, recurring=status is JobStatus.SCHEDULED and chance.random() < 0.3)
    job = new_job(request, TaskTerms(), job_id=f"job_{uuid7().hex}", now=truncate(at), path=())
    scheduled_at = job.scheduled_at
    if status is JobStatus.SCHEDULED or chance.random() < 0.2:
        scheduled_at += chance.randrange(86_400_000) * MILLISECOND
    job = replace(job, status=status, run=None, scheduled_at=scheduled_at, updated_at=scheduled_at)
    if status is JobStatus.SCHEDULED:
        return replace(job, next_run_at=scheduled_at, updated_at=job.created_at)
    return _ended(job, chance) if status in TERMINAL else replace(job, next_run_at=None)


def _request(number: int, chance: random.Random, *, recurring: bool) -> DispatchRequest:
    [product], [env] = chance.choices(PRODUCTS, _PRODUCT_WEIGHTS), chance.choices(list(ENVS), list(ENVS.values()))
    # Each product has five tasks of its own choice.
    task = (PRODUCTS.index(product) * 3 + chance.randrange(5)) % 25
    return DispatchRequest(
        namespace=f"namespace_{task % 5}",
        task=f"task_{task:02}",
        product=product,
        env=env,
        input={"order": number, "customer": f"customer_{chance.randrange(50_000)}", "lines": [1, 2, 3]},
        tags=tuple(f"tag_{chance.randrange(40):02}" for _ in range(chance.randrange(4))),
        priority=0 if chance.random() < 0.8 else chance.randrange(1, 11),
        schedule=ScheduleSpec(every_ms=3_600_000) if recurring else ScheduleSpec(),
    )


def _ended(job: Job, chance: random.Random) -> Job:
    started_at = job.scheduled_at + chance.randrange(1, 2_000) * MILLISECOND
    completed_at = started_at + int(chance.lognormvariate(6, 1.5)) * MILLISECOND
    failed = job.status is JobStatus.FAILED
    return replace(
        job,
        next_run_at=None,
        started_at=started_at,
        completed_at=completed_at,
        updated_at=completed_at,
        execution_count=1,
        tally=Tally(**{job.status.value: 1}),
        retry_count=2 if failed else int(chance.random() < 0.03),
        result=None if failed else {"ok": True},
        last_error=JobError(chance.choice(CODES), "what went wrong, in a sentence") if failed else None,
        revision=4,
    )


def _has_run(job: Job) -> bool:
    return job.completed_at is not None


def _document(job: Job) -> Document:
    return job_to_document(job) | {"outbox": [], "event_seq": job.revision}


def _execution(job: Job) -> Document:
    run: dict[str, Any] = {"number": 1, "scheduled_for": job.scheduled_at, "status": job.status.value, "attempts": 1}
    times = {"started_at": job.started_at, "completed_at": job.completed_at}
    more = {"error": None, "result": job.result, "worker": "worker_1", "recurring": False}
    return {**run, **times, **more, "_id": f"{job.id}:1", "job_id": job.id}


def _fact(job: Job) -> Fact:
    run = None
    if job.started_at is not None and job.completed_at is not None:
        run = RunEnd(job.status, job.scheduled_at, job.started_at, job.completed_at)
    origin = Origin(job.product, job.env, job.namespace, job.task)
    return Fact(origin, after=Standing(job.status, job.retry_count), run=run)
