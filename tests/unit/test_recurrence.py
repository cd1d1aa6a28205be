"""When a recurring job is due, and what becomes of the occurrences it missed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobs.cron import HORIZON
from jobs.recurrence import (
    AfterRun,
    Cron,
    Due,
    Every,
    MissedRuns,
    Overlap,
    Recurrence,
    decide_after_run,
    decide_due,
    first_run,
    latest_at_or_before,
    next_after,
    upcoming,
)

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTELY = Recurrence(Cron("* * * * *"))
HOURLY = Recurrence(Every(HOUR, NOON))


def due(recurrence: Recurrence, due_at: datetime, now: datetime, taken: int = 0, until: datetime | None = None) -> Due:
    return decide_due(recurrence, due_at=due_at, now=now, executions_taken=taken, catch_up_until=until)


def after_run(
    recurrence: Recurrence, scheduled_for: datetime, now: datetime, taken: int = 1, until: datetime | None = None
) -> AfterRun:
    behind = next_after(recurrence, scheduled_for)
    return decide_after_run(recurrence, candidate=behind, now=now, executions_taken=taken, catch_up_until=until)


class TestOccurrences:
    def test_a_grid_begins_at_its_anchor_and_does_not_drift(self) -> None:
        assert next_after(HOURLY, NOON - DAY) == NOON
        assert next_after(HOURLY, NOON) == NOON + HOUR
        assert next_after(HOURLY, NOON + 1_000 * HOUR + SECOND) == NOON + 1_001 * HOUR
        assert latest_at_or_before(HOURLY, NOON + 1_000 * HOUR - SECOND) == NOON + 999 * HOUR
        assert latest_at_or_before(HOURLY, NOON) == NOON
        assert latest_at_or_before(HOURLY, NOON - SECOND) is None

    def test_the_first_run_may_be_now(self) -> None:
        assert first_run(HOURLY, NOON) == NOON
        assert first_run(HOURLY, NOON + SECOND) == NOON + HOUR
        assert first_run(MINUTELY, NOON) == NOON
        assert first_run(MINUTELY, NOON + SECOND) == NOON + MINUTE

    @pytest.mark.parametrize("rule", [Cron("* * * * *"), Every(MINUTE, NOON - DAY)])
    def test_no_occurrence_is_before_the_start(self, rule: Cron | Every) -> None:
        recurrence = Recurrence(rule, start_at=NOON)

        assert first_run(recurrence, NOON - HOUR) == NOON
        assert next_after(recurrence, NOON - HOUR) == NOON
        assert next_after(recurrence, NOON) == NOON + MINUTE
        assert latest_at_or_before(recurrence, NOON + SECOND) == NOON
        assert latest_at_or_before(recurrence, NOON - SECOND) is None

    @pytest.mark.parametrize("rule", [Cron("* * * * *"), Every(MINUTE, NOON - DAY)])
    def test_no_occurrence_is_after_the_end_but_one_may_be_on_it(self, rule: Cron | Every) -> None:
        recurrence = Recurrence(rule, end_date=NOON)

        assert next_after(recurrence, NOON - SECOND) == NOON
        assert next_after(recurrence, NOON) is None
        assert latest_at_or_before(recurrence, NOON + DAY) == NOON
        assert latest_at_or_before(replace(recurrence, end_date=NOON - SECOND), NOON) == NOON - MINUTE

    def test_a_grid_ends_with_time(self) -> None:
        decades = Recurrence(Every(3_650 * DAY, NOON))
        last = latest_at_or_before(decades, datetime.max.replace(tzinfo=UTC))

        assert last is not None
        assert HORIZON - 3_650 * DAY < last <= HORIZON
        assert next_after(decades, last) is None
        assert next_after(decades, datetime.max.replace(tzinfo=UTC)) is None

    def test_upcoming_is_bounded_by_the_count_the_executions_left_and_the_end(self) -> None:
        limited = replace(HOURLY, max_executions=5, end_date=NOON + 10 * HOUR)

        assert upcoming(HOURLY, NOON, 3, 100) == [NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR]
        assert upcoming(limited, NOON, 10, 3) == [NOON + HOUR, NOON + 2 * HOUR]
        assert upcoming(limited, NOON + 9 * HOUR, 10, 0) == [NOON + 10 * HOUR]
        assert upcoming(limited, NOON, 10, 5) == []
        assert upcoming(limited, NOON, 10, 6) == []
        assert upcoming(HOURLY, NOON, 0, 0) == []


class TestDue:
    @pytest.mark.parametrize("missed", MissedRuns)
    @pytest.mark.parametrize("late", [timedelta(0), SECOND, 60 * SECOND])
    def test_a_little_late_is_not_missed(self, missed: MissedRuns, late: timedelta) -> None:
        recurrence = replace(HOURLY, missed=missed)

        assert due(recurrence, NOON, NOON + late) == Due(NOON, 0, NOON + HOUR, None)

    def test_the_next_occurrence_may_be_due_already(self) -> None:
        every_second = Recurrence(Every(SECOND, NOON))

        assert due(every_second, NOON, NOON + 30 * SECOND) == Due(NOON, 0, NOON + SECOND, None)

    def test_run_once_takes_the_latest_missed_one(self) -> None:
        recurrence = replace(HOURLY, missed=MissedRuns.RUN_ONCE)

        assert due(recurrence, NOON, NOON + 61 * SECOND) == Due(NOON, 0, NOON + HOUR, None)
        assert due(recurrence, NOON, NOON + 2 * HOUR) == Due(NOON + 2 * HOUR, 2, NOON + 3 * HOUR, None)
        assert due(recurrence, NOON, NOON + 150 * MINUTE) == Due(NOON + 2 * HOUR, 2, NOON + 3 * HOUR, None)

    def test_skip_takes_none(self) -> None:
        recurrence = replace(HOURLY, missed=MissedRuns.SKIP)

        assert due(recurrence, NOON, NOON + 61 * SECOND) == Due(None, 1, NOON + HOUR, None)
        assert due(recurrence, NOON, NOON + 150 * MINUTE) == Due(None, 3, NOON + 3 * HOUR, None)

    def test_run_all_takes_the_oldest_and_leaves_the_rest_as_backlog(self) -> None:
        recurrence, now = replace(HOURLY, missed=MissedRuns.RUN_ALL), NOON + 150 * MINUTE

        assert due(recurrence, NOON, now) == Due(NOON, 0, NOON + HOUR, now)
        assert due(recurrence, NOON + HOUR, now + HOUR, 1, now) == Due(NOON + HOUR, 0, NOON + 2 * HOUR, now)
        assert due(recurrence, NOON + 2 * HOUR, now + HOUR, 2, now) == Due(NOON + 2 * HOUR, 0, NOON + 3 * HOUR, None)

    def test_run_all_with_one_missed_leaves_no_backlog(self) -> None:
        recurrence = replace(HOURLY, missed=MissedRuns.RUN_ALL)

        assert due(recurrence, NOON, NOON + 2 * MINUTE) == Due(NOON, 0, NOON + HOUR, None)

    @pytest.mark.parametrize(("missed_count", "passed_over"), [(99, 0), (100, 0), (101, 1), (4_320, 4_220)])
    @pytest.mark.parametrize("rule", [Cron("* * * * *"), Every(MINUTE, NOON)])
    def test_run_all_takes_at_most_a_hundred(self, rule: Cron | Every, missed_count: int, passed_over: int) -> None:
        recurrence, now = Recurrence(rule, missed=MissedRuns.RUN_ALL), NOON + (missed_count - 1) * MINUTE
        oldest = NOON + passed_over * MINUTE

        assert due(recurrence, NOON, now) == Due(oldest, passed_over, oldest + MINUTE, now)

    @pytest.mark.parametrize("missed", MissedRuns)
    def test_ten_years_of_every_second_are_counted_to_the_cap(self, missed: MissedRuns) -> None:
        recurrence, now = Recurrence(Every(SECOND, NOON), missed=missed), NOON + 3_650 * DAY
        taken = {MissedRuns.SKIP: None, MissedRuns.RUN_ONCE: now, MissedRuns.RUN_ALL: now - 99 * SECOND}[missed]

        assert (due(recurrence, NOON, now).scheduled_for, due(recurrence, NOON, now).passed_over) == (taken, 10_000)

    @pytest.mark.parametrize("missed", MissedRuns)
    @pytest.mark.parametrize("late", [SECOND, DAY])
    def test_taking_the_last_execution_leaves_nothing(self, missed: MissedRuns, late: timedelta) -> None:
        recurrence = replace(HOURLY, missed=missed, max_executions=3)
        decided = due(recurrence, NOON, NOON + late, taken=2)

        if decided.scheduled_for is None:
            assert decided.next_run_at == NOON + 25 * HOUR
        else:
            assert (decided.next_run_at, decided.catch_up_until) == (None, None)

    @pytest.mark.parametrize("taken", [3, 4])
    def test_nothing_is_taken_beyond_the_limit(self, taken: int) -> None:
        assert due(replace(HOURLY, max_executions=3), NOON, NOON + DAY, taken) == Due(None, 0, None, None)

    def test_nothing_is_taken_beyond_the_end(self) -> None:
        assert due(replace(HOURLY, end_date=NOON - SECOND), NOON, NOON) == Due(None, 0, None, None)

    @pytest.mark.parametrize(
        ("missed", "wanted"),
        [
            (MissedRuns.SKIP, Due(None, 3, None, None)),
            (MissedRuns.RUN_ONCE, Due(NOON + 2 * HOUR, 2, None, None)),
            (MissedRuns.RUN_ALL, Due(NOON, 0, NOON + HOUR, NOON + DAY)),
        ],
    )
    def test_what_was_missed_before_the_end_is_decided_after_it(self, missed: MissedRuns, wanted: Due) -> None:
        recurrence = replace(HOURLY, missed=missed, end_date=NOON + 2 * HOUR)

        assert due(recurrence, NOON, NOON + DAY) == wanted

    @pytest.mark.parametrize(
        ("missed", "taken", "passed_over"),
        [
            (MissedRuns.RUN_ONCE, NOON + 2 * MINUTE, 0),
            (MissedRuns.SKIP, None, 1),
            (MissedRuns.RUN_ALL, NOON + 2 * MINUTE, 0),
        ],
    )
    def test_an_occurrence_off_the_grid_is_treated_like_any_other(
        self, missed: MissedRuns, taken: datetime | None, passed_over: int
    ) -> None:
        off_grid = NOON + 2 * MINUTE

        for recurrence in (HOURLY, replace(HOURLY, start_at=off_grid)):
            decided = due(replace(recurrence, missed=missed), off_grid, NOON + 5 * MINUTE)
            assert decided == Due(taken, passed_over, NOON + HOUR, None)


class TestAfterRun:
    @pytest.mark.parametrize("overlap", Overlap)
    def test_a_run_that_ends_in_time_is_followed_by_the_next(self, overlap: Overlap) -> None:
        recurrence = replace(HOURLY, overlap=overlap)

        assert after_run(recurrence, NOON, NOON + MINUTE) == AfterRun(NOON + HOUR, 0, None)

    def test_what_came_due_during_the_run_is_skipped(self) -> None:
        assert after_run(HOURLY, NOON, NOON + HOUR) == AfterRun(NOON + 2 * HOUR, 1, None)
        assert after_run(HOURLY, NOON, NOON + 150 * MINUTE) == AfterRun(NOON + 3 * HOUR, 2, None)

    def test_one_is_queued_right_after(self) -> None:
        recurrence = replace(HOURLY, overlap=Overlap.QUEUE_ONE)

        assert after_run(recurrence, NOON, NOON + HOUR) == AfterRun(NOON + HOUR, 0, NOON + HOUR)
        assert after_run(recurrence, NOON, NOON + 150 * MINUTE) == AfterRun(NOON + 2 * HOUR, 1, NOON + 2 * HOUR)

    @pytest.mark.parametrize("missed", MissedRuns)
    def test_the_queued_one_is_not_missed_however_late_it_is(self, missed: MissedRuns) -> None:
        recurrence, now = replace(HOURLY, overlap=Overlap.QUEUE_ONE, missed=missed), NOON + 150 * MINUTE
        decided = after_run(recurrence, NOON, now)
        assert decided.next_run_at is not None

        taken = due(recurrence, decided.next_run_at, now, 1, decided.catch_up_until)

        assert taken == Due(NOON + 2 * HOUR, 0, NOON + 3 * HOUR, None)

    @pytest.mark.parametrize("overlap", Overlap)
    def test_the_backlog_goes_on_and_is_no_overlap(self, overlap: Overlap) -> None:
        recurrence, until = replace(HOURLY, overlap=overlap), NOON + 90 * MINUTE

        assert after_run(recurrence, NOON, NOON + DAY, 1, until) == AfterRun(NOON + HOUR, 0, until)

    def test_behind_the_backlog_overlap_is_overlap_again(self) -> None:
        until = NOON + 30 * MINUTE

        assert after_run(HOURLY, NOON, NOON + 150 * MINUTE, 1, until) == AfterRun(NOON + 3 * HOUR, 2, None)
        assert after_run(HOURLY, NOON, NOON + MINUTE, 1, until) == AfterRun(NOON + HOUR, 0, None)

    @pytest.mark.parametrize("overlap", Overlap)
    def test_after_the_last_permitted_run_comes_nothing(self, overlap: Overlap) -> None:
        recurrence = replace(HOURLY, overlap=overlap, max_executions=2)

        assert after_run(recurrence, NOON, NOON + DAY, taken=2) == AfterRun(None, 0, None)
        assert after_run(recurrence, NOON, NOON + MINUTE, taken=1) == AfterRun(NOON + HOUR, 0, None)

    def test_the_end_is_respected(self) -> None:
        ending = replace(HOURLY, end_date=NOON + 2 * HOUR)
        queueing = replace(ending, overlap=Overlap.QUEUE_ONE)

        assert after_run(ending, NOON + 2 * HOUR, NOON + DAY) == AfterRun(None, 0, None)
        assert after_run(ending, NOON, NOON + DAY) == AfterRun(None, 2, None)
        assert after_run(queueing, NOON, NOON + DAY) == AfterRun(NOON + 2 * HOUR, 1, NOON + 2 * HOUR)

    def test_skipped_occurrences_are_counted_to_the_cap(self) -> None:
        every_second, now = Recurrence(Every(SECOND, NOON)), NOON + 3_650 * DAY

        assert after_run(every_second, NOON, now) == AfterRun(now + SECOND, 10_000, None)
        assert after_run(replace(every_second, overlap=Overlap.QUEUE_ONE), NOON, now) == AfterRun(now, 10_000, now)
        assert after_run(MINUTELY, NOON, NOON + 3 * DAY) == AfterRun(NOON + 3 * DAY + MINUTE, 4_320, None)
