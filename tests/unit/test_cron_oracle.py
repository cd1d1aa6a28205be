"""Cron stepping against an oracle that knows neither croniter nor our stepping: ``tests.cron_oracle``."""

from __future__ import annotations

from bisect import bisect
from datetime import timedelta

import pytest

from jobs.cron import cron_schedule
from tests.cron_oracle import ZONES, lines
from tests.cron_stepping import backwards, counted, forwards

EXPRESSIONS = [
    # Hours that begin with * follow the wall clock.
    "* * * * *",
    "*/7 * * * *",
    "0 * * * *",
    "5 * * * *",
    "15,45 */2 * * *",
    "30 */3 * * 0,6",
    "0 */6 * * *",
    "0 */2 29,30,31 3,10,12 *",
    "20,50 *,3 * * MON-SAT",
    # Others are fixed.
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
    "30 1-23/2 * * *",
    "59 23 * * *",
    "*/30 9-17 * * 1-5",
    "15 23,0 * * *",
    # Days.
    "30 12 L * *",
    "45 1 * * L0",
    "20 2 * * 0#2",
    "10 2 8-14 3,11 7",
    "0 0 30 12 *",
    "0 9 1W * *",
    "0 2 15W * *",
    "0 0 1 JAN,APR,JUL,OCT *",
    "30 0 31 * SAT,SUN",
    "10 2 */2 * 1#1,L0",
    "40 1 * MAR-APR,SEP-NOV SUN",
]


def test_the_comparison_is_as_large_as_was_asked_for() -> None:
    met = [line for zone, year in ZONES for line in lines(zone, year)]
    instants = sum(len(line.named_by(expression)) for line in met for expression in EXPRESSIONS)

    assert (len(ZONES), len(EXPRESSIONS)) == (21, 34)
    # It was 172 changes and 208 176 instants. What parliaments decide next moves both a little.
    assert len(met) > 150
    assert instants > 190_000


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize(("zone", "year"), ZONES)
def test_every_occurrence_around_a_clock_change_is_that_of_the_minute_by_minute_walk(
    zone: str, year: int, expression: str
) -> None:
    for line in lines(zone, year):
        wanted = line.named_by(expression)

        start, end = line.around(expression)

        assert forwards(expression, zone, start, end) == wanted
        assert backwards(expression, zone, start, end) == wanted[::-1]
        assert counted(expression, zone, start, end) == len(wanted)


@pytest.mark.parametrize("expression", ["*/30 * * * *", "30 */3 * * 0,6", "30 2 * * *", "15,45 1,2,3 * * *"])
@pytest.mark.parametrize(("zone", "year"), ZONES)
def test_from_any_minute_the_next_and_the_latest_are_the_neighbours_on_the_walk(
    zone: str, year: int, expression: str
) -> None:
    schedule = cron_schedule(expression, zone)
    for line in lines(zone, year):
        wanted = line.named_by(expression)
        for minute in line.minutes[::29]:
            instant = minute + timedelta(seconds=30)
            place = bisect(wanted, instant)
            if place < len(wanted):
                assert schedule.next_after(instant) == wanted[place]
            if place > 0:
                assert schedule.latest_at_or_before(instant) == wanted[place - 1]
