"""What the actions of callers make of a job: resume, reschedule and retry. Pure; the rules are ``mission/semantics.md`` §1–§4.

Cancelling, pausing and deleting need no decision: their writes are the same whatever the job looks like.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from jobs.cron import CronError
from jobs.errors import InvalidInput, Issue
from jobs.events import EventType
from jobs.job import Job, Run
from jobs.lifecycle import RULES, Action, JobStatus
from jobs.occurrences import Cause, PassedOver, passed_over
from jobs.recurrence import TICK, Cron, Every, Recurrence, first_run, next_after
from jobs.schedule import ScheduleSpec, check_schedule
from jobs.times import MILLISECOND

MAX_DELAY_MS = int(timedelta(days=365) / MILLISECOND)

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What to write: the transition and the values that it sets. It was decided from the job at one revision."""

    action: Action
    status: JobStatus
    next_run_at: datetime | None
    run: Run | None
    recurrence: Recurrence | None
    retry_count: int
    events: tuple[EventType, ...]
    passed_over: PassedOver | None = None
    """Occurrences that came due and are not run because of this change, or of the pause that it ends."""
    catch_up_until: datetime | None = None
    paced: bool = False
    decided_until: datetime | None = None
    """Up to here no occurrence is still to be decided about."""


def resume(job: Job, now: datetime) -> Change:
    """Let a paused job go on with the first instant of its grid after ``now``; what was missed meanwhile is not made up.

    When nothing is left to run, it is completed.
    """
    following = _following(job, job.recurrence, now)
    status = JobStatus.COMPLETED if following is None else JobStatus.SCHEDULED
    ending = (EventType.JOB_COMPLETED,) if following is None else ()
    return Change(
        Action.RESUME,
        status,
        next_run_at=following,
        run=None,
        recurrence=job.recurrence,
        retry_count=job.retry_count,
        events=(RULES[Action.RESUME].event, *ending),
        passed_over=_undecided(job, now),
    )


def retry(job: Job, delay_ms: int, now: datetime) -> Change:
    """Give a failed job a run more, with a fresh budget of retries, ``delay_ms`` from ``now``.

    Raises :class:`InvalidInput` for a delay that is negative or longer than a year.
    """
    check_delay(delay_ms)
    due_at = now + delay_ms * MILLISECOND
    run = Run(number=job.execution_count + 1, attempt=1, failures=0, expiries=0, scheduled_for=due_at, manual=True)
    return Change(
        Action.RETRY,
        JobStatus.SCHEDULED if delay_ms else JobStatus.QUEUED,
        next_run_at=due_at if delay_ms else None,
        run=run,
        recurrence=job.recurrence,
        # Of a recurring job the retries of the current run are counted, of any other those of its whole life.
        retry_count=0 if job.is_recurring else job.retry_count + 1,
        events=(RULES[Action.RETRY].event, *(() if delay_ms else (EventType.JOB_QUEUED,))),
    )


def check_delay(delay_ms: int) -> None:
    """Raise :class:`InvalidInput` for a delay that no retry may have."""
    if not 0 <= delay_ms <= MAX_DELAY_MS:
        raise InvalidInput([Issue(("delay",), f"must be between 0 and {MAX_DELAY_MS}, not {delay_ms}")])


def reschedule(job: Job, spec: ScheduleSpec, now: datetime, path: Path) -> Change:
    """Change when a job runs next and, if it recurs, by which rule; whatever ``spec`` leaves out stays as it is.

    Raises :class:`InvalidInput`; ``path`` leads to the schedule from the caller's arguments.
    """
    if spec == ScheduleSpec():
        raise InvalidInput([Issue(path, "give at least one of startAt, cron, tz, every, limit and endDate")])
    checked = check_schedule(spec, path, None if job.recurrence is None else job.recurrence.rule)
    if job.recurrence is None:
        return _move(job, checked, now, path)
    return _replan(job, job.recurrence, checked, now, path)


def _move(job: Job, spec: ScheduleSpec, now: datetime, path: Path) -> Change:
    """Another time for a job that runs once."""
    for name, value in (("cron", spec.cron), ("every", spec.every_ms)):
        if value is not None:
            raise InvalidInput([Issue((*path, name), "a job that runs once does not become recurring")])
    return _rescheduled(job, None, max(now, spec.start_at or now))


def _replan(job: Job, recurrence: Recurrence, spec: ScheduleSpec, now: datetime, path: Path) -> Change:
    revised = _revised(recurrence, spec, now)
    keeps = revised.rule == recurrence.rule and revised.start_at == recurrence.start_at and job.paused is None
    earliest = _decided_until(job, now) + TICK if keeps else max(now, spec.start_at or now)
    following = _first(revised, earliest, path) if _left(job, revised, path) else None
    if keeps and job.run is None and following is not None:
        # Also where it is not on the grid: by what rules it was computed does not matter, it was promised.
        following = job.next_run_at
    # A run that has begun is one of the old rule: its retry comes when it was to come, and at once if it waits for a worker.
    due_at = following if _waiting(job) is None else _taken_up_at(job, now)
    changed = _rescheduled(job, revised, due_at)
    if keeps:
        return _promised(changed, job)
    # What comes due at this very instant is already the new schedule's.
    before = now - MILLISECOND
    return replace(changed, passed_over=_undecided(job, before), decided_until=before)


