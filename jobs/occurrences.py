"""What becomes of each occurrence of a recurring job: it is run, or passed over for a cause (``mission/semantics.md`` §3).

Everything here is a function of its arguments: *now* is given, and is the database's time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from jobs.recurrence import TICK, MissedRuns, Overlap, Recurrence, count_between, latest_at_or_before, next_after

MISSED_AFTER = timedelta(seconds=60)
"""An occurrence taken up later than this is missed, not merely late."""
CATCH_UP_LIMIT = 100
"""How many missed occurrences ``RUN_ALL`` runs at most: the most recent ones."""
CATCH_UP_AT_ONCE = 20
"""How many runs of one product may be under way at a time that make up for missed ones: other work is not to wait for them."""
COUNT_CAP = 1_000_000
"""Occurrences that are passed over are counted up to here: two years of every minute."""


class Cause(StrEnum):
    """Why occurrences that came due are not run."""

    MISSED = "missed"
    OVERLAP = "overlap"
    PAUSED = "paused"
    RESCHEDULED = "rescheduled"


_TOLD = {
    Cause.MISSED: "{count} missed {occurrences} passed over",
    Cause.OVERLAP: "{count} {occurrences} skipped: the run was still going on",
    Cause.PAUSED: "{count} {occurrences} skipped: the job was paused",
    Cause.RESCHEDULED: "{count} {occurrences} dropped with the schedule that named {them}",
}


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Occurrences that came due one after the other, and are not run."""

    cause: Cause
    count: int
    """How many, up to ``COUNT_CAP``."""
    first: datetime
    last: datetime

    def __str__(self) -> str:
        occurrences, them = ("occurrence", "it") if self.count == 1 else ("occurrences", "them")
        return _TOLD[self.cause].format(count=self.count, occurrences=occurrences, them=them)


@dataclass(frozen=True, slots=True)
class Due:
    """What to do about an occurrence that was found due."""

    scheduled_for: datetime | None
    """The occurrence to run now; None when none is run."""
    passed_over: PassedOver | None
    next_run_at: datetime | None
    """The occurrence after the one taken, or to be looked at next when none is taken; None when nothing is left."""
    catch_up_until: datetime | None
    """Occurrences up to this instant are taken however late they are; None when there are none such."""
    paced: bool = False
    """The next occurrence is one of a backlog, which is taken up as the pace of its product allows."""


@dataclass(frozen=True, slots=True)
class AfterRun:
    """What to do once the run of an occurrence has ended."""

    next_run_at: datetime | None
    """The next occurrence; at or before now when it is due right away; None when nothing is left."""
    passed_over: PassedOver | None
    """Occurrences that came due during the run and are not run."""
    catch_up_until: datetime | None
    """Occurrences up to this instant are taken however late they are; None when there are none such."""
    paced: bool = False
    """The next occurrence is one of a backlog, which is taken up as the pace of its product allows."""


def decide_due(
    recurrence: Recurrence, *, due_at: datetime, now: datetime, executions_taken: int, catch_up_until: datetime | None
) -> Due:
    """What to run, now that the occurrence stored as ``due_at`` is found due and no run of the job is in flight.

    ``executions_taken`` counts the runs before this one.
    """
    if recurrence.is_exhausted(executions_taken) or _is_after(due_at, recurrence.end_date):
        return Due(None, None, None, None)
    if now - due_at <= MISSED_AFTER or _within(due_at, catch_up_until):
        following = _next_unless_last(recurrence, due_at, executions_taken + 1)
        return Due(due_at, None, following, _still(catch_up_until, following))
    latest = _latest_from(recurrence, due_at, now)
    match recurrence.missed:
        case MissedRuns.SKIP:
            return _skip_to_what_is_in_time(recurrence, due_at, now, executions_taken)
        case MissedRuns.RUN_ONCE:
            passed = _before(recurrence, Cause.MISSED, due_at, latest)
            return Due(latest, passed, _next_unless_last(recurrence, now, executions_taken + 1), None)
        case MissedRuns.RUN_ALL:  # pragma: no branch  # there is no other
            oldest = _oldest_to_run(recurrence, due_at, latest)
            return Due(None, _before(recurrence, Cause.MISSED, due_at, oldest), oldest, now, paced=True)


