"""Builders of values for tests: jobs that could exist, with what matters to a test given by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jobs.dispatch import DispatchRequest, TaskTerms, new_job
from jobs.job import Job, Run
from jobs.lifecycle import JobStatus
from jobs.schedule import ScheduleSpec

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def make_request(**changes: Any) -> DispatchRequest:
    """A request that is in order, but for ``changes``."""
    request = DispatchRequest(namespace="demo", task="echo", product="shop", env="prd", input={"n": 1})
    return replace(request, **changes)


def make_job(*, job_id: str = "job_1", now: datetime = NOW, terms: TaskTerms | None = None, **changes: Any) -> Job:
    """The job that such a request makes at ``now``: queued unless it has a schedule."""
    return new_job(make_request(**changes), terms or TaskTerms(), job_id=job_id, now=now, path=("input",))


def make_running(job: Job | None = None, *, now: datetime = NOW, **run: Any) -> tuple[Job, Run]:
    """A job that a worker has just claimed, and its run."""
    job = job or make_job(now=now)
    before = job.run or Run(job.execution_count + 1, 1, 0, 0, job.scheduled_at)
    claimed = replace(before, token="t1", worker="w1", started_at=now, lease_until=now + 15 * SECOND, **run)
    running = replace(job, status=JobStatus.RUNNING, run=claimed, execution_count=claimed.number, started_at=now)
    return running, claimed


def every(seconds: float, **schedule: Any) -> ScheduleSpec:
    """A schedule of so many seconds."""
    return ScheduleSpec(every_ms=int(seconds * 1000), **schedule)
