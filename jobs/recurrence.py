"""When a recurring job is due, and what is done about the occurrences it missed (``mission/semantics.md`` §3).

Everything here is a function of its arguments: *now* is given, and instants are aware datetimes, answered in UTC.
A cron that does not parse, or a zone that is unknown, raises ``CronError``; ``jobs.schedule`` lets neither through.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from jobs.cron import HORIZON, cron_schedule

MISSED_AFTER = timedelta(seconds=60)
"""An occurrence taken up later than this is missed, not merely late."""
CATCH_UP_LIMIT = 100
"""How many missed occurrences ``RUN_ALL`` runs at most: the most recent ones."""
COUNT_CAP = 10_000
"""Occurrences that are not run are counted up to here: the count is for people, and cheap after any downtime."""

_TICK = timedelta(microseconds=1)


class MissedRuns(StrEnum):
    """What becomes of occurrences that came due while nobody looked."""

    SKIP = "skip"
    RUN_ONCE = "run_once"
    RUN_ALL = "run_all"


class Overlap(StrEnum):
    """What becomes of occurrences that come due while a run of the same job is still going on."""

    SKIP = "skip"
    QUEUE_ONE = "queue_one"


@dataclass(frozen=True, slots=True)
class Cron:
    """The instants a cron expression names on the clocks of an IANA time zone."""

    expression: str
    tz: str = "UTC"


@dataclass(frozen=True, slots=True)
class Every:
    """The instants ``anchor + k · interval``, for k = 0, 1, 2 …: a grid, so that late runs do not make it drift."""

    interval: timedelta
    anchor: datetime


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A rule, its bounds, and its policies."""

    rule: Cron | Every
    start_at: datetime | None = None
    """No occurrence is before this instant."""
    max_executions: int | None = None
    """How many runs are taken in all, failed ones included; skipped occurrences do not count."""
    end_date: datetime | None = None
    """No occurrence is after this instant; one that falls on it is still run."""
    missed: MissedRuns = MissedRuns.RUN_ONCE
    overlap: Overlap = Overlap.SKIP


@dataclass(frozen=True, slots=True)
class Due:
    """What to do about an occurrence that was found due."""

    scheduled_for: datetime | None
    """The occurrence to run now; None when none is run."""
    passed_over: int
    """Missed occurrences that are not run, counted up to ``COUNT_CAP``."""
    next_run_at: datetime | None
    """The occurrence after the one taken, or after now when none is taken; None when nothing is left."""
    catch_up_until: datetime | None
    """Occurrences up to this instant are taken however late they are; None when there are none such."""


@dataclass(frozen=True, slots=True)
class AfterRun:
    """What to do once the run of an occurrence has ended."""

    next_run_at: datetime | None
    """The next occurrence; at or before now when it is due right away; None when nothing is left."""
    skipped: int
    """Occurrences that came due during the run and are not run, counted up to ``COUNT_CAP``."""
    catch_up_until: datetime | None
    """Occurrences up to this instant are taken however late they are; None when there are none such."""


def first_run(recurrence: Recurrence, now: datetime) -> datetime | None:
    """The first occurrence at or after both ``now`` and ``start_at``; None when there is none up to ``end_date``."""
    return next_after(recurrence, now - _TICK)


def next_after(recurrence: Recurrence, instant: datetime) -> datetime | None:
    """The first occurrence strictly after ``instant``; None when there is none up to ``end_date``.

    Also what a resumed job does next, with ``instant`` = now: what was missed while paused is never replayed.
    """
    start, end = recurrence.start_at, recurrence.end_date
    if start is not None and instant < start:
        instant = start - _TICK
    found = _rule_next(recurrence.rule, instant)
    if found is None or (end is not None and found > end):
        return None
    return found


def latest_at_or_before(recurrence: Recurrence, instant: datetime) -> datetime | None:
    """The last occurrence at or before ``instant``; None when there is none since ``start_at``."""
    start, end = recurrence.start_at, recurrence.end_date
    if end is not None and instant > end:
        instant = end
    found = _rule_latest(recurrence.rule, instant)
    if found is None or (start is not None and found < start):
        return None
    return found


def upcoming(recurrence: Recurrence, after: datetime, count: int, executions_taken: int) -> list[datetime]:
    """Up to ``count`` occurrences strictly after ``after``, no more than the executions that are left."""
    if recurrence.max_executions is not None:
        count = min(count, recurrence.max_executions - executions_taken)
    found: list[datetime] = []
    instant = next_after(recurrence, after)
    while instant is not None and len(found) < count:
        found.append(instant)
        instant = next_after(recurrence, instant)
    return found


def decide_due(
    recurrence: Recurrence, *, due_at: datetime, now: datetime, executions_taken: int, catch_up_until: datetime | None
) -> Due:
    """What to run, now that the occurrence stored as ``due_at`` is found due and no run of the job is in flight.

    ``executions_taken`` counts the runs before this one.
    """
    if _exhausted(recurrence, executions_taken) or _is_after(due_at, recurrence.end_date):
        return Due(None, 0, None, None)
    if now - due_at <= MISSED_AFTER or _within(due_at, catch_up_until):
        return _take(recurrence, due_at, 0, executions_taken, catch_up_until)
    if recurrence.missed is MissedRuns.RUN_ALL:
        return _take_oldest(recurrence, due_at, now, executions_taken)
    later = _count(recurrence, due_at, now, COUNT_CAP)
    if recurrence.missed is MissedRuns.SKIP:
        return Due(None, min(later + 1, COUNT_CAP), next_after(recurrence, now), None)
    latest = _latest_from(recurrence, due_at, now)
    return Due(latest, later, _next_unless_last(recurrence, now, executions_taken + 1), None)


