"""What becomes of the occurrences of a recurring job: they are run, or passed over for a cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobs.occurrences import AfterRun, Cause, Due, PassedOver, decide_after_run, decide_due, passed_over
from jobs.recurrence import Cron, Every, MissedRuns, Overlap, Recurrence, next_after

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTELY = Recurrence(Cron("* * * * *"))
HOURLY = Recurrence(Every(HOUR, NOON))


def due(recurrence: Recurrence, due_at: datetime, now: datetime, taken: int = 0, until: datetime | None = None) -> Due:
    return decide_due(recurrence, due_at=due_at, now=now, executions_taken=taken, catch_up_until=until)


def after_run(
    recurrence: Recurrence,
    scheduled_for: datetime,
    now: datetime,
    taken: int = 1,
    until: datetime | None = None,
    started_at: datetime | None = None,
) -> AfterRun:
    return decide_after_run(
        recurrence,
        candidate=next_after(recurrence, scheduled_for),
        started_at=started_at or scheduled_for,
        now=now,
        executions_taken=taken,
        catch_up_until=until,
    )


def missed(count: int, first: datetime, last: datetime) -> PassedOver:
    return PassedOver(Cause.MISSED, count, first, last)


def overlapped(count: int, first: datetime, last: datetime) -> PassedOver:
    return PassedOver(Cause.OVERLAP, count, first, last)


def hours(count: int) -> datetime:
    """So many hours past noon."""
    return NOON + count * HOUR


class TestDue:
    @pytest.mark.parametrize("policy", MissedRuns)
    @pytest.mark.parametrize("late", [timedelta(0), SECOND, 60 * SECOND])
    def test_a_little_late_is_not_missed(self, policy: MissedRuns, late: timedelta) -> None:
        recurrence = replace(HOURLY, missed=policy)

        assert due(recurrence, NOON, NOON + late) == Due(NOON, None, hours(1), None)

    def test_the_next_occurrence_may_be_due_already(self) -> None:
        every_second = Recurrence(Every(SECOND, NOON))

        assert due(every_second, NOON, NOON + 30 * SECOND) == Due(NOON, None, NOON + SECOND, None)

    def test_run_once_takes_the_latest_missed_one(self) -> None:
        recurrence = replace(HOURLY, missed=MissedRuns.RUN_ONCE)

        assert due(recurrence, NOON, NOON + 61 * SECOND) == Due(NOON, None, hours(1), None)
        assert due(recurrence, NOON, NOON + 2 * HOUR) == Due(hours(2), missed(2, NOON, hours(1)), hours(3), None)
        assert due(recurrence, NOON, NOON + 150 * MINUTE) == Due(hours(2), missed(2, NOON, hours(1)), hours(3), None)

    def test_skip_takes_none(self) -> None:
        recurrence = replace(HOURLY, missed=MissedRuns.SKIP)

        assert due(recurrence, NOON, NOON + 61 * SECOND) == Due(None, missed(1, NOON, NOON), hours(1), None)
        assert due(recurrence, NOON, NOON + 150 * MINUTE) == Due(None, missed(3, NOON, hours(2)), hours(3), None)

    def test_skip_takes_what_is_merely_late_behind_what_was_missed(self) -> None:
        recurrence = replace(HOURLY, missed=MissedRuns.SKIP)
        passed = missed(2, NOON, hours(1))

        for late in (timedelta(0), SECOND, 60 * SECOND):
            assert due(recurrence, NOON, hours(2) + late) == Due(hours(2), passed, hours(3), None)
        assert due(recurrence, NOON, hours(2) + 61 * SECOND) == Due(None, missed(3, NOON, hours(2)), hours(3), None)
        last = replace(recurrence, max_executions=1)
        assert due(last, NOON, hours(2)) == Due(hours(2), passed, None, None)

    def test_skip_takes_all_that_is_merely_late_one_by_one(self) -> None:
        every_second = Recurrence(Every(SECOND, NOON), missed=MissedRuns.SKIP)

        passed = missed(3_540, NOON, NOON + 3_539 * SECOND)
        assert due(every_second, NOON, hours(1)) == Due(NOON + 3_540 * SECOND, passed, NOON + 3_541 * SECOND, None)

    def test_run_all_goes_back_to_the_oldest_which_its_product_takes_up_at_its_pace(self) -> None:
        recurrence, now = replace(HOURLY, missed=MissedRuns.RUN_ALL), NOON + 150 * MINUTE

        assert due(recurrence, NOON, now) == Due(None, None, NOON, now, paced=True)
        assert due(recurrence, NOON, now, 0, now) == Due(NOON, None, hours(1), now)
        assert due(recurrence, hours(1), now + HOUR, 1, now) == Due(hours(1), None, hours(2), now)
        assert due(recurrence, hours(2), now + HOUR, 2, now) == Due(hours(2), None, hours(3), None)

    def test_run_all_with_one_missed_leaves_no_backlog_behind_it(self) -> None:
        recurrence, now = replace(HOURLY, missed=MissedRuns.RUN_ALL), NOON + 2 * MINUTE

        assert due(recurrence, NOON, now) == Due(None, None, NOON, now, paced=True)
        assert due(recurrence, NOON, now, 0, now) == Due(NOON, None, hours(1), None)

    @pytest.mark.parametrize(("missed_count", "beyond"), [(99, 0), (100, 0), (101, 1), (4_320, 4_220)])
    @pytest.mark.parametrize("rule", [Cron("* * * * *"), Every(MINUTE, NOON)])
    def test_run_all_takes_at_most_a_hundred(self, rule: Cron | Every, missed_count: int, beyond: int) -> None:
        recurrence, now = Recurrence(rule, missed=MissedRuns.RUN_ALL), NOON + (missed_count - 1) * MINUTE
        oldest = NOON + beyond * MINUTE
        dropped = missed(beyond, NOON, oldest - MINUTE) if beyond else None

        assert due(recurrence, NOON, now) == Due(None, dropped, oldest, now, paced=True)

    @pytest.mark.parametrize(
        ("policy", "taken", "last"),
        [
            (MissedRuns.SKIP, 60 * SECOND, 61 * SECOND),
            (MissedRuns.RUN_ONCE, timedelta(0), SECOND),
            (MissedRuns.RUN_ALL, None, 100 * SECOND),
        ],
    )
    def test_ten_years_of_every_second_are_counted_to_the_cap(
        self, policy: MissedRuns, taken: timedelta | None, last: timedelta
    ) -> None:
        recurrence, now = Recurrence(Every(SECOND, NOON), missed=policy), NOON + 3_650 * DAY

        decided = due(recurrence, NOON, now)

        assert decided.scheduled_for == (None if taken is None else now - taken)
        assert decided.passed_over == missed(1_000_000, NOON, now - last)

    @pytest.mark.parametrize("policy", MissedRuns)
    @pytest.mark.parametrize("late", [SECOND, DAY])
    def test_taking_the_last_execution_leaves_nothing(self, policy: MissedRuns, late: timedelta) -> None:
        recurrence = replace(HOURLY, missed=policy, max_executions=3)
        decided = due(recurrence, NOON, NOON + late, taken=2)

        if decided.scheduled_for is None:
            assert decided.next_run_at == (hours(25) if policy is MissedRuns.SKIP else NOON)
        else:
            assert (decided.next_run_at, decided.catch_up_until) == (None, None)

    @pytest.mark.parametrize("taken", [3, 4])
    def test_nothing_is_taken_beyond_the_limit(self, taken: int) -> None:
        assert due(replace(HOURLY, max_executions=3), NOON, NOON + DAY, taken) == Due(None, None, None, None)

    def test_nothing_is_taken_beyond_the_end(self) -> None:
        assert due(replace(HOURLY, end_date=NOON - SECOND), NOON, NOON) == Due(None, None, None, None)

    @pytest.mark.parametrize(
        ("policy", "wanted"),
        [
            (MissedRuns.SKIP, Due(None, missed(3, NOON, hours(2)), None, None)),
            (MissedRuns.RUN_ONCE, Due(hours(2), missed(2, NOON, hours(1)), None, None)),
            (MissedRuns.RUN_ALL, Due(None, None, NOON, NOON + DAY, paced=True)),
        ],
    )
    def test_what_was_missed_before_the_end_is_decided_after_it(self, policy: MissedRuns, wanted: Due) -> None:
        recurrence = replace(HOURLY, missed=policy, end_date=NOON + 2 * HOUR)

        assert due(recurrence, NOON, NOON + DAY) == wanted

    @pytest.mark.parametrize("start_at", [None, NOON + 2 * MINUTE])
    def test_an_occurrence_off_the_grid_is_treated_like_any_other(self, start_at: datetime | None) -> None:
        off_grid, now = NOON + 2 * MINUTE, NOON + 5 * MINUTE
        wanted = {
            MissedRuns.RUN_ONCE: Due(off_grid, None, hours(1), None),
            MissedRuns.SKIP: Due(None, missed(1, off_grid, off_grid), hours(1), None),
            MissedRuns.RUN_ALL: Due(None, None, off_grid, now, paced=True),
        }

        for policy, decided in wanted.items():
            assert due(replace(HOURLY, missed=policy, start_at=start_at), off_grid, now) == decided


class TestAfterRun:
    @pytest.mark.parametrize("overlap", Overlap)
    def test_a_run_that_ends_in_time_is_followed_by_the_next(self, overlap: Overlap) -> None:
        recurrence = replace(HOURLY, overlap=overlap)

        assert after_run(recurrence, NOON, NOON + MINUTE) == AfterRun(hours(1), None, None)

    def test_what_came_due_during_the_run_is_skipped(self) -> None:
        assert after_run(HOURLY, NOON, NOON + HOUR) == AfterRun(hours(2), overlapped(1, hours(1), hours(1)), None)
        assert after_run(HOURLY, NOON, NOON + 150 * MINUTE) == AfterRun(
            hours(3), overlapped(2, hours(1), hours(2)), None
        )

    def test_one_is_queued_right_after(self) -> None:
        recurrence = replace(HOURLY, overlap=Overlap.QUEUE_ONE)

        assert after_run(recurrence, NOON, NOON + HOUR) == AfterRun(hours(1), None, hours(1))
        assert after_run(recurrence, NOON, NOON + 150 * MINUTE) == AfterRun(
            hours(2), overlapped(1, hours(1), hours(1)), hours(2)
        )

    @pytest.mark.parametrize("policy", MissedRuns)
    def test_the_queued_one_is_not_missed_however_late_it_is(self, policy: MissedRuns) -> None:
        recurrence, now = replace(HOURLY, overlap=Overlap.QUEUE_ONE, missed=policy), NOON + 150 * MINUTE
        decided = after_run(recurrence, NOON, now)
        assert decided.next_run_at is not None

        taken = due(recurrence, decided.next_run_at, now, 1, decided.catch_up_until)

        assert taken == Due(hours(2), None, hours(3), None)

    @pytest.mark.parametrize("overlap", Overlap)
    def test_the_backlog_goes_on_and_is_no_overlap(self, overlap: Overlap) -> None:
        recurrence, until = replace(HOURLY, overlap=overlap), NOON + 90 * MINUTE

        assert after_run(recurrence, NOON, NOON + DAY, 1, until) == AfterRun(hours(1), None, until, paced=True)

    def test_behind_the_backlog_overlap_is_overlap_again(self) -> None:
        until = NOON + 30 * MINUTE

        assert after_run(HOURLY, NOON, NOON + 150 * MINUTE, 1, until) == AfterRun(
            hours(3), overlapped(2, hours(1), hours(2)), None
        )
        assert after_run(HOURLY, NOON, NOON + MINUTE, 1, until) == AfterRun(hours(1), None, None)

    @pytest.mark.parametrize("overlap", Overlap)
    def test_what_came_due_before_the_run_began_did_not_overlap_with_it(self, overlap: Overlap) -> None:
        recurrence, now = replace(HOURLY, overlap=overlap), NOON + 150 * MINUTE

        for started_at in (hours(1), hours(2)):
            assert after_run(recurrence, NOON, now, started_at=started_at) == AfterRun(hours(1), None, None)
        in_time = after_run(recurrence, NOON, now, started_at=hours(1) - SECOND)
        assert in_time.passed_over is not None or in_time.catch_up_until is not None

    def test_behind_a_backlog_what_came_due_meanwhile_is_missed_again(self) -> None:
        recurrence = replace(HOURLY, missed=MissedRuns.RUN_ALL)
        until, began, now = NOON + 90 * MINUTE, NOON + DAY, NOON + DAY + MINUTE

        after = after_run(recurrence, hours(1), now, 2, until, started_at=began)

        assert after == AfterRun(hours(2), None, None)
        assert due(recurrence, hours(2), now, 2) == Due(None, None, hours(2), now, paced=True)

    @pytest.mark.parametrize("overlap", Overlap)
    def test_after_the_last_permitted_run_comes_nothing(self, overlap: Overlap) -> None:
        recurrence = replace(HOURLY, overlap=overlap, max_executions=2)

        assert after_run(recurrence, NOON, NOON + DAY, taken=2) == AfterRun(None, None, None)
        assert after_run(recurrence, NOON, NOON + MINUTE, taken=1) == AfterRun(hours(1), None, None)

    def test_the_end_is_respected(self) -> None:
        ending = replace(HOURLY, end_date=NOON + 2 * HOUR)
        queueing = replace(ending, overlap=Overlap.QUEUE_ONE)

        assert after_run(ending, NOON + 2 * HOUR, NOON + DAY) == AfterRun(None, None, None)
        assert after_run(ending, NOON, NOON + DAY) == AfterRun(None, overlapped(2, hours(1), hours(2)), None)
        assert after_run(queueing, NOON, NOON + DAY) == AfterRun(hours(2), overlapped(1, hours(1), hours(1)), hours(2))

    def test_skipped_occurrences_are_counted_to_the_cap(self) -> None:
        every_second, now = Recurrence(Every(SECOND, NOON)), NOON + 3_650 * DAY

        queueing = replace(every_second, overlap=Overlap.QUEUE_ONE)
        many = overlapped(1_000_000, NOON + SECOND, now)

        assert after_run(every_second, NOON, now) == AfterRun(now + SECOND, many, None)
        assert after_run(queueing, NOON, now) == AfterRun(now, replace(many, last=now - SECOND), now)
        skipped = overlapped(4_320, NOON + MINUTE, NOON + 3 * DAY)
        assert after_run(MINUTELY, NOON, NOON + 3 * DAY) == AfterRun(NOON + 3 * DAY + MINUTE, skipped, None)


class TestPassedOver:
    def test_it_tells_how_many_and_which(self) -> None:
        told = passed_over(HOURLY, Cause.PAUSED, NOON, NOON + 150 * MINUTE)

        assert told == PassedOver(Cause.PAUSED, 2, hours(1), hours(2))

    def test_there_may_be_none(self) -> None:
        assert passed_over(HOURLY, Cause.PAUSED, NOON, NOON + 59 * MINUTE) is None
        assert passed_over(replace(HOURLY, end_date=NOON), Cause.PAUSED, NOON, NOON + DAY) is None

    @pytest.mark.parametrize(
        ("cause", "sentence"),
        [
            (Cause.MISSED, "1 missed occurrence passed over"),
            (Cause.OVERLAP, "1 occurrence skipped: the run was still going on"),
            (Cause.PAUSED, "1 occurrence skipped: the job was paused"),
            (Cause.RESCHEDULED, "1 occurrence dropped with the schedule that named it"),
        ],
    )
    def test_it_tells_people_why(self, cause: Cause, sentence: str) -> None:
        one = PassedOver(cause, 1, NOON, NOON)

        assert str(one) == sentence
        assert str(replace(one, count=2)) == sentence.replace("1 ", "2 ").replace("occurrence", "occurrences").replace(
            "named it", "named them"
        )
