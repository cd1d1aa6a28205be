"""From what a handler did (outcome) to what becomes of its job (decision). Pure: now and chance are arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from jobs.job import Job, JobError, Run
from jobs.json_values import JsonValue
from jobs.lifecycle import Action, JobStatus
from jobs.occurrences import AfterRun, PassedOver, decide_after_run

MAX_EXPIRIES: Final = 3
"""So many lost leases of one run fail it, whatever retries are left: the run may be what kills its workers."""

WORKER_LOST: Final = "WORKER_LOST"
INTERRUPTED: Final = "INTERRUPTED"
"""The code of a run that was given back while its job was paused: nobody may take it up again."""
TIMEOUT: Final = "TIMEOUT"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The handler returned."""

    result: JsonValue


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed. ``final``: another attempt would be pointless or harmful, whatever the retry policy says."""

    error: JobError
    final: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """The attempt was given back without a verdict, e.g. because the worker shut down. It spends nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """The worker was not heard of for a whole lease."""


Outcome = Succeeded | Failed | Released | LeaseExpired


@dataclass(frozen=True, slots=True)
class Decision:
    """What to write: the transition and the values that it sets.

    A ``RELEASE`` changes the status and the run only; the other values of the job stay as they are.
    """

    action: Action
    status: JobStatus
    run: Run | None = None
    """What is left of the run; None when it ended."""
    next_run_at: datetime | None = None
    catch_up_until: datetime | None = None
    paced: bool = False
    """What comes next is one of a backlog, which is taken up as the pace of its product allows."""
    passed_over: PassedOver | None = None
    """Occurrences that came due during the run and are not run."""
    result: JsonValue = None
    error: JobError | None = None
    reason: str | None = None
    """Told by the event."""

    @property
    def ends_run(self) -> bool:
        return self.run is None


def decide(job: Job, run: Run, outcome: Outcome, *, now: datetime, draw: float) -> Decision:
    """Decide what becomes of ``job`` after an attempt of its current ``run``; ``draw`` is a random number in [0, 1)."""
    match outcome:
        case Succeeded(result):
            return _end_run(job, run, Action.COMPLETE, now=now, result=result, error=None)
        case Failed(error, final):
            return _after_failure(job, run, error, final=final, now=now, draw=draw)
        case Released(reason):
            return _after_release(job, run, reason, now=now)
        case LeaseExpired():  # pragma: no branch  # there is no other
            return _after_expiry(job, run, now=now)


def _after_failure(job: Job, run: Run, error: JobError, *, final: bool, now: datetime, draw: float) -> Decision:
    has_budget = run.failures < job.retries and job.retry_policy.allows(error.code)
    may_retry = has_budget and not final and job.paused is None
    if not may_retry:
        return _end_run(job, run, Action.FAIL, now=now, result=None, error=error)
    retry = run.failures + 1
    return Decision(
        Action.SCHEDULE_RETRY,
        JobStatus.SCHEDULED,
        run=replace(_next_attempt(run), failures=retry),
        next_run_at=now + job.retry_policy.delay_before(retry, draw),
        catch_up_until=job.catch_up_until,
        paced=run.paced,
        error=error,
        reason=f"retry {retry} of {job.retries}",
    )


def _after_release(job: Job, run: Run, reason: str, *, now: datetime) -> Decision:
    if job.paused is None:
        return _requeue(run, reason=reason)
    error = JobError(INTERRUPTED, f"{reason}, and the job was paused meanwhile")
    return _end_run(job, run, Action.FAIL, now=now, result=None, error=error)


def _after_expiry(job: Job, run: Run, *, now: datetime) -> Decision:
    expiries = run.expiries + 1
    if expiries >= MAX_EXPIRIES or job.paused is not None:
        error = JobError(WORKER_LOST, f"the worker was lost {_times(expiries)} during this run, last: {run.worker}")
        return _end_run(job, run, Action.FAIL, now=now, result=None, error=error)
    return _requeue(replace(_next_attempt(run), expiries=expiries), reason=f"worker {run.worker} was lost")


def _requeue(run: Run, *, reason: str) -> Decision:
    return Decision(Action.RELEASE, JobStatus.QUEUED, run=_unclaimed(run), reason=reason)


def _unclaimed(run: Run) -> Run:
    return replace(run, token=None, worker=None, lease_until=None)


def _next_attempt(run: Run) -> Run:
    return replace(_unclaimed(run), attempt=run.attempt + 1, nudges=0)


def _end_run(
    job: Job, run: Run, action: Action, *, now: datetime, result: JsonValue, error: JobError | None
) -> Decision:
    if job.paused is not None:
        # What comes due from now on is nobody's to skip: it is not to run.
        status = _terminal(action) if _is_last(job, run) else JobStatus.PAUSED
        return Decision(action, status, result=result, error=error)
    after = _what_follows(job, run, now)
    return Decision(
        action,
        _terminal(action) if after.next_run_at is None else JobStatus.SCHEDULED,
        next_run_at=after.next_run_at,
        catch_up_until=after.catch_up_until,
        paced=after.paced,
        passed_over=after.passed_over,
        result=result,
        error=error,
    )


def _terminal(action: Action) -> JobStatus:
    return JobStatus.COMPLETED if action is Action.COMPLETE else JobStatus.FAILED


def _is_last(job: Job, run: Run) -> bool:
    return job.recurrence is not None and job.recurrence.is_exhausted(run.number)


def _what_follows(job: Job, run: Run, now: datetime) -> AfterRun:
    # While a run goes on, the job's next instant is that behind it by the rule that holds, however lately it was changed.
    if job.recurrence is None:
        return AfterRun(None, None, None)
    return decide_after_run(
        job.recurrence,
        candidate=job.next_run_at,
        started_at=run.started_at or now,
        now=now,
        executions_taken=run.number,
        catch_up_until=job.catch_up_until,
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
