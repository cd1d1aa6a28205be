"""When a recurring job is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobs.cron import HORIZON
from jobs.recurrence import Cron, Every, Recurrence, first_run, latest_at_or_before, next_after, upcoming

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTELY = Recurrence(Cron("* * * * *"))
HOURLY = Recurrence(Every(HOUR, NOON))


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
