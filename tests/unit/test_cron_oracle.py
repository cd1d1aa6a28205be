"""Cron stepping against an oracle that knows neither croniter nor our stepping: it walks the time line minute by minute."""

from __future__ import annotations

from bisect import bisect
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from jobs.cron import cron_schedule

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
AROUND = timedelta(hours=30)
"""How long before and after a change the walk goes: beyond a whole day that is left out."""

# Zones with the first of two years: half-hour changes, 45-minute offsets, two-hour changes, changes at midnight,
# changes at 00:01, whole days left out.
ZONES = [
    ("America/New_York", 2026),
    ("Europe/London", 2026),
    ("Australia/Lord_Howe", 2026),
    ("Pacific/Chatham", 2026),
    ("Africa/Cairo", 2026),
    ("Asia/Beirut", 2026),
    ("America/Santiago", 2026),
    ("America/Sao_Paulo", 2017),
    ("America/St_Johns", 2009),
    ("Antarctica/Troll", 2026),
    ("Africa/Casablanca", 2024),
    ("Pacific/Apia", 2010),
    ("Pacific/Kwajalein", 1993),
    ("Asia/Kathmandu", 1985),
    ("UTC", 2026),
]
EXPRESSIONS = [
    "* * * * *",
    "*/7 * * * *",
    "0 * * * *",
    "15,45 */2 * * *",
    "30 */3 * * 0,6",
    "0 */2 29,30,31 3,10,12 *",
    "0 0 * * *",
    "30 0 * * *",
    "0 1 * * *",
    "*/30 1 * * *",
    "0 2 * * *",
    "30 2 * * *",
    "* 2 * * *",
    "15,45 2,3 * * *",
    "0 3 * * 7",
    "0 0-23 * * *",
    "59 23 * * *",
    "30 12 L * *",
    "45 1 * * L0",
    "20 2 * * 0#2",
    "10 2 8-14 3,11 7",
    "0 0 30 12 *",
    "0 9 1W * *",
]


@dataclass(frozen=True)
class Fields:
    """An expression read the slow and plain way."""

    minutes: set[int]
    hours: set[int]
    months: set[int]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, expression: str) -> Fields:
        texts = tuple(expression.split())
        return cls(numbers(texts[0], 0, 59), numbers(texts[1], 0, 23), numbers(texts[3], 1, 12), texts)

    def on_day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_date, by_weekday = suits_date(self.texts[2], day), suits_weekday(self.texts[4], day)
        both = self.texts[2] != "*" and self.texts[4] != "*"
        return by_date or by_weekday if both else by_date and by_weekday


def numbers(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for item in text.split(","):
        bounds, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if bounds == "*" else bounds).partition("-")
        end = int(last) if last else high if step else int(first)
        found.update(range(int(first), end + 1, int(step or 1)))
    return found


def suits_date(text: str, day: date) -> bool:
    length = monthrange(day.year, day.month)[1]
    if text == "L":
        return day.day == length
    if not text.endswith("W"):
        return day.day in numbers(text, 1, 31)
    if day.weekday() > 4:
        return False
    wanted = date(day.year, day.month, min(int(text[:-1]), length))
    month = [wanted.replace(day=number) for number in range(1, length + 1)]
    weekdays = [other for other in month if other.weekday() <= 4]
    # A Saturday is as far from Monday as a Sunday from Friday, or further: no two weekdays are equally near.
    return day == min(weekdays, key=lambda other: abs(other - wanted))


def suits_weekday(text: str, day: date) -> bool:
    if text == "*":
        return True
    if text.startswith("L"):
        return day.isoweekday() % 7 == int(text[1:]) % 7 and (day + 7 * DAY).month != day.month
    weekday, _, nth = text.partition("#")
    if nth:
        return day.isoweekday() % 7 == int(weekday) % 7 and sum(
            (day - k * 7 * DAY).month == day.month for k in range(5)
        ) == int(nth)
    return day.isoweekday() % 7 in {number % 7 for number in numbers(text, 0, 6 if "*" in text else 7)}


@dataclass(frozen=True)
class Tick:
    """One minute of the time line: what the clock shows, and every reading it reaches for the first time."""

    instant: datetime
    reading: datetime
    reached: list[datetime]