def decide_after_run(
    recurrence: Recurrence,
    *,
    candidate: datetime | None,
    now: datetime,
    executions_taken: int,
    catch_up_until: datetime | None,
) -> AfterRun:
    """When the job is due again, now that a run has ended: ``candidate`` is the occurrence behind it, if there is one.

    ``executions_taken`` counts the runs up to and including this one.
    """
    if candidate is None or _exhausted(recurrence, executions_taken) or _is_after(candidate, recurrence.end_date):
        return AfterRun(None, 0, None)
    if candidate > now or _within(candidate, catch_up_until):
        return AfterRun(candidate, 0, _still(catch_up_until, candidate))
    overlapped = _count(recurrence, candidate - _TICK, now, COUNT_CAP + 1)
    if recurrence.overlap is Overlap.SKIP:
        return AfterRun(next_after(recurrence, now), min(overlapped, COUNT_CAP), None)
    # It was promised to run right after, so it must not be judged as missed when it is taken up:
    # a long run makes it more than `MISSED_AFTER` late.
    queued = _latest_from(recurrence, candidate, now)
    return AfterRun(queued, overlapped - 1, catch_up_until=queued)


def _take_oldest(recurrence: Recurrence, due_at: datetime, now: datetime, executions_taken: int) -> Due:
    """``RUN_ALL``: the first of the last ``CATCH_UP_LIMIT`` missed occurrences; the others follow one by one."""
    missed = 1 + _count(recurrence, due_at, now, COUNT_CAP + CATCH_UP_LIMIT)
    if missed <= CATCH_UP_LIMIT:
        return _take(recurrence, due_at, 0, executions_taken, now)
    oldest = _latest_from(recurrence, due_at, now)
    for _ in range(CATCH_UP_LIMIT - 1):
        oldest = _latest_from(recurrence, due_at, oldest - _TICK)
    return _take(recurrence, oldest, min(missed - CATCH_UP_LIMIT, COUNT_CAP), executions_taken, now)


def _take(
    recurrence: Recurrence, taken: datetime, passed_over: int, executions_taken: int, catch_up_until: datetime | None
) -> Due:
    following = _next_unless_last(recurrence, taken, executions_taken + 1)
    return Due(taken, passed_over, following, _still(catch_up_until, following))


def _latest_from(recurrence: Recurrence, earliest: datetime, instant: datetime) -> datetime:
    """The last occurrence at or before ``instant``, and at least ``earliest``, which need not be on the grid."""
    latest = latest_at_or_before(recurrence, instant)
    return earliest if latest is None else max(earliest, latest)


def _next_unless_last(recurrence: Recurrence, instant: datetime, executions_taken: int) -> datetime | None:
    return None if _exhausted(recurrence, executions_taken) else next_after(recurrence, instant)


def _exhausted(recurrence: Recurrence, executions_taken: int) -> bool:
    return recurrence.max_executions is not None and executions_taken >= recurrence.max_executions


def _still(catch_up_until: datetime | None, following: datetime | None) -> datetime | None:
    """The end of the backlog, as long as the occurrence that follows belongs to it."""
    return catch_up_until if following is not None and _within(following, catch_up_until) else None


def _within(instant: datetime, bound: datetime | None) -> bool:
    return bound is not None and instant <= bound


def _is_after(instant: datetime, bound: datetime | None) -> bool:
    return bound is not None and instant > bound


def _count(recurrence: Recurrence, after: datetime, until: datetime, cap: int) -> int:
    """How many occurrences are in (after, until], at most ``cap``."""
    if recurrence.start_at is not None:
        after = max(after, recurrence.start_at - _TICK)
    if recurrence.end_date is not None:
        until = min(until, recurrence.end_date)
    rule = recurrence.rule
    if isinstance(rule, Cron):
        return cron_schedule(rule.expression, rule.tz).count(after, until, cap)
    return max(0, min(cap, _steps(rule, until) - _steps(rule, after)))


def _rule_next(rule: Cron | Every, instant: datetime) -> datetime | None:
    if isinstance(rule, Cron):
        return cron_schedule(rule.expression, rule.tz).next_after(instant)
    # Compared before it is computed: the step beyond the horizon may be beyond what a datetime holds.
    step = _steps(rule, instant)
    return None if rule.interval * step > HORIZON - rule.anchor else rule.anchor + rule.interval * step


def _rule_latest(rule: Cron | Every, instant: datetime) -> datetime | None:
    if isinstance(rule, Cron):
        return cron_schedule(rule.expression, rule.tz).latest_at_or_before(instant)
    steps = _steps(rule, min(instant, HORIZON))
    return rule.anchor + rule.interval * (steps - 1) if steps else None


def _steps(rule: Every, instant: datetime) -> int:
    """How many occurrences of the grid are at or before ``instant``."""
    return max(0, (instant - rule.anchor) // rule.interval + 1)
