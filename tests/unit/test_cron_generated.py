"""Random expressions of our dialect against the minute-by-minute walk of ``tests.cron_oracle``."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cron import CronError, parse_cron
from tests.cron_oracle import MONTHS, WEEKDAYS, ZONES, Line, changes, fields_of, line_around
from tests.cron_stepping import backwards, counted, forwards

DAY = timedelta(days=1)
# Every kind of year – leap or not, beginning on each of the weekdays – is among these, as no leap year is left out.
ALL_KINDS_OF_DAYS = [date(2000, 1, 1) + number * DAY for number in range(28 * 365 + 7)]

# Derandomised: what is found here is found by everybody, and the time it takes is known.
examined = settings(derandomize=True, database=None, max_examples=150)


@st.composite
def items(draw: st.DrawFn, low: int, high: int, names: tuple[str, ...] = (), cycle_end: int | None = None) -> str:
    """``*``, a value, a range, or one of these with a step that leads somewhere."""
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    kind = draw(st.sampled_from(["value", "range", "all", "from"]))
    spelled, end = {
        "value": (spell(draw, first, low, names), first),
        "range": (f"{spell(draw, first, low, names)}-{spell(draw, last, low, names)}", last),
        "all": ("*", high if cycle_end is None else cycle_end),
        "from": (spell(draw, first, low, names), high if cycle_end is None else cycle_end),
    }[kind]
    room = end - (low if kind == "all" else first)
    if kind == "value" or room < 1 or not draw(st.booleans()):
        return spelled
    return f"{spelled}/{draw(st.integers(1, room))}"


def spell(draw: st.DrawFn, value: int, low: int, names: tuple[str, ...]) -> str:
    return names[value - low] if value - low < len(names) and draw(st.booleans()) else str(value)


def listed(item: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(item, min_size=1, max_size=3).map(",".join)


minutes = listed(items(0, 59))
hours = st.one_of(st.just("*"), listed(items(0, 23)), st.integers(0, 3).map(str))
months = st.just("*") | listed(items(1, 12, MONTHS))
days = st.one_of(
    st.just("*"), listed(items(1, 31) | st.just("L")), st.integers(1, 31).map(lambda day: f"{day}W"), st.just("L")
)
nth_weekdays = st.tuples(st.integers(0, 7), st.integers(1, 5)).map(lambda pair: f"{pair[0]}#{pair[1]}")
last_weekdays = st.integers(0, 7).map(lambda weekday: f"L{weekday}")
weekdays = st.one_of(st.just("*"), listed(items(0, 7, WEEKDAYS, cycle_end=6)), listed(nth_weekdays | last_weekdays))
expressions = st.tuples(minutes, hours, days, months, weekdays).map(" ".join)
all_changes = st.sampled_from([(zone, change) for zone, year in ZONES for change in changes(zone, year)])


def is_accepted(expression: str) -> bool:
    """Whether it is; what is not has to be refused because it never fires."""
    try:
        parse_cron(expression)
    except CronError as refused:
        if not str(refused).endswith("never comes"):
            raise
        return False
    return True


@examined
@given(expressions, all_changes)
def test_any_expression_fires_around_a_clock_change_when_the_walk_says_so(
    expression: str, where: tuple[str, datetime]
) -> None:
    line: Line = line_around(*where)
    wanted, (start, end) = line.named_by(expression), line.around(expression)
    if not is_accepted(expression):
        assert wanted == []
        return

    assert forwards(expression, where[0], start, end) == wanted
    assert backwards(expression, where[0], start, end) == wanted[::-1]
    assert counted(expression, where[0], start, end) == len(wanted)


@examined
@given(days, months, weekdays, st.integers(0, len(ALL_KINDS_OF_DAYS) - 500))
def test_the_days_of_any_expression_are_those_of_the_day_rule(day: str, month: str, weekday: str, first: int) -> None:
    expression, span = f"0 0 {day} {month} {weekday}", ALL_KINDS_OF_DAYS[first : first + 500]
    fields = fields_of(expression)
    wanted = [midnight(each) for each in span if fields.on_day(each)]
    if not is_accepted(expression):
        assert wanted == []
        return

    found = forwards(expression, "UTC", midnight(span[0] - DAY), midnight(span[-1] + DAY))

    assert found == wanted


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@pytest.mark.parametrize("weekday", ["*", "*,1", "5#5", "L1", "0-6"])
@pytest.mark.parametrize("day", ["29", "30", "31", "30,31", "29-31", "30W", "31W", "L", "*"])
@pytest.mark.parametrize("month", ["2", "FEB,APR", "4", "APR,JUN,SEP,NOV", "1"])
def test_what_is_refused_as_never_firing_names_no_day_of_any_kind_of_year(month: str, day: str, weekday: str) -> None:
    expression = f"0 0 {day} {month} {weekday}"

    assert is_accepted(expression) == any(map(fields_of(expression).on_day, ALL_KINDS_OF_DAYS))