@cache
def changes(zone: str, year: int) -> list[datetime]:
    """The hours in which the clocks of two years change."""
    instant, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 2, 1, 1, tzinfo=UTC)
    found, before = [], None
    while instant < end:
        offset = instant.astimezone(ZoneInfo(zone)).utcoffset()
        if before not in (None, offset):
            found.append(instant)
        before, instant = offset, instant + HOUR
    return found or [datetime(year, 2, 28, tzinfo=UTC), datetime(year, 12, 31, tzinfo=UTC)]


@cache
def ticks(zone: str, change: datetime) -> list[Tick]:
    """Every minute from ``AROUND`` before a change to ``AROUND`` after it."""
    info, found = ZoneInfo(zone), []
    # The readings reached before the window are known only after a while of watching the clock.
    instant = change - AROUND - DAY
    highest = shown(instant, info)
    while instant < change + AROUND:
        reading, reached = shown(instant, info), []
        while highest < reading:
            highest += MINUTE
            reached.append(highest)
        if instant > change - AROUND:
            found.append(Tick(instant, reading, reached))
        instant += MINUTE
    return found


def shown(instant: datetime, info: ZoneInfo) -> datetime:
    return instant.astimezone(info).replace(tzinfo=None)


def expected(expression: str, line: list[Tick]) -> list[datetime]:
    fields = Fields.of(expression)
    on_day = cache(fields.on_day)

    def named(reading: datetime) -> bool:
        return reading.minute in fields.minutes and reading.hour in fields.hours and on_day(reading.date())

    if fields.texts[1].startswith("*"):
        return [tick.instant for tick in line if named(tick.reading)]
    return [tick.instant for tick in line if any(named(reading) for reading in tick.reached)]


def forwards(expression: str, zone: str, start: datetime, end: datetime) -> Iterator[datetime]:
    schedule = cron_schedule(expression, zone)
    instant = schedule.next_after(start)
    while instant is not None and instant < end:
        yield instant
        instant = schedule.next_after(instant)


def backwards(expression: str, zone: str, start: datetime, end: datetime) -> Iterator[datetime]:
    schedule = cron_schedule(expression, zone)
    instant = schedule.latest_at_or_before(end - MINUTE)
    while instant is not None and instant > start:
        yield instant
        instant = schedule.latest_at_or_before(instant - timedelta(seconds=1))


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize(("zone", "year"), ZONES)
def test_every_occurrence_around_a_clock_change_is_that_of_the_minute_by_minute_walk(
    zone: str, year: int, expression: str
) -> None:
    for change in changes(zone, year):
        wanted = expected(expression, ticks(zone, change))
        start, end = change - AROUND, change + AROUND

        assert list(forwards(expression, zone, start, end)) == wanted
        assert list(backwards(expression, zone, start, end)) == wanted[::-1]
        assert cron_schedule(expression, zone).count(start, end - MINUTE, 10_000) == len(wanted)


@pytest.mark.parametrize("expression", ["*/30 * * * *", "30 */3 * * 0,6", "30 2 * * *", "15,45 1,2,3 * * *"])
@pytest.mark.parametrize(("zone", "year"), ZONES)
def test_from_any_minute_the_next_and_the_latest_are_the_neighbours_on_the_walk(
    zone: str, year: int, expression: str
) -> None:
    schedule = cron_schedule(expression, zone)
    for change in changes(zone, year):
        line = ticks(zone, change)
        wanted = expected(expression, line)
        for tick in line[::29]:
            instant = tick.instant + timedelta(seconds=30)
            place = bisect(wanted, instant)
            if place < len(wanted):
                assert schedule.next_after(instant) == wanted[place]
            if place > 0:
                assert schedule.latest_at_or_before(instant) == wanted[place - 1]


# cronsim writes the last Sunday as ``0L``, knows no ``15W``, and takes a minute field that begins with ``*`` for a wall
# clock as well. It loses ``45 2`` of ``15,45 */2`` where clocks do not change by full hours on the hour, and midnight where
# that is skipped on a named date: such zones are left out.
SHARED = [
    text for text in EXPRESSIONS if "W" not in text and "L0" not in text and not text.startswith(("* 2", "*/30 1"))
]


@pytest.mark.parametrize("expression", SHARED)
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/London", "Europe/Berlin", "Africa/Cairo", "UTC"])
def test_cronsim_names_the_same_instants(zone: str, expression: str) -> None:
    for change in changes(zone, 2026):
        theirs = CronSim(expression, (change - 3 * DAY).astimezone(ZoneInfo(zone)))

        ours = list(forwards(expression, zone, change - 3 * DAY, change + 3 * DAY))

        assert [next(theirs).astimezone(UTC) for _ in ours] == ours
