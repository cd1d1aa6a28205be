"""When a job will run, if nothing changes: by the very decisions that make it run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from jobs.cron import CronError
from jobs.job import Job
from jobs.lifecycle import TERMINAL, JobStatus
from jobs.occurrences import AfterRun, decide_after_run, decide_due
from jobs.promotion import next_occurrence
from jobs.recurrence import Recurrence


def upcoming_runs(job: Job, count: int, now: datetime) -> list[datetime]:
    """Up to ``count`` instants of runs that a recurring job has before it, the earliest first; none of any other job.

    A run that is under way, or waits for its retry, is not among them; the one that would follow if it ended now is. What
    comes due before a run has ended is not to be foreseen: every run is taken to end before the next one is due.
    """
    if job.recurrence is None or job.status in TERMINAL or job.paused is not None:
        return []
    try:
        return list(islice(_runs(job, job.recurrence, now), max(count, 0)))
    except CronError:
        # It will not run at all: it is paused when it comes due.
        return []


def first_runs(recurrence: Recurrence, first: datetime, count: int) -> list[datetime]:
    """Up to ``count`` instants at which a new job runs whose first occurrence is ``first``."""
    return list(islice(_foreseen(recurrence, AfterRun(first, None, None), 0, first), max(count, 0)))


def _runs(job: Job, recurrence: Recurrence, now: datetime) -> Iterator[datetime]:
    if job.run is None:
        return _foreseen(recurrence, AfterRun(job.next_run_at, None, job.catch_up_until), job.execution_count, now)
    waits_for_retry = job.status is JobStatus.SCHEDULED
    after = decide_after_run(
        recurrence,
        candidate=next_occurrence(job, job.run) if waits_for_retry else job.next_run_at,
        started_at=job.run.started_at or now,
        now=now,
        executions_taken=job.run.number,
        catch_up_until=job.catch_up_until,
    )
    return _foreseen(recurrence, after, job.run.number, now)


def _foreseen(recurrence: Recurrence, after: AfterRun, taken: int, now: datetime) -> Iterator[datetime]:
    """What is run from there on, by looking whenever something comes due."""
    while after.next_run_at is not None:
        now = max(now, after.next_run_at)
        due = decide_due(
            recurrence,
            due_at=after.next_run_at,
            now=now,
            executions_taken=taken,
            catch_up_until=after.catch_up_until,
        )
        if due.scheduled_for is None:
            after = AfterRun(due.next_run_at, None, due.catch_up_until)
            continue
        yield due.scheduled_for
        taken += 1
        after = decide_after_run(
            recurrence,
            candidate=due.next_run_at,
            started_at=now,
            now=now,
            executions_taken=taken,
            catch_up_until=due.catch_up_until,
        )
