"""Which cron expressions and time zones are accepted, and what is said about the others."""

from __future__ import annotations

from contextlib import suppress
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.cron import CronError, cron_schedule, parse_cron, time_zone

ALL_MONTHS = frozenset(range(1, 13))
ALL_DAYS = frozenset(range(1, 32))
ALL_WEEKDAYS = frozenset(range(7))

REFUSED = [
    ("", "a cron has exactly five fields, this has none"),
    ("* * * *", "a cron has exactly five fields, this has four"),
    ("* * * * * *", "a cron has exactly five fields, this has six"),
    ("* * * * * * *", "a cron has exactly five fields, this has seven"),
    ("* * * * * * * *", "a cron has exactly five fields, this has 8"),
    ("@daily", "aliases such as @daily are not accepted: write five fields, such as 0 0 * * *"),
    ("@every 5m", "aliases such as @every are not accepted: write five fields, such as 0 0 * * *"),
    ("* " * 65, "a cron has at most 128 characters, this has 130"),
    ("é * * * *", "a cron has only letters, digits, spaces and the signs * , - / # of ASCII"),
    ("٣ * * * *", "a cron has only letters, digits, spaces and the signs * , - / # of ASCII"),
    ("*\t* * * *", "a cron has only letters, digits, spaces and the signs * , - / # of ASCII"),
    ("0 0 * * *\n", "a cron has only letters, digits, spaces and the signs * , - / # of ASCII"),
    ("0\x00 0 * * *", "a cron has only letters, digits, spaces and the signs * , - / # of ASCII"),
    ("H * * * *", "H (hashed) is not accepted in the minute field: give the value itself"),
    ("0 h(0-5) * * *", "H (hashed) is not accepted in the hour field: give the value itself"),
    ("R * * * *", "R (random) is not accepted in the minute field: give the value itself"),
    ("0 0 R(1-5) * *", "R (random) is not accepted in the day of month field: give the value itself"),
    ("0 0 ? * *", "? is not accepted in the day of month field: give the value itself"),
    ("0 0 * * ?", "? is not accepted in the day of week field: give the value itself"),
    ("1,,2 * * * *", "the minute field has an empty entry"),
    ("1, * * * *", "the minute field has an empty entry"),
    ("60 * * * *", "minute 60 is out of range 0–59"),
    ("0 24 * * *", "hour 24 is out of range 0–23"),
    ("0 0 0 * *", "day of month 0 is out of range 1–31"),
    ("0 0 32 * *", "day of month 32 is out of range 1–31"),
    ("0 0 * 13 *", "month 13 is out of range 1–12"),
    ("0 0 * * 8", "day of week 8 is out of range 0–7"),
    ("0 0-24 * * *", "hour 24 is out of range 0–23"),
    ("9" * 100 + " * * * *", f"minute {'9' * 100} is out of range 0–59"),
    ("mon * * * *", "'mon' is not a minute"),
    ("0 0 * mon *", "'mon' is not a month"),
    ("0 0 * * jan", "'jan' is not a day of week"),
    ("1_0 * * * *", "'1_0' is not a minute"),
    ("-1 * * * *", "'-1' is not understood in the minute field"),
    ("1.5 * * * *", "'1.5' is not understood in the minute field"),
    ("1-2-3 * * * *", "'1-2-3' is not understood in the minute field"),
    ("*-5 * * * *", "'*-5' is not understood in the minute field"),
    ("*5 * * * *", "'*5' is not understood in the minute field"),
    ("/5 * * * *", "'/5' is not understood in the minute field"),
    ("*/5/5 * * * *", "'*/5/5' is not understood in the minute field"),
    ("*/0 * * * *", "the minute step must be at least 1"),
    ("*/x * * * *", "the minute step 'x' is not a number"),
    ("*/60 * * * *", "the minute step 60 leads out of its range 0–59"),
    ("*/90 * * * *", "the minute step 90 leads out of its range 0–59"),
    ("0 */24 * * *", "the hour step 24 leads out of its range 0–23"),
    ("0 */25 * * *", "the hour step 25 leads out of its range 0–23"),
    ("0 0 */31 * *", "the day of month step 31 leads out of its range 1–31"),
    ("0 0 * */12 *", "the month step 12 leads out of its range 1–12"),
    ("0 0 * * */7", "the day of week step 7 leads out of its range 0–6"),
    ("50/15 * * * *", "the minute step 15 leads out of its range 50–59"),
    ("10-20/11 * * * *", "the minute step 11 leads out of its range 10–20"),
    ("5-5/1 * * * *", "the minute step 1 leads out of its range 5–5"),
    ("5-1 * * * *", "the minute range 5-1 runs backwards: ranges do not wrap around"),
    ("0 22-2 * * *", "the hour range 22-2 runs backwards: ranges do not wrap around"),
    ("0 0 * dec-jan *", "the month range dec-jan runs backwards: ranges do not wrap around"),
    ("0 0 * * SAT-MON", "the day of week range sat-mon runs backwards: ranges do not wrap around"),
    (
        "0 0 * * fri-sun",
        "the day of week range fri-sun runs backwards: ranges do not wrap around, and Sunday at the end of a range is 7",
    ),
    ("L * * * *", "'l' is not a minute"),
    ("0 0 L-3 * *", "'l' is not a day of month"),
    ("0 0 1-L * *", "'l' is not a day of month"),
    ("0 0 LW * *", "'LW' is not understood: the weekday nearest to the 15th is written 15W"),
    ("0 0 W15 * *", "'w15' is not a day of month"),
    ("0 0 0W * *", "day of month 0 is out of range 1–31"),
    ("0 0 15W,3 * *", "15W must stand alone in the day of month field"),
    ("0 0 * * L", "'L' is not understood in the day of week field: the last Friday is written L5"),
    ("0 0 * * 5L", "'5L' is not understood in the day of week field: the last Friday is written L5"),
    ("0 0 * * Lfri", "'LFRI' is not understood in the day of week field: the last Friday is written L5"),
    ("0 0 * * L8", "day of week 8 is out of range 0–7"),
    ("0 0 * * L1-5", "'1-5' is not a day of week"),
    ("0 0 * * 1#0", "'1#0' is not understood: the second Monday is written 1#2, up to 1#5"),
    ("0 0 * * 1#6", "'1#6' is not understood: the second Monday is written 1#2, up to 1#5"),
    ("0 0 * * 8#1", "day of week 8 is out of range 0–7"),
    ("0 0 * * 1-3#2", "'1-3' is not a day of week"),
    ("0 0 * * *#2", "'*' is not a day of week"),
    ("1#2 * * * *", "'1#2' is not understood in the minute field"),
    ("0 0 * * mon,L5", "the day of week field cannot mix plain days with 1#2 or L5"),
    ("0 0 * * *,1#2", "the day of week field cannot mix plain days with 1#2 or L5"),
    ("0 0 30 2 *", "30 February never comes"),
    ("0 0 30-31 2 *", "30 or 31 February never comes"),
    ("0 0 31 2,4,6 *", "31 February, April or June never comes"),
]


