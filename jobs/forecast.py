"""When a job will run, if nothing changes: by the very decisions that make it run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from jobs.cron import CronError
from jobs.job import Job
from jobs.lifecycle import TERMINAL
from jobs.occurrences import decide_after_run, decide_due
from jobs.promotion import next_occurrence
from jobs.recurrence import Recurrence, next_after


def upcoming_runs(job: Job, count: int, now: datetime) -> list[datetime]:
    """Up to ``count`` instants of runs that a recurring job has before it, the earliest first; none of any other job.

    A run that is under way, or waits for its retry, is not among them; the one that would follow if it ended now is. What
    comes due before a run has ended is not to be foreseen: every run is taken to end before the next one is due.
    """
    recurrence = job.recurrence
    if recurrence is None or job.status in TERMINAL or job.paused is not None:
        return []
    if recurrence.max_executions is not None:
        taken = job.execution_count if job.run is None else job.run.number
        count = min(count, recurrence.max_executions - taken)
    try:
        return list(islice(_runs(job, recurrence, now), max(count, 0)))
    except CronError:
        # It will not run at all: it is paused when it comes due.
        return []


def _runs(job: Job, recurrence: Recurrence, now: datetime) -> Iterator[datetime]:
    instant, catch_up_until = _first(job, recurrence, now)
    while instant is not None:
        yield instant
        instant = _behind(recurrence, instant, now, catch_up_until)


def _first(job: Job, recurrence: Recurrence, now: datetime) -> tuple[datetime | None, datetime | None]:
    """The occurrence that is run next, and up to where occurrences are run however late they are."""
    if job.run is not None:
        after = decide_after_run(
            recurrence,
            candidate=next_occurrence(job, job.run),
            now=now,
            executions_taken=job.run.number,
            catch_up_until=job.catch_up_until,
        )
        return after.next_run_at, after.catch_up_until
    if job.next_run_at is None or job.next_run_at > now:
        return job.next_run_at, None
    due = decide_due(
        recurrence,
        due_at=job.next_run_at,
        now=now,
        executions_taken=job.execution_count,
        catch_up_until=job.catch_up_until,
    )
    return due.scheduled_for or due.next_run_at, due.catch_up_until


def _behind(
    recurrence: Recurrence, instant: datetime, now: datetime, catch_up_until: datetime | None
) -> datetime | None:
    following = next_after(recurrence, instant)
    if following is None or following > now or (catch_up_until is not None and following <= catch_up_until):
        return following
    return next_after(recurrence, now)
