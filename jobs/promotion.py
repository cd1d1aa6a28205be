"""What a scheduled job becomes when its time has come: the pure half of promoting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from jobs.job import Job, Run
from jobs.lifecycle import Action, JobStatus
from jobs.occurrences import Due, PassedOver, decide_due
from jobs.recurrence import Recurrence, next_after


@dataclass(frozen=True, slots=True)
class Promotion:
    """The transition of a due job: to ``queued`` with its run, or past an occurrence that is not run."""

    action: Action
    status: JobStatus
    run: Run | None
    next_run_at: datetime | None
    catch_up_until: datetime | None
    passed_over: PassedOver | None = None
    """Missed occurrences that are not run."""
    paced: bool = False
    """What comes next is one of a backlog, which is taken up as the pace of its product allows."""
    resets_retries: bool = False
    """A recurring job counts the retries of its current run; a one-shot those of its whole life."""


def promote(job: Job, now: datetime) -> Promotion:
    """Decide what becomes of a scheduled job whose ``next_run_at`` is not after ``now`` (the database's time)."""
    if job.run is not None:
        return _queue(job.run, next_occurrence(job, job.run), job.catch_up_until)
    due_at = job.next_run_at if job.next_run_at is not None else job.scheduled_at
    if job.recurrence is None:
        return _queue(_new_run(job, due_at), None, None)
    return _take_occurrence(job, job.recurrence, due_at, now)


def _take_occurrence(job: Job, recurrence: Recurrence, due_at: datetime, now: datetime) -> Promotion:
    due = decide_due(
        recurrence,
        due_at=due_at,
        now=now,
        executions_taken=job.execution_count,
        catch_up_until=job.catch_up_until,
    )
    if due.scheduled_for is None:
        return _pass_over(due)
    run = replace(_new_run(job, due.scheduled_for), paced=job.paced)
    queued = _queue(run, due.next_run_at, due.catch_up_until)
    return replace(queued, passed_over=due.passed_over, resets_retries=True)


def next_occurrence(job: Job, run: Run) -> datetime | None:
    """Where the grid goes on behind ``run``: the wait for its retry had taken the place of that instant."""
    recurrence = job.recurrence
    if recurrence is None:
        return None
    # More than the limit where a failed job was given a run more by hand.
    if recurrence.is_exhausted(run.number):
        return None
    return next_after(recurrence, job.decided_until_at_least(run.scheduled_for))


def _pass_over(due: Due) -> Promotion:
    if due.next_run_at is None:
        return Promotion(Action.EXHAUST, JobStatus.COMPLETED, None, None, None, due.passed_over)
    return Promotion(
        Action.SKIP, JobStatus.SCHEDULED, None, due.next_run_at, due.catch_up_until, due.passed_over, due.paced
    )


def _queue(run: Run, next_run_at: datetime | None, catch_up_until: datetime | None) -> Promotion:
    return Promotion(Action.PROMOTE, JobStatus.QUEUED, run, next_run_at, catch_up_until)


def _new_run(job: Job, scheduled_for: datetime) -> Run:
    return Run(number=job.execution_count + 1, attempt=1, failures=0, expiries=0, scheduled_for=scheduled_for)