@pytest.mark.parametrize(("expression", "message"), REFUSED)
def test_a_refusal_says_what_is_wrong(expression: str, message: str) -> None:
    with pytest.raises(CronError) as refused:
        parse_cron(expression)

    assert str(refused.value) == message


@pytest.mark.parametrize("given", [None, 5, b"* * * * *", ["*"] * 5])
def test_what_is_no_text_is_no_cron(given: object) -> None:
    with pytest.raises(CronError, match="a cron is a text of five fields"):
        parse_cron(given)


@pytest.mark.parametrize(
    ("expression", "minutes", "hours"),
    [
        ("5 3 * * *", {5}, {3}),
        ("05 03 * * *", {5}, {3}),
        ("  5   3 * * * ", {5}, {3}),
        ("5-5 3 * * *", {5}, {3}),
        ("5,5,5-6 3 * * *", {5, 6}, {3}),
        ("*/20 */12 * * *", {0, 20, 40}, {0, 12}),
        ("*/59 */23 * * *", {0, 59}, {0, 23}),
        ("10/20 9-17/4 * * *", {10, 30, 50}, {9, 13, 17}),
        ("1,10-12,50/5 0 * * *", {1, 10, 11, 12, 50, 55}, {0}),
        ("*,5 0 * * *", set(range(60)), {0}),
    ],
)
def test_minutes_and_hours_are_expanded(expression: str, minutes: set[int], hours: set[int]) -> None:
    times = sorted(60 * hour + minute for hour in hours for minute in minutes)

    assert list(parse_cron(expression).minutes_of_day) == times


