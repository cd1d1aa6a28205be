"""What the model is made of: a clock and schedules in half hours, runs, and an account of what became of each occurrence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

PERIOD: Final = 2
"""Once an hour."""


@dataclass
class Clock:
    """How many half hours have passed: always whole hours, so that odd instants are never just now."""

    now: int = 0


@dataclass
class Run:
    """The current run, from the moment that its occurrence is taken."""

    number: int
    scheduled_for: int
    attempt: int = 1
    failures: int = 0
    expiries: int = 0
    begun: int = 0
    token: str | None = None
    lease_until: int | None = None


@dataclass(frozen=True)
class Schedule:
    """Once an hour from ``anchor`` on."""

    anchor: int
    start: int
    end: int | None = None
    limit: int | None = None
    missed: str = "run_once"

    def after(self, instant: int) -> int | None:
        """The first instant strictly after this one, if there is one."""
        earliest = max(instant + 1, self.start, self.anchor)
        found = earliest + (self.anchor - earliest) % PERIOD
        return None if self.end is not None and found > self.end else found

    def latest(self, instant: int) -> int:
        """The last instant up to this one, once there is one."""
        until = instant if self.end is None else min(instant, self.end)
        return until - (until - self.anchor) % PERIOD

    def has_taken(self, runs: int) -> bool:
        """Whether that is all the runs that it permits."""
        return self.limit is not None and runs >= self.limit

    def revised(self, start: int | None, limit: int | None) -> Schedule:
        """What a reschedule makes of it: what is not asked for stays."""
        moved = self if start is None else replace(self, anchor=start, start=start)
        return replace(moved, limit=limit or self.limit)


@dataclass
class Account:
    """What became of the occurrences of a job, in their order: none is left out, none is run or passed over twice."""

    until: int = -1
    """Up to here every occurrence was run, or passed over."""
    passed_over: list[tuple[str, int, int, int]] = field(default_factory=list)
    """Of occurrences that are not run: why, how many, the first and the last."""

    def run(self, schedule: Schedule, occurrence: int) -> None:
        self._settle(schedule, occurrence, occurrence)

    def pass_over(self, schedule: Schedule, why: str, first: int, last: int) -> None:
        """Nothing, where ``last`` is before ``first``."""
        if first <= last:
            self.passed_over.append((why, (last - first) // PERIOD + 1, first, last))
            self._settle(schedule, first, last)

    def _settle(self, schedule: Schedule, first: int, last: int) -> None:
        assert first == schedule.after(self.until)
        self.until = last
