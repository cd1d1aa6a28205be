"""What a cron expression names, found the slow and plain way: by walking the time line minute by minute.

It knows neither croniter nor the stepping of ``jobs.cron``. It reads an expression by itself, walks UTC, converts every
minute to the clock of a zone, and matches the fields.
"""

from __future__ import annotations

from calendar import monthrange
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
YEARS = 5
"""How many years of changes are looked at, from the first that is given with a zone."""
AROUND = timedelta(hours=26)
"""How long before and after a change the walk goes: each time of day is met on both sides, in whatever zone."""
NEAR = timedelta(hours=5)
"""The same for what fires so often that nothing new happens further away."""
OFTEN = 200
"""So many times a day."""

# Zones with the first of five years: half-hour changes, 45-minute offsets, changes by two and by three hours, at midnight,
# at 00:01, at 23:30, to another offset for good, around Ramadan, and whole days left out.
ZONES = [
    ("UTC", 2026),
    ("America/New_York", 2026),
    ("Europe/London", 2026),
    ("Europe/Berlin", 2026),
    ("Australia/Lord_Howe", 2026),
    ("Pacific/Chatham", 2026),
    ("Antarctica/Troll", 2026),
    ("Antarctica/Casey", 2018),
    ("Africa/Casablanca", 2024),
    ("Africa/Cairo", 2010),
    ("Asia/Beirut", 2022),
    ("Asia/Tehran", 2018),
    ("America/Santiago", 2026),
    ("America/Havana", 2026),
    ("America/Sao_Paulo", 2014),
    ("America/St_Johns", 2007),
    ("Pacific/Apia", 2009),
    ("Pacific/Kwajalein", 1990),
    ("Asia/Pyongyang", 2014),
    ("Asia/Colombo", 1994),
    ("Asia/Kathmandu", 1983),
]

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

Reading = tuple[date, int]
"""What a clock shows: the date, and the minute of the day."""


@dataclass(frozen=True)
class Fields:
    """An expression as it is read here."""

    minutes_of_day: frozenset[int]
    hour: str
    months: frozenset[int]
    days: tuple[str, ...]
    weekdays: tuple[str, ...]

    def on_day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_date = any(suits_date(item, day) for item in self.days)
        by_weekday = any(suits_weekday(item, day) for item in self.weekdays)
        both = "*" not in self.days and "*" not in self.weekdays
        return by_date or by_weekday if both else by_date and by_weekday


@lru_cache(maxsize=256)
def fields_of(expression: str) -> Fields:
    minute, hour, day, month, weekday = expression.split()
    return Fields(
        frozenset(h * 60 + m for h in numbers(hour, 0, 23) for m in numbers(minute, 0, 59)),
        hour,
        numbers(in_digits(month, MONTHS, 1), 1, 12),
        tuple(day.split(",")),
        tuple(in_digits(weekday, WEEKDAYS, 0).split(",")),
    )


def in_digits(text: str, names: tuple[str, ...], first: int) -> str:
    for number, name in enumerate(names, first):
        text = text.replace(name, str(number))
    return text


@cache
def numbers(text: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for item in text.split(","):
        bounds, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if bounds == "*" else bounds).partition("-")
        end = int(last) if last else high if step else int(first)
        found.update(range(int(first), end + 1, int(step or 1)))
    return frozenset(found)


def suits_date(item: str, day: date) -> bool:
    if item == "L":
        return (day + DAY).month != day.month
    if not item.endswith("W"):
        return day.day in numbers(item, 1, 31)
    if day.weekday() > 4:
        return False
    length = monthrange(day.year, day.month)[1]
    wanted = date(day.year, day.month, min(int(item[:-1]), length))
    month = [wanted.replace(day=number) for number in range(1, length + 1)]
    weekdays = [other for other in month if other.weekday() <= 4]
    # A Saturday is as far from Monday as a Sunday from Friday, or further: no two weekdays are equally near.
    return day == min(weekdays, key=lambda other: abs(other - wanted))


def suits_weekday(item: str, day: date) -> bool:
    weekday = day.isoweekday() % 7
    if item.startswith("L"):
        return weekday == int(item[1:]) % 7 and (day + 7 * DAY).month != day.month
    named, _, nth = item.partition("#")
    if nth:
        weeks_before = sum((day - k * 7 * DAY).month == day.month for k in range(1, 5))
        return weekday == int(named) % 7 and weeks_before + 1 == int(nth)
    # Seven is Sunday once more, and no part of a whole week.
    return weekday in {number % 7 for number in numbers(item, 0, 7 if "-" in item or "/" not in item else 6)}


@dataclass(frozen=True)
class Line:
    """The minutes around a change of the clocks."""

    change: datetime
    minutes: list[datetime]
    shown: dict[Reading, list[datetime]]
    """When the clock shows a reading: twice in a repeated hour, never in a gap."""
    reached: dict[Reading, list[datetime]]
    """When the highest reading that the clock has shown so far comes to be this one or goes beyond it."""

    def around(self, expression: str) -> tuple[datetime, datetime]:
        """The two instants strictly between which ``expression`` is looked at."""
        reach = NEAR if len(fields_of(expression).minutes_of_day) > OFTEN else AROUND
        return self.change - reach, self.change + reach

    def named_by(self, expression: str) -> list[datetime]:
        """The instants at which ``expression`` fires, strictly between the two."""
        start, end = self.around(expression)
        fields = fields_of(expression)
        times = self.shown if fields.hour.startswith("*") else self.reached
        days = [day for day in {day for day, _ in times} if fields.on_day(day)]
        # Several readings that are skipped together are reached at one instant, and run once.
        named = {at for day in days for minute in fields.minutes_of_day for at in times.get((day, minute), [])}
        return sorted(at for at in named if start < at < end)


@cache
def changes(zone: str, year: int) -> list[datetime]:
    """The hours in which the clocks change in five years; days that are odd by themselves where they never do."""
    show, day, found = clock_of(zone), datetime(year, 1, 1, tzinfo=UTC), []
    while day.year < year + YEARS:
        # No clocks are changed twice within a day.
        if show(day + DAY) != show(day) + DAY:
            hours = [day + hour * HOUR for hour in range(1, 25)]
            found.append(next(hour for hour in hours if show(hour) - hour != show(day) - day))
        day += DAY
    return found or [datetime(y, m, d, tzinfo=UTC) for y in range(year, year + YEARS) for m, d in ((2, 28), (12, 31))]


@cache
def line_around(zone: str, change: datetime) -> Line:
    """The walk from ``AROUND`` before a change to ``AROUND`` after it."""
    show, line = clock_of(zone), Line(change, [], defaultdict(list), defaultdict(list))
    instant = change - AROUND
    highest = show(instant)
    while instant < change + AROUND:
        instant += MINUTE
        now = show(instant)
        line.minutes.append(instant)
        line.shown[reading(now)].append(instant)
        while highest < now:
            highest += MINUTE
            line.reached[reading(highest)].append(instant)
    return line


def clock_of(zone: str) -> Callable[[datetime], datetime]:
    """What the clock of a zone shows at an instant, written as if it were UTC."""
    info = ZoneInfo(zone)
    return lambda instant: instant.astimezone(info).replace(tzinfo=UTC)


def reading(clock: datetime) -> Reading:
    return clock.date(), clock.hour * 60 + clock.minute


def lines(zone: str, year: int) -> list[Line]:
    return [line_around(zone, change) for change in changes(zone, year)]
