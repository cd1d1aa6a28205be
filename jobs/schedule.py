"""The schedule a caller asks for, checked and made into a plan. The rules are those of ``mission/semantics.md`` §3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from jobs.cron import HORIZON, CronError, parse_cron, time_zone
from jobs.errors import InvalidInput, Issue
from jobs.recurrence import Cron, Every, MissedRuns, Overlap, Recurrence, first_run
from jobs.times import EPOCH, truncate

MIN_EVERY_MS = 1_000
MAX_EVERY_MS = 3_650 * 24 * 60 * 60 * 1_000
MAX_LIMIT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """A schedule as given, unchecked; None for what was not given. A date without an offset is in UTC."""

    start_at: datetime | None = None
    cron: str | None = None
    tz: str | None = None
    every_ms: int | None = None
    limit: int | None = None
    end_date: datetime | None = None
    missed: MissedRuns | None = None
    overlap: Overlap | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """When the first run is due, and how it goes on from there."""

    recurrence: Recurrence | None
    """None for a one-shot."""
    first_run_at: datetime
    """Never before now; equal to now for a one-shot that is due now, or was due in the past."""


def plan_schedule(spec: ScheduleSpec, now: datetime, path: tuple[str, ...]) -> Plan:
    """The plan for ``spec``. Raises ``InvalidInput`` with every issue found, at ``path`` + the field in camelCase."""
    spec = check_schedule(spec, path)
    # The store keeps milliseconds: a grid anchored at a finer instant would not survive it.
    grid_now = truncate(now)
    rule = _rule(spec, spec.start_at or grid_now)
    if rule is None:
        return Plan(None, now if spec.start_at is None else max(now, spec.start_at))

    recurrence = Recurrence(
        rule=rule,
        start_at=spec.start_at,
        max_executions=spec.limit,
        end_date=spec.end_date,
        missed=spec.missed or MissedRuns.RUN_ONCE,
        overlap=spec.overlap or Overlap.SKIP,
    )
    return Plan(recurrence, _first_run(_Issues(path), recurrence, grid_now))


def check_schedule(spec: ScheduleSpec, path: tuple[str, ...], present: Cron | Every | None = None) -> ScheduleSpec:
    """``spec`` with its dates in UTC and whole milliseconds. ``present``: the rule of the job that it is to change.

    Raises ``InvalidInput`` with every issue found.
    """
    issues = _Issues(path)
    start_at = _date(issues, "startAt", spec.start_at)
    end_date = _date(issues, "endDate", spec.end_date)
    _check_together(issues, spec, present)
    _check_values(issues, spec)
    issues.raise_any()
    return replace(spec, start_at=start_at, end_date=end_date)


@dataclass(frozen=True, slots=True)
class _Issues:
    path: tuple[str, ...]
    found: list[Issue] = field(default_factory=list)

    def add(self, name: str, message: str) -> None:
        self.found.append(Issue((*self.path, name), message))

    def raise_any(self) -> None:
        if self.found:
            raise InvalidInput(self.found)


def _date(issues: _Issues, name: str, given: datetime | None) -> datetime | None:
    """The date in UTC and in whole milliseconds."""
    if given is None:
        return None
    aware = given.replace(tzinfo=UTC) if given.tzinfo is None else given
    if not EPOCH <= aware <= HORIZON:
        issues.add(name, "the date must be in the years 1970 to 9998")
        return None
    return truncate(aware.astimezone(UTC))


def _check_together(issues: _Issues, spec: ScheduleSpec, present: Cron | Every | None) -> None:
    """Which fields go with which."""
    if spec.cron is not None and spec.every_ms is not None:
        issues.add("cron", "give cron or every, not both")
        issues.add("every", "give cron or every, not both")
    has_cron = spec.cron is not None or (isinstance(present, Cron) and spec.every_ms is None)
    if spec.tz is not None and not has_cron:
        issues.add("tz", "tz needs cron")
    if has_cron or spec.every_ms is not None or present is not None:
        return
    bounds = {"limit": spec.limit, "endDate": spec.end_date, "missed": spec.missed, "overlap": spec.overlap}
    for name, given in bounds.items():
        if given is not None:
            issues.add(name, f"{name} needs cron or every")


def _check_values(issues: _Issues, spec: ScheduleSpec) -> None:
    """Each value for itself."""
    _check(issues, "cron", parse_cron, spec.cron)
    _check(issues, "tz", time_zone, spec.tz)
    if spec.every_ms is not None and not MIN_EVERY_MS <= spec.every_ms <= MAX_EVERY_MS:
        issues.add("every", f"every must be from {MIN_EVERY_MS} ms to {MAX_EVERY_MS} ms (10 years)")
    if spec.limit is not None and not 1 <= spec.limit <= MAX_LIMIT:
        issues.add("limit", f"limit must be from 1 to {MAX_LIMIT}")


def _check(issues: _Issues, name: str, parse: Callable[[str], object], given: str | None) -> None:
    if given is None:
        return
    try:
        parse(given)
    except CronError as error:
        issues.add(name, str(error))


def _rule(spec: ScheduleSpec, anchor: datetime) -> Cron | Every | None:
    if spec.cron is not None:
        return Cron(spec.cron, spec.tz or "UTC")
    return None if spec.every_ms is None else Every(timedelta(milliseconds=spec.every_ms), anchor)


def _first_run(issues: _Issues, recurrence: Recurrence, now: datetime) -> datetime:
    first = first_run(recurrence, now)
    if first is None:
        if recurrence.end_date is None:
            issues.add("cron", "no run is due on or after startAt up to the year 9998")
        else:
            issues.add("endDate", "no run is due on or before endDate")
        raise InvalidInput(issues.found)
    return first
