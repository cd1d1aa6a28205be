"""The clock readings a cron expression names: a calendar without time zones.

A clock reading is written as a UTC datetime that reads the same, so that ``instant + offset`` and ``reading − offset``
are plain arithmetic. Where a reading falls on the time line of a zone is decided in ``jobs.cron``.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

FIRST_YEAR = 1969
LAST_YEAR = 9998
"""Readings are in these years. 1969 is where some zones are at the start of 1970; 9999 is left out, so that no offset
can move a reading beyond what a datetime holds."""

MINUTE = timedelta(minutes=1)

_ONE_DAY = timedelta(days=1)
_SATURDAY, _SUNDAY = 5, 6
LAST = -1
"""In place of n in "the n-th weekday of the month"."""


@dataclass(frozen=True, slots=True)
class DayRule:
    """The days named by the fields day of month, month and day of week. Weekdays count from Sunday = 0."""

    months: frozenset[int]
    days: frozenset[int]
    last_day: bool
    """``L``: the last day of the month."""
    nearest_weekday: int | None
    """``15W``: the weekday nearest to this day, within its month."""
    weekdays: frozenset[int]
    nth_weekdays: frozenset[tuple[int, int]]
    """``1#2`` and ``L5``: (weekday, n), where n may be ``LAST``."""
    either: bool
    """Both fields are restricted, and a day that suits one of them will do; otherwise it has to suit both."""

    def first_from(self, day: date) -> date | None:
        """The first named day that is ``day`` or later; None when there is none up to ``LAST_YEAR``."""
        year, month, from_day = day.year, day.month, day.day
        while year <= LAST_YEAR:
            if month in self.months:
                days = _days_of_month(self, year, month)
                index = bisect_left(days, from_day)
                if index < len(days):
                    return date(year, month, days[index])
            year, month, from_day = (year + 1, 1, 1) if month == 12 else (year, month + 1, 1)
        return None

    def last_until(self, day: date) -> date | None:
        """The last named day that is ``day`` or earlier; None when there is none since ``FIRST_YEAR``."""
        year, month, until_day = day.year, day.month, day.day
        while year >= FIRST_YEAR:
            if month in self.months:
                days = _days_of_month(self, year, month)
                index = bisect_right(days, until_day)
                if index:
                    return date(year, month, days[index - 1])
            year, month, until_day = (year - 1, 12, 31) if month == 1 else (year, month - 1, 31)
        return None


@dataclass(frozen=True, slots=True)
class CronFields:
    """A parsed expression: on which days, at which times of day."""

    days: DayRule
    minutes_of_day: array[int]
    """The times of day, ascending, in minutes since midnight: an array, since there are up to 1440 of them."""
    follows_wall_clock: bool
    """The hour field begins with ``*``. What that means at a clock change is told in ``jobs.cron``."""

    def first_from(self, reading: datetime) -> datetime | None:
        """The first named reading at or after ``reading``; None when there is none up to ``LAST_YEAR``."""
        reading = ceil_to_minute(reading)
        today = reading.date()
        day = self.days.first_from(today)
        if day == today:
            index = bisect_left(self.minutes_of_day, _minute_of_day(reading))
            if index < len(self.minutes_of_day):
                return _reading(day, self.minutes_of_day[index])
            day = self.days.first_from(today + _ONE_DAY)
        return None if day is None else _reading(day, self.minutes_of_day[0])

    def last_until(self, reading: datetime) -> datetime | None:
        """The last named reading at or before ``reading``; None when there is none since ``FIRST_YEAR``."""
        today = reading.date()
        day = self.days.last_until(today)
        if day == today:
            index = bisect_right(self.minutes_of_day, _minute_of_day(reading))
            if index:
                return _reading(day, self.minutes_of_day[index - 1])
            day = self.days.last_until(today - _ONE_DAY)
        return None if day is None else _reading(day, self.minutes_of_day[-1])

    def count(self, after: datetime, until: datetime) -> int:
        """How many named readings are in (after, until]."""
        total, last = 0, until.date()
        day = self.days.first_from(after.date())
        while day is not None and day <= last:
            passed = bisect_right(self.minutes_of_day, _minute_of_day(after)) if day == after.date() else 0
            reached = (
                bisect_right(self.minutes_of_day, _minute_of_day(until)) if day == last else len(self.minutes_of_day)
            )
            total += reached - passed
            day = self.days.first_from(day + _ONE_DAY)
        return total


def floor_to_minute(reading: datetime) -> datetime:
    """The start of the minute that ``reading`` is in."""
    return reading.replace(second=0, microsecond=0)


def ceil_to_minute(reading: datetime) -> datetime:
    """The first full minute at or after ``reading``."""
    floor = floor_to_minute(reading)
    return floor if floor == reading else floor + MINUTE


def _minute_of_day(reading: datetime) -> int:
    return reading.hour * 60 + reading.minute


def _reading(day: date, minute_of_day: int) -> datetime:
    hour, minute = divmod(minute_of_day, 60)
    return datetime.combine(day, time(hour, minute, tzinfo=UTC))


@lru_cache(maxsize=8192)
def _days_of_month(rule: DayRule, year: int, month: int) -> tuple[int, ...]:
    """The named days of one month that the rule includes, ascending."""
    first, length = monthrange(year, month)
    by_date = {day for day in rule.days if day <= length}
    if rule.last_day:
        by_date.add(length)
    if rule.nearest_weekday is not None:
        by_date.add(_nearest_weekday(rule.nearest_weekday, first, length))
    by_weekday = {day for day in range(1, length + 1) if _suits_weekday(rule, day, first, length)}
    return tuple(sorted(by_date | by_weekday if rule.either else by_date & by_weekday))


def _suits_weekday(rule: DayRule, day: int, first: int, length: int) -> bool:
    weekday = (first + day) % 7
    if weekday in rule.weekdays:
        return True
    if (weekday, LAST) in rule.nth_weekdays and day + 7 > length:
        return True
    return (weekday, (day + 6) // 7) in rule.nth_weekdays


def _nearest_weekday(day: int, first: int, length: int) -> int:
    """The day from Monday to Friday nearest to ``day``, within a month of ``length`` days.

    ``first`` is the weekday of its 1st (Monday = 0). A ``day`` beyond its end stands for its last day, as in croniter.
    """
    day = min(day, length)
    weekday = (first + day - 1) % 7
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == _SUNDAY:
        return day + 1 if day < length else day - 2
    return day
