"""When cron schedules fire: at clock changes, on special days, at the ends of time (``mission/semantics.md`` §3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobs.cron import HORIZON, CronSchedule, cron_schedule
from jobs.times import EPOCH

# zone, expression, a first instant and what follows it: the changes by hand.
CLOCK_CHANGES = [
    # A gap from 02:00 to 03:00, at 07:00 UTC.
    ("America/New_York", "0 2 * * *", "2026-03-07T12:00", "2026-03-08T07:00 2026-03-09T06:00"),
    ("America/New_York", "30 2 * * *", "2026-03-07T12:00", "2026-03-08T07:00 2026-03-09T06:30"),
    ("America/New_York", "15,45 2 * * *", "2026-03-07T12:00", "2026-03-08T07:00 2026-03-09T06:15"),
    ("America/New_York", "* 2 * * *", "2026-03-07T12:00", "2026-03-08T07:00 2026-03-09T06:00 2026-03-09T06:01"),
    ("America/New_York", "0 2,3 * * *", "2026-03-07T12:00", "2026-03-08T07:00 2026-03-09T06:00 2026-03-09T07:00"),
    ("America/New_York", "0 2 8 3 *", "2026-03-07T12:00", "2026-03-08T07:00 2027-03-08T07:00"),
    ("America/New_York", "0 * * * *", "2026-03-08T05:30", "2026-03-08T06:00 2026-03-08T07:00 2026-03-08T08:00"),
    ("America/New_York", "0 */2 * * *", "2026-03-08T04:30", "2026-03-08T05:00 2026-03-08T08:00 2026-03-08T10:00"),
    # 01:00 to 02:00 comes twice, at 05:00 and at 06:00 UTC.
    ("America/New_York", "30 1 * * *", "2026-10-31T12:00", "2026-11-01T05:30 2026-11-02T06:30"),
    ("America/New_York", "*/30 1 * * *", "2026-10-31T12:00", "2026-11-01T05:00 2026-11-01T05:30 2026-11-02T06:00"),
    ("America/New_York", "0 2 * * *", "2026-10-31T12:00", "2026-11-01T07:00 2026-11-02T07:00"),
    ("America/New_York", "0 * * * *", "2026-11-01T04:30", "2026-11-01T05:00 2026-11-01T06:00 2026-11-01T07:00"),
    ("America/New_York", "30 */1 1 11 *", "2026-11-01T05:00", "2026-11-01T05:30 2026-11-01T06:30 2026-11-01T07:30"),
    # Lord Howe goes from 02:00 back to 01:30, at 15:00 UTC.
    ("Australia/Lord_Howe", "*/15 * * * *", "2026-04-04T14:35", "2026-04-04T14:45 2026-04-04T15:00 2026-04-04T15:15"),
    ("Australia/Lord_Howe", "45 1 * * *", "2026-04-03T20:00", "2026-04-04T14:45 2026-04-05T15:15"),
    # Chatham skips from 02:45 to 03:45, at 14:00 UTC.
    ("Pacific/Chatham", "0 3 * * *", "2026-09-26T00:00", "2026-09-26T14:00 2026-09-27T13:15"),
    # Cairo, Beirut and Santiago skip midnight.
    ("Africa/Cairo", "0 0 * * *", "2026-04-23T00:00", "2026-04-23T22:00 2026-04-24T21:00"),
    ("Africa/Cairo", "30 0 * * *", "2026-04-23T00:00", "2026-04-23T22:00 2026-04-24T21:30"),
    ("Asia/Beirut", "0 0 * * *", "2026-03-28T00:00", "2026-03-28T22:00 2026-03-29T21:00"),
    ("America/Santiago", "0 0 * * *", "2026-09-05T12:00", "2026-09-06T04:00 2026-09-07T03:00"),
    # Sao Paulo repeated the hour before midnight.
    ("America/Sao_Paulo", "30 23 * * *", "2018-02-17T12:00", "2018-02-18T01:30 2018-02-19T02:30"),
    ("America/Sao_Paulo", "30 * * * *", "2018-02-18T01:00", "2018-02-18T01:30 2018-02-18T02:30 2018-02-18T03:30"),
    # Apia had no 30 December 2011, Kwajalein no 21 August 1993.
    ("Pacific/Apia", "0 8 * * *", "2011-12-29T12:00", "2011-12-29T18:00 2011-12-30T10:00 2011-12-30T18:00"),
    ("Pacific/Apia", "0 * 30 12 *", "2011-12-29T12:00", "2012-12-29T10:00"),
    ("Pacific/Kwajalein", "0 8 21 8 *", "1993-08-01T00:00", "1993-08-21T12:00 1994-08-20T20:00"),
]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(schedule: CronSchedule, instant: datetime, count: int) -> list[datetime]:
    found = []
    for _ in range(count):
        following = schedule.next_after(instant)
        assert following is not None
        found.append(following)
        instant = following
    return found


@pytest.mark.parametrize(("zone", "expression", "after", "wanted"), CLOCK_CHANGES)
def test_a_clock_change_moves_fixed_hours_and_leaves_wildcard_hours_to_the_wall_clock(
    zone: str, expression: str, after: str, wanted: str
) -> None:
    instants = [at(text) for text in wanted.split()]
    schedule = cron_schedule(expression, zone)

    assert following(schedule, at(after), len(instants)) == instants
    assert [schedule.latest_at_or_before(instant) for instant in instants] == instants


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("0 0 29 2 *", "2096-02-29 2104-02-29"),
        ("0 0 31 * *", "2096-01-31 2096-03-31 2096-05-31"),
        ("0 0 13 * 5", "2096-01-06 2096-01-13 2096-01-20"),
        ("0 0 */2 2 1", "2096-02-01 2096-02-03 2096-02-05 2096-02-06 2096-02-07"),
        ("0 0 15,L 2 *", "2096-02-15 2096-02-29 2097-02-15 2097-02-28"),
        ("0 0 L * 0", "2096-01-01 2096-01-08 2096-01-15 2096-01-22 2096-01-29 2096-01-31"),
        (
            "0 0 1W * *",
            "2096-01-02 2096-02-01 2096-03-01 2096-04-02 2096-05-01 2096-06-01 2096-07-02 2096-08-01 2096-09-03",
        ),
        ("0 0 31W * *", "2096-01-31 2096-02-29 2096-03-30 2096-04-30"),
        ("0 0 1w 1 0", "2096-01-01 2096-01-02 2096-01-08"),
        ("0 0 * * L5", "2096-01-27 2096-02-24 2096-03-30"),
        ("0 0 * * 1#5", "2096-01-30 2096-04-30"),
        ("0 0 * * 1#1,L7", "2096-01-02 2096-01-29 2096-02-06 2096-02-26"),
        ("0 0 3 * mon#1", "2096-01-02 2096-01-03 2096-02-03 2096-02-06"),
    ],
)
def test_days_fire_in_order(expression: str, wanted: str) -> None:
    instants = [at(text) for text in wanted.split()]

    assert following(cron_schedule(expression, "UTC"), at("2095-12-31"), len(instants)) == instants


def test_an_occurrence_is_strictly_after_the_instant_and_the_latest_may_be_on_it() -> None:
    schedule, noon = cron_schedule("0 12 * * *", "UTC"), at("2026-05-01T12:00")

    assert schedule.next_after(noon - timedelta(microseconds=1)) == noon
    assert schedule.next_after(noon) == noon + timedelta(days=1)
    assert schedule.latest_at_or_before(noon) == noon
    assert schedule.latest_at_or_before(noon - timedelta(microseconds=1)) == noon - timedelta(days=1)


def test_instants_of_other_offsets_are_answered_in_utc() -> None:
    schedule = cron_schedule("0 12 * * *", "UTC")
    instant = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=9)))

    assert str(schedule.next_after(instant)) == "2026-05-01 12:00:00+00:00"
    assert str(schedule.latest_at_or_before(instant)) == "2026-04-30 12:00:00+00:00"
    assert schedule.count(instant, instant + timedelta(days=2), 10) == 2


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/New_York"])
@pytest.mark.parametrize("expression", ["* * * * *", "0 0 * * *", "0 0 29 2 *", "0 */2 29 2 *"])
def test_beyond_the_ends_of_time_there_is_none(zone: str, expression: str) -> None:
    schedule = cron_schedule(expression, zone)
    last, first = schedule.latest_at_or_before(HORIZON), schedule.next_after(datetime.min.replace(tzinfo=UTC))

    assert last is not None
    assert first is not None
    assert last <= HORIZON
    assert first >= EPOCH
    assert schedule.next_after(last) is None
    assert schedule.next_after(HORIZON) is None
    assert schedule.next_after(datetime.max.replace(tzinfo=UTC)) is None
    assert schedule.latest_at_or_before(datetime.max.replace(tzinfo=UTC)) == last
    assert schedule.latest_at_or_before(first - timedelta(seconds=1)) is None
    assert schedule.latest_at_or_before(EPOCH - timedelta(days=900)) is None
    assert schedule.count(last, datetime.max.replace(tzinfo=UTC), 10) == 0


@pytest.mark.parametrize(
    ("expression", "zone", "after", "until", "cap", "wanted"),
    [
        ("* * * * *", "UTC", "2026-03-07T00:00", "2026-03-10T00:00", 10_000, 4_320),
        ("* * * * *", "America/New_York", "2026-03-07T00:00", "2026-03-10T00:00", 10_000, 4_320),
        ("* * * * *", "UTC", "2016-03-07T00:00", "2026-03-10T00:00", 10_000, 10_000),
        ("0 2 * * *", "America/New_York", "2026-01-01T00:00", "2027-01-01T00:00", 10_000, 365),
        ("* 1 * * *", "America/New_York", "2026-10-31T00:00", "2026-11-03T00:00", 10_000, 180),
        ("0 0 1 * *", "UTC", "2026-01-01T00:00", "2027-01-01T00:00", 10_000, 12),
        ("0 0 1 * *", "UTC", "2026-01-01T00:00", "2027-01-01T00:00", 5, 5),
        ("0 0 1 * *", "UTC", "2026-01-01T00:00", "2026-01-01T00:00", 5, 0),
        ("0 0 1 * *", "UTC", "2027-01-01T00:00", "2026-01-01T00:00", 5, 0),
    ],
)
def test_occurrences_are_counted_up_to_a_cap(
    expression: str, zone: str, after: str, until: str, cap: int, wanted: int
) -> None:
    assert cron_schedule(expression, zone).count(at(after), at(until), cap) == wanted