@pytest.mark.parametrize(
    ("text", "months", "weekdays"),
    [
        ("* *", ALL_MONTHS, ALL_WEEKDAYS),
        ("jan-mar MON-fri", {1, 2, 3}, {1, 2, 3, 4, 5}),
        ("*/5 7", {1, 6, 11}, {0}),
        ("JAN/3 5-7", {1, 4, 7, 10}, {0, 5, 6}),
        ("Dec sun,3", {12}, {0, 3}),
        ("1-12 0-7", ALL_MONTHS, ALL_WEEKDAYS),
        ("12-12 7-7", {12}, {0}),
        ("1 mon-fri/2", {1}, {1, 3, 5}),
        ("1 fri/1", {1}, {5, 6}),
    ],
)
def test_months_and_weekdays_are_expanded(text: str, months: frozenset[int], weekdays: frozenset[int]) -> None:
    days = parse_cron(f"0 0 * {text}").days

    assert days.months == months
    assert days.weekdays == weekdays
    assert days.days == ALL_DAYS


@pytest.mark.parametrize(("low", "high"), [(low, high) for low, high in product(range(8), range(8)) if low < high])
def test_every_range_of_weekdays_with_every_step_is_what_it_says(low: int, high: int) -> None:
    """croniter turns 7 into 0 before it expands a range, which is then one that wraps around."""
    for step in range(1, high - low + 1):
        wanted = {day % 7 for day in range(low, high + 1, step)}

        assert parse_cron(f"0 0 * * {low}-{high}/{step}").days.weekdays == wanted


@pytest.mark.parametrize(
    ("days", "either"),
    [("* *", False), ("1 *", False), ("* 1", False), ("*,1 1", False), ("1 1", True), ("*/2 1", True), ("L 1#2", True)],
)
def test_either_day_field_will_do_when_both_are_restricted(days: str, *, either: bool) -> None:
    date, weekday = days.split()

    assert parse_cron(f"0 0 {date} * {weekday}").days.either is either


@pytest.mark.parametrize(
    ("hour", "follows"), [("*", True), ("*/2", True), ("*,5", True), ("0", False), ("0-23", False), ("5,*", False)]
)
def test_an_hour_field_that_begins_with_a_star_follows_the_wall_clock(hour: str, *, follows: bool) -> None:
    assert parse_cron(f"0 {hour} * * *").follows_wall_clock is follows


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "../etc",
            "../../etc/passwd",
            "/etc/localtime",
            "America",
            "EST5EDT ",
            " UTC",
            "utc",
            "UTC\x00",
            "Ünicode",
        ),
        *("localtime", "posixrules", "Factory", "posix/UTC", "right/UTC", "Mars/Olympus_Mons", None, 5, b"UTC", []),
    ],
)
def test_an_unknown_zone_is_named(name: object) -> None:
    with pytest.raises(CronError) as refused:
        time_zone(name)

    assert str(refused.value) == f"unknown time zone {name!r}"


def test_a_very_long_zone_is_not_repeated_in_full() -> None:
    with pytest.raises(CronError) as refused:
        time_zone("x" * 10_000)

    assert str(refused.value) == f"unknown time zone '{'x' * 64}…'"


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "US/Eastern"])
def test_iana_zones_and_their_aliases_are_known(name: str) -> None:
    assert time_zone(name).key == name


def test_a_parsed_schedule_is_kept() -> None:
    assert cron_schedule("1 2 3 4 *", "Asia/Tokyo") is cron_schedule("1 2 3 4 *", "Asia/Tokyo")


@given(st.text(max_size=140) | st.text(alphabet="0123456789*/,-#LWHR?@ adeijmnorstu", max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(CronError):
        assert parse_cron(text).minutes_of_day


@given(st.lists(st.text(alphabet="0123456789*/,-#LW", min_size=1, max_size=6), min_size=5, max_size=5))
def test_any_five_fields_are_parsed_or_refused(texts: list[str]) -> None:
    with suppress(CronError):
        assert parse_cron(" ".join(texts)).minutes_of_day


@given(st.text())
def test_any_zone_is_known_or_refused(name: str) -> None:
    with suppress(CronError):
        assert time_zone(name).key == name
