"""Cron stepping against cronsim, a third opinion, as far as its dialect goes. Where it differs is listed with the reason."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from tests.cron_oracle import ZONES, lines
from tests.cron_stepping import forwards
from tests.unit.test_cron_oracle import EXPRESSIONS

# It loses occurrences where clocks do not change by full hours on the hour, and from some instants in St John's and in
# Colombo it never comes back.
OTHER_ZONES = {
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "America/St_Johns",
    "Antarctica/Casey",
    "Asia/Pyongyang",
    "Asia/Colombo",
}
OTHER_EXPRESSIONS = {
    # It knows no weekday nearest to a day.
    "0 9 1W * *",
    "0 2 15W * *",
    # It takes a minute field that begins with * for a wall clock as well.
    "*/30 1 * * *",
    "* 2 * * *",
    "*/30 9-17 * * 1-5",
    # As in Vixie cron, */2 does not restrict the days, so that the weekday has to suit as well.
    "10 2 */2 * 1#1,L0",
    # Nothing is known against these, but that they cost it more time than all the others together.
    "* * * * *",
    "*/7 * * * *",
}
OTHER_PAIRS = {
    # It runs a midnight that is skipped after the gap, though the hour field begins with *.
    ("Asia/Beirut", "0 */2 29,30,31 3,10,12 *"),
}
SHARED = [
    (zone, year, expression)
    for zone, year in ZONES
    for expression in EXPRESSIONS
    if zone not in OTHER_ZONES and expression not in OTHER_EXPRESSIONS and (zone, expression) not in OTHER_PAIRS
]


def cronsim(expression: str, zone: str, start: datetime, count: int) -> list[datetime]:
    # The last Sunday is written the other way round.
    theirs = CronSim(re.sub(r"L(\d)", r"\1L", expression), start.astimezone(ZoneInfo(zone)))
    return [next(theirs).astimezone(UTC) for _ in range(count)]


@pytest.mark.parametrize(("zone", "year", "expression"), SHARED)
def test_cronsim_names_the_same_instants(zone: str, year: int, expression: str) -> None:
    for line in lines(zone, year):
        start, end = line.around(expression)

        ours = forwards(expression, zone, start, end)

        assert cronsim(expression, zone, start, len(ours)) == ours
