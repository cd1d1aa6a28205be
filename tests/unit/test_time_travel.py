"""Jobs that live through years, downtime and clocks that are set back: the decisions, driven by a clock of the test."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.decisions import Failed, LeaseExpired, Outcome, Released, Succeeded
from jobs.job import JobError
from jobs.lifecycle import JobStatus
from jobs.recurrence import MissedRuns, Overlap
from jobs.schedule import ScheduleSpec
from tests.factories import make_job
from tests.life import Life

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 5, 1, 12, tzinfo=UTC)
DOWN = START + 5 * HOUR
BACK = DOWN + 3 * DAY + 30 * SECOND
"""Three days later: what came due by then is missed, but for the latest, which is merely late."""


def born(schedule: dict[str, Any], now: datetime = START - 30 * SECOND, **changes: Any) -> Life:
    return Life(make_job(now=now, schedule=ScheduleSpec(**schedule), **changes), now)


def grid(first: datetime, step: timedelta, count: int) -> list[datetime]:
    return [first + number * step for number in range(count)]


def test_a_year_of_half_past_one_in_new_york_is_one_run_a_day_at_the_first_half_past_one() -> None:
    zone = ZoneInfo("America/New_York")
    days = [date(2026, 1, 1) + number * DAY for number in range(365)]
    wanted = [datetime(day.year, day.month, day.day, 1, 30, tzinfo=zone).astimezone(UTC) for day in days]
    life = born({"cron": "30 1 * * *", "tz": "America/New_York"}, now=wanted[0] - HOUR)

    life.live_until(wanted[-1] + HOUR)

    assert life.taken == wanted
    assert life.passed_over == 0


RULES = [
    ({"cron": "* * * * *"}, MINUTE, 4_320),
    ({"cron": "0 * * * *"}, HOUR, 72),
    ({"every_ms": 600_000, "start_at": START}, 10 * MINUTE, 432),
]


def runs_in_the_end(missed: MissedRuns, count: int) -> int:
    return {MissedRuns.SKIP: 1, MissedRuns.RUN_ONCE: 1, MissedRuns.RUN_ALL: min(count, 100)}[missed]


@pytest.mark.parametrize("missed", MissedRuns)
@pytest.mark.parametrize(("rule", "step", "count"), RULES)
def test_after_three_days_down_the_latest_are_run_in_order_as_many_as_the_policy_says(
    rule: dict[str, Any], step: timedelta, count: int, missed: MissedRuns
) -> None:
    life = born({**rule, "missed": missed})
    life.live_until(DOWN)
    assert life.taken == grid(START, step, len(life.taken))
    assert life.taken[-1] == DOWN

    before, life.now = len(life.taken), BACK
    life.live_until(BACK + 2 * HOUR)

    runs = runs_in_the_end(missed, count)
    afterwards = 2 * HOUR // step
    assert life.taken[before:] == grid(DOWN + (count - runs + 1) * step, step, runs + afterwards)
    assert life.passed_over == count - runs
    assert life.accounted == grid(START, step, len(life.accounted))


@pytest.mark.parametrize("back", [SECOND, 40 * SECOND, 3 * HOUR, 2 * DAY])
@pytest.mark.parametrize("before", ["promote", "claim", "end"])
@pytest.mark.parametrize("overlap", Overlap)
@pytest.mark.parametrize("missed", MissedRuns)
def test_a_clock_that_is_set_back_between_two_steps_neither_doubles_nor_loses_an_occurrence(
    missed: MissedRuns, overlap: Overlap, before: str, back: timedelta
) -> None:
    life = born({"cron": "* * * * *", "missed": missed, "overlap": overlap})
    life.live_until(START + 2 * MINUTE)

    life.wait()
    for step in ("promote", "claim", "end"):
        life.now -= back if step == before else timedelta(0)
        getattr(life, step)()
    life.live_until(START + 9 * MINUTE)

    assert life.taken == grid(START, MINUTE, 10)
    assert life.passed_over == 0


outcomes = st.sampled_from(
    [Succeeded(None), Failed(JobError("OOPS", "it broke")), Released("worker shut down"), LeaseExpired()]
)
set_back = st.sampled_from([timedelta(0), SECOND, HOUR, 2 * DAY])


@given(st.lists(st.tuples(set_back, set_back, set_back, outcomes), min_size=1, max_size=30))
def test_a_clock_set_back_again_and_again_while_runs_fail_neither_doubles_nor_loses_an_occurrence(
    steps: list[tuple[timedelta, timedelta, timedelta, Outcome]],
) -> None:
    life = born({"every_ms": 60_000, "start_at": START}, retries=1)

    for before_promote, before_claim, before_end, outcome in steps:
        if life.goes_on:
            life.wait()
        life.now -= before_promote
        life.promote()
        life.now -= before_claim
        life.claim()
        life.now -= before_end
        life.end(outcome)

    assert life.taken == grid(START, MINUTE, len(life.taken))
    assert life.passed_over == 0


whiles = st.integers(0, 300).map(lambda minutes: minutes * MINUTE)


@given(
    st.sampled_from(MissedRuns),
    st.sampled_from(Overlap),
    st.lists(st.tuples(whiles, set_back, whiles, outcomes), min_size=1, max_size=30),
)
def test_every_occurrence_is_run_or_told_of_exactly_once(
    missed: MissedRuns, overlap: Overlap, steps: list[tuple[timedelta, timedelta, timedelta, Outcome]]
) -> None:
    """Whoever looks late or by a clock set back, and however long runs take and however they end."""
    life = born({"every_ms": 60_000, "start_at": START, "missed": missed, "overlap": overlap}, retries=1)

    for late, back, length, outcome in steps:
        if life.goes_on:
            life.wait()
        life.now += late - back
        life.promote()
        life.claim()
        life.now += length
        life.end(outcome)

    assert life.accounted == grid(START, MINUTE, len(life.accounted))
    if life.goes_on and life.job.run is None:
        assert life.job.next_run_at == START + len(life.accounted) * MINUTE


SLOW = 150 * MINUTE


@pytest.mark.parametrize("missed", MissedRuns)
@pytest.mark.parametrize(
    ("overlap", "bounds", "hours", "passed_over"),
    [
        (Overlap.SKIP, {"limit": 4}, [0, 3, 6, 9], 6),
        (Overlap.QUEUE_ONE, {"limit": 4}, [0, 2, 5, 7], 4),
        (Overlap.SKIP, {"end_date": START + 6 * HOUR}, [0, 3, 6], 4),
        (Overlap.QUEUE_ONE, {"end_date": START + 6 * HOUR}, [0, 2, 5, 6], 3),
        (Overlap.SKIP, {"end_date": START + 5 * HOUR, "limit": 9}, [0, 3], 4),
    ],
)
def test_slow_runs_overlap_as_the_policy_says_until_the_limit_or_the_end(
    overlap: Overlap, bounds: dict[str, Any], hours: list[int], passed_over: int, missed: MissedRuns
) -> None:
    life = born({"cron": "0 * * * *", "missed": missed, "overlap": overlap, **bounds})

    life.live_until(START + hours[-1] * HOUR, run_length=SLOW)

    assert life.taken == [START + hour * HOUR for hour in hours]
    assert life.passed_over == passed_over
    assert (life.status, life.job.next_run_at) == (JobStatus.COMPLETED, None)


@pytest.mark.parametrize("overlap", Overlap)
@pytest.mark.parametrize(
    ("missed", "bounds", "hours", "passed_over"),
    [
        (MissedRuns.SKIP, {"limit": 8}, [72, 73], 71),
        (MissedRuns.RUN_ONCE, {"limit": 8}, [72, 73], 71),
        (MissedRuns.RUN_ALL, {"limit": 8}, [1, 2], 0),
        (MissedRuns.SKIP, {"end_date": DOWN + DAY}, [], 24),
        (MissedRuns.RUN_ONCE, {"end_date": DOWN + DAY}, [24], 23),
        (MissedRuns.RUN_ALL, {"end_date": DOWN + DAY}, list(range(1, 25)), 0),
    ],
)
def test_after_three_days_down_a_job_still_keeps_to_its_limit_and_its_end(
    missed: MissedRuns, bounds: dict[str, Any], hours: list[int], passed_over: int, overlap: Overlap
) -> None:
    life = born({"cron": "0 * * * *", "missed": missed, "overlap": overlap, **bounds})
    life.live_until(DOWN)
    assert life.taken == grid(START, HOUR, 6)

    life.now = BACK
    life.live_until(BACK + DAY)

    assert life.taken[6:] == [DOWN + hour * HOUR for hour in hours]
    assert life.passed_over == passed_over
    assert (life.status, life.job.next_run_at) == (JobStatus.COMPLETED, None)