def _taken_up_at(job: Job, now: datetime) -> datetime:
    return job.next_run_at if job.status is JobStatus.SCHEDULED and job.next_run_at is not None else now


def _promised(changed: Change, job: Job) -> Change:
    """The change, with what was promised to be run however late it is: also the run that is taken back."""
    until, run = job.catch_up_until, job.run
    if run is None or changed.run is not None or job.status is JobStatus.RUNNING:
        return replace(changed, catch_up_until=until, paced=job.paced, decided_until=job.decided_until)
    until = run.scheduled_for if until is None else max(until, run.scheduled_for)
    return replace(changed, catch_up_until=until, paced=run.paced, decided_until=job.decided_until)


def _undecided(job: Job, until: datetime) -> PassedOver | None:
    """The occurrences up to this instant that nothing was decided about, by the rule that the job had when they came due."""
    recurrence, cause = job.recurrence, Cause.RESCHEDULED if job.paused is None else Cause.PAUSED
    if recurrence is None or recurrence.is_exhausted(job.execution_count):
        return None
    try:
        return passed_over(recurrence, cause, _decided_until(job, until), until)
    except CronError:
        # It is perhaps what the schedule is changed for: nobody can tell any more what it named.
        return None


def _decided_until(job: Job, now: datetime) -> datetime:
    """Up to this instant, every occurrence was run or passed over."""
    if job.paused is not None:
        # Paused by a version that did not note it: what came due by then is not told of.
        return job.decided_until or job.paused.at
    if job.run is not None and job.run.manual:
        # There was nothing left to run when it was asked for.
        return now
    if job.run is not None:
        begun = job.run.started_at is not None
        return job.decided_until_at_least(job.run.scheduled_for) if begun else job.run.scheduled_for - TICK
    return (job.next_run_at or job.scheduled_at) - TICK


def _first(revised: Recurrence, earliest: datetime, path: Path) -> datetime:
    first = first_run(revised, earliest)
    if first is None:
        name = "cron" if revised.end_date is None else "endDate"
        raise InvalidInput([Issue((*path, name), "no run would be due any more")])
    return first


def _left(job: Job, revised: Recurrence, path: Path) -> bool:
    """Whether runs are left beside the one that has begun. Raises :class:`InvalidInput` for a limit below that."""
    taken, limit = job.execution_count, revised.max_executions
    if limit is None or taken < limit:
        return True
    if taken > limit or job.run is None or job.run.started_at is None:
        raise InvalidInput([Issue((*path, "limit"), f"must be more than the {taken} runs that were taken already")])
    return False


def _rescheduled(job: Job, recurrence: Recurrence | None, due_at: datetime | None) -> Change:
    stays = job.status in (JobStatus.PAUSED, JobStatus.RUNNING)
    return Change(
        Action.RESCHEDULE,
        job.status if stays else JobStatus.SCHEDULED,
        next_run_at=None if job.paused is not None else due_at,
        run=job.run if stays else _waiting(job),
        recurrence=recurrence,
        retry_count=job.retry_count,
        events=(RULES[Action.RESCHEDULE].event,),
    )


def _waiting(job: Job) -> Run | None:
    """The run whose next attempt waits for its time or for a worker; one that has not begun is taken back."""
    begun = job.run is not None and job.run.started_at is not None
    return job.run if begun and job.status in (JobStatus.SCHEDULED, JobStatus.QUEUED) else None


def _revised(recurrence: Recurrence, spec: ScheduleSpec, now: datetime) -> Recurrence:
    return replace(
        recurrence,
        rule=_rule(recurrence, spec, now),
        start_at=spec.start_at or recurrence.start_at,
        max_executions=spec.limit or recurrence.max_executions,
        end_date=spec.end_date or recurrence.end_date,
    )


def _rule(recurrence: Recurrence, spec: ScheduleSpec, now: datetime) -> Cron | Every:
    rule = recurrence.rule
    if spec.every_ms is not None:
        anchor = spec.start_at or (rule.anchor if isinstance(rule, Every) else now)
        return Every(spec.every_ms * MILLISECOND, anchor)
    if spec.cron is not None:
        return Cron(spec.cron, spec.tz or (rule.tz if isinstance(rule, Cron) else "UTC"))
    if isinstance(rule, Cron):
        return replace(rule, tz=spec.tz or rule.tz)
    return replace(rule, anchor=spec.start_at or rule.anchor)


def _following(job: Job, recurrence: Recurrence | None, now: datetime) -> datetime | None:
    if recurrence is None:
        return None
    limit = recurrence.max_executions
    return None if limit is not None and job.execution_count >= limit else next_after(recurrence, now)
