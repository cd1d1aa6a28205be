"""The schedule a caller asks for: what is accepted, what it becomes, and every issue at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobs.errors import InvalidInput
from jobs.recurrence import Cron, Every, MissedRuns, Overlap, Recurrence
from jobs.schedule import MAX_EVERY_MS, Plan, ScheduleSpec, plan_schedule

NOW = datetime(2026, 5, 1, 12, 0, 30, 250_000, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOUR_MS = 3_600_000
TOO_LATE = "no run is due on or before endDate"
OUT_OF_YEARS = "the date must be in the years 1970 to 9998"


def plan(spec: ScheduleSpec, now: datetime = NOW) -> Plan:
    return plan_schedule(spec, now, ("input", "schedule"))


def issues(spec: ScheduleSpec) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as refused:
        plan(spec)
    assert all(issue.path[:-1] == ("input", "schedule") for issue in refused.value.issues)
    return [(issue.path[-1], issue.message) for issue in refused.value.issues]


@pytest.mark.parametrize(
    ("start_at", "first_run_at"),
    [
        (None, NOW),
        (NOW - DAY, NOW),
        (NOW, NOW),
        (NOW + HOUR, NOW + HOUR),
        (NOW + HOUR + timedelta(microseconds=999), NOW + HOUR),
        (datetime(2026, 5, 1, 23, tzinfo=timezone(HOUR)), datetime(2026, 5, 1, 22, tzinfo=UTC)),
        (datetime(2026, 5, 1, 23), datetime(2026, 5, 1, 23, tzinfo=UTC)),  # noqa: DTZ001 – it is about dates without an offset
    ],
)
def test_a_one_shot_runs_at_its_start_or_now(start_at: datetime | None, first_run_at: datetime) -> None:
    assert plan(ScheduleSpec(start_at=start_at)) == Plan(None, first_run_at)


def test_a_one_shot_that_is_due_now_is_due_exactly_now() -> None:
    now = NOW + timedelta(microseconds=7)

    assert plan(ScheduleSpec(), now).first_run_at == now


def test_a_cron_first_runs_at_its_first_match() -> None:
    first = datetime(2026, 5, 1, 13, tzinfo=UTC)

    assert plan(ScheduleSpec(cron="0 * * * *")) == Plan(Recurrence(Cron("0 * * * *", "UTC")), first)


def test_a_cron_does_not_run_before_its_start() -> None:
    spec = ScheduleSpec(cron="0 8 * * *", tz="Europe/Berlin", start_at=NOW + DAY)

    wanted = Recurrence(Cron("0 8 * * *", "Europe/Berlin"), start_at=NOW + DAY)
    assert plan(spec) == Plan(wanted, datetime(2026, 5, 3, 6, tzinfo=UTC))


def test_a_cron_with_a_past_start_first_runs_after_now() -> None:
    assert plan(ScheduleSpec(cron="0 * * * *", start_at=NOW - DAY)).first_run_at == datetime(2026, 5, 1, 13, tzinfo=UTC)


def test_an_interval_without_start_is_anchored_now_in_whole_milliseconds() -> None:
    planned = plan(ScheduleSpec(every_ms=1_500), NOW + timedelta(microseconds=999))

    assert planned == Plan(Recurrence(Every(timedelta(seconds=1.5), NOW)), NOW)


@pytest.mark.parametrize(
    ("start_at", "first_run_at"),
    [(NOW + HOUR, NOW + HOUR), (NOW - 3 * HOUR, NOW), (NOW - 150 * HOUR / 60, NOW + HOUR / 2)],
)
def test_an_interval_is_anchored_at_its_start(start_at: datetime, first_run_at: datetime) -> None:
    planned = plan(ScheduleSpec(every_ms=HOUR_MS, start_at=start_at))

    assert planned == Plan(Recurrence(Every(HOUR, start_at), start_at=start_at), first_run_at)


def test_bounds_and_policies_are_taken_over() -> None:
    spec = ScheduleSpec(
        every_ms=HOUR_MS, limit=4, end_date=NOW + DAY, missed=MissedRuns.RUN_ALL, overlap=Overlap.QUEUE_ONE
    )

    assert plan(spec).recurrence == Recurrence(
        Every(HOUR, NOW), None, 4, NOW + DAY, MissedRuns.RUN_ALL, Overlap.QUEUE_ONE
    )


@pytest.mark.parametrize("end_date", [NOW, NOW + DAY])
def test_the_first_run_may_be_on_the_end(end_date: datetime) -> None:
    assert plan(ScheduleSpec(every_ms=HOUR_MS, start_at=end_date, end_date=end_date)).first_run_at == end_date


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (
            ScheduleSpec(cron="* * * * *", every_ms=HOUR_MS),
            [("cron", "give cron or every, not both"), ("every", "give cron or every, not both")],
        ),
        (ScheduleSpec(tz="UTC"), [("tz", "tz needs cron")]),
        (ScheduleSpec(tz="UTC", every_ms=HOUR_MS), [("tz", "tz needs cron")]),
        (ScheduleSpec(limit=1), [("limit", "limit needs cron or every")]),
        (ScheduleSpec(end_date=NOW + DAY), [("endDate", "endDate needs cron or every")]),
        (ScheduleSpec(missed=MissedRuns.SKIP), [("missed", "missed needs cron or every")]),
        (ScheduleSpec(overlap=Overlap.SKIP), [("overlap", "overlap needs cron or every")]),
        (
            ScheduleSpec(cron="", tz=""),
            [("cron", "a cron has exactly five fields, this has none"), ("tz", "unknown time zone ''")],
        ),
        (ScheduleSpec(cron="0 0 30 2 *"), [("cron", "30 February never comes")]),
        (ScheduleSpec(cron="* * * * *", tz="Mars"), [("tz", "unknown time zone 'Mars'")]),
        (ScheduleSpec(every_ms=999), [("every", "every must be from 1000 ms to 315360000000 ms (10 years)")]),
        (ScheduleSpec(every_ms=0), [("every", "every must be from 1000 ms to 315360000000 ms (10 years)")]),
        (ScheduleSpec(every_ms=-(10**30)), [("every", "every must be from 1000 ms to 315360000000 ms (10 years)")]),
        (
            ScheduleSpec(every_ms=MAX_EVERY_MS + 1),
            [("every", "every must be from 1000 ms to 315360000000 ms (10 years)")],
        ),
        (ScheduleSpec(every_ms=HOUR_MS, limit=0), [("limit", "limit must be from 1 to 2147483647")]),
        (ScheduleSpec(every_ms=HOUR_MS, limit=2**31), [("limit", "limit must be from 1 to 2147483647")]),
        (ScheduleSpec(every_ms=HOUR_MS, end_date=NOW - HOUR), [("endDate", TOO_LATE)]),
        (ScheduleSpec(cron="0 0 * * *", end_date=NOW + HOUR), [("endDate", TOO_LATE)]),
        (ScheduleSpec(every_ms=HOUR_MS, start_at=NOW + DAY, end_date=NOW + HOUR), [("endDate", TOO_LATE)]),
        (ScheduleSpec(start_at=datetime(1969, 12, 31, tzinfo=UTC)), [("startAt", OUT_OF_YEARS)]),
        (ScheduleSpec(start_at=datetime.max.replace(tzinfo=timezone(-HOUR))), [("startAt", OUT_OF_YEARS)]),
        (ScheduleSpec(start_at=datetime.min.replace(tzinfo=timezone(HOUR))), [("startAt", OUT_OF_YEARS)]),
        (ScheduleSpec(every_ms=HOUR_MS, end_date=datetime(9999, 1, 1, tzinfo=UTC)), [("endDate", OUT_OF_YEARS)]),
        (
            ScheduleSpec(cron="0 0 1 1 *", start_at=datetime(9998, 6, 1, tzinfo=UTC)),
            [("cron", "no run is due on or after startAt up to the year 9998")],
        ),
    ],
)
def test_a_refusal_is_at_the_field_it_is_about(spec: ScheduleSpec, wanted: list[tuple[str, str]]) -> None:
    assert issues(spec) == wanted


def test_all_issues_are_told_at_once() -> None:
    spec = ScheduleSpec(
        start_at=datetime(1900, 1, 1, tzinfo=UTC),
        cron="60 * * * *",
        tz="Mars",
        every_ms=5,
        limit=0,
        end_date=datetime(9999, 1, 1, tzinfo=UTC),
    )

    assert [name for name, _ in issues(spec)] == ["startAt", "endDate", "cron", "every", "cron", "tz", "every", "limit"]


@pytest.mark.parametrize("every_ms", [1_000, MAX_EVERY_MS])
def test_the_shortest_and_the_longest_interval_are_accepted(every_ms: int) -> None:
    assert plan(ScheduleSpec(every_ms=every_ms)).first_run_at == NOW