def decide_after_run(
    recurrence: Recurrence,
    *,
    candidate: datetime | None,
    started_at: datetime,
    now: datetime,
    executions_taken: int,
    catch_up_until: datetime | None,
) -> AfterRun:
    """When the job is due again, now that a run has ended: ``candidate`` is the occurrence behind it, if there is one.

    ``started_at`` is when the run began: what had come due by then did not overlap with it, and is due as it was before.
    ``executions_taken`` counts the runs up to and including this one.
    """
    if candidate is None or recurrence.is_exhausted(executions_taken) or _is_after(candidate, recurrence.end_date):
        return AfterRun(None, None, None)
    if candidate > now:
        return AfterRun(candidate, None, None)
    if _within(candidate, catch_up_until):
        return AfterRun(candidate, None, catch_up_until, paced=True)
    if candidate <= started_at:
        return AfterRun(candidate, None, None)
    latest = _latest_from(recurrence, candidate, now)
    if recurrence.overlap is Overlap.SKIP:
        overlapped = _from(recurrence, Cause.OVERLAP, candidate, latest)
        return AfterRun(next_after(recurrence, now), overlapped, None)
    # It was promised to run right after, so it must not be judged as missed when it is taken up:
    # a long run makes it more than `MISSED_AFTER` late.
    return AfterRun(latest, _before(recurrence, Cause.OVERLAP, candidate, latest), catch_up_until=latest)


def passed_over(recurrence: Recurrence, cause: Cause, after: datetime, until: datetime) -> PassedOver | None:
    """The occurrences in (after, until], as passed over for ``cause``; None when there are none."""
    first = next_after(recurrence, after)
    if first is None or first > until:
        return None
    return _from(recurrence, cause, first, _latest_from(recurrence, first, until))


def _skip_to_what_is_in_time(recurrence: Recurrence, due_at: datetime, now: datetime, executions_taken: int) -> Due:
    """Under ``SKIP``: behind the missed occurrences there may be one that is merely late, and so is run."""
    in_time = next_after(recurrence, now - MISSED_AFTER - TICK)
    if in_time is not None and in_time <= now:
        following = _next_unless_last(recurrence, in_time, executions_taken + 1)
        return Due(in_time, _before(recurrence, Cause.MISSED, due_at, in_time), following, None)
    missed = _from(recurrence, Cause.MISSED, due_at, _latest_from(recurrence, due_at, now))
    return Due(None, missed, in_time, None)


def _oldest_to_run(recurrence: Recurrence, due_at: datetime, latest: datetime) -> datetime:
    """The first of the last ``CATCH_UP_LIMIT`` occurrences from ``due_at`` to ``latest``."""
    if count_between(recurrence, due_at, latest, CATCH_UP_LIMIT) < CATCH_UP_LIMIT:
        return due_at
    oldest = latest
    for _ in range(CATCH_UP_LIMIT - 1):
        oldest = _latest_from(recurrence, due_at, oldest - TICK)
    return oldest


def _before(recurrence: Recurrence, cause: Cause, first: datetime, taken: datetime) -> PassedOver | None:
    """The occurrences from ``first`` up to the one before ``taken``."""
    if taken <= first:
        return None
    return _from(recurrence, cause, first, _latest_from(recurrence, first, taken - TICK))


def _from(recurrence: Recurrence, cause: Cause, first: datetime, last: datetime) -> PassedOver:
    """The occurrences from ``first``, which need not be on the grid, to ``last``."""
    return PassedOver(cause, 1 + count_between(recurrence, first, last, COUNT_CAP - 1), first, last)


def _latest_from(recurrence: Recurrence, earliest: datetime, instant: datetime) -> datetime:
    """The last occurrence at or before ``instant``, and at least ``earliest``, which need not be on the grid."""
    latest = latest_at_or_before(recurrence, instant)
    return earliest if latest is None else max(earliest, latest)


def _next_unless_last(recurrence: Recurrence, instant: datetime, executions_taken: int) -> datetime | None:
    return None if recurrence.is_exhausted(executions_taken) else next_after(recurrence, instant)


def _still(catch_up_until: datetime | None, following: datetime | None) -> datetime | None:
    """The end of the backlog, as long as the occurrence that follows belongs to it."""
    return catch_up_until if following is not None and _within(following, catch_up_until) else None


def _within(instant: datetime, bound: datetime | None) -> bool:
    return bound is not None and instant <= bound


def _is_after(instant: datetime, bound: datetime | None) -> bool:
    return bound is not None and instant > bound
