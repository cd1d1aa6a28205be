"""When a recurring job is due (``mission/semantics.md`` §3). What becomes of an occurrence is decided in ``jobs.occurrences``.

Everything here is a function of its arguments: instants are aware datetimes, answered in UTC.
A cron that does not parse, or a zone that is unknown, raises ``CronError``; ``jobs.schedule`` lets neither through.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from jobs.cron import HORIZON, cron_schedule

TICK = timedelta(microseconds=1)
"""The shortest time: ``instant - TICK`` is just before it."""


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

    def is_exhausted(self, executions_taken: int) -> bool:
        """Whether so many runs are all that it permits."""
        return self.max_executions is not None and executions_taken >= self.max_executions


def first_run(recurrence: Recurrence, now: datetime) -> datetime | None:
    """The first occurrence at or after both ``now`` and ``start_at``; None when there is none up to ``end_date``."""
    return next_after(recurrence, now - TICK)


def next_after(recurrence: Recurrence, instant: datetime) -> datetime | None:
    """The first occurrence strictly after ``instant``; None when there is none up to ``end_date``.

    Also what a resumed job does next, with ``instant`` = now: what was missed while paused is never replayed.
    """
    start, end = recurrence.start_at, recurrence.end_date
    if start is not None and instant < start:
        instant = start - TICK
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


def count_between(recurrence: Recurrence, after: datetime, until: datetime, cap: int) -> int:
    """How many occurrences are in (after, until], at most ``cap``.

    Costs a step for each day with occurrences at most, and one for an interval.
    """
    if recurrence.start_at is not None:
        after = max(after, recurrence.start_at - TICK)
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
