"""What holds for any recurrence, whenever it is looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from jobs.occurrences import decide_after_run, decide_due
from jobs.recurrence import (
    TICK,
    Cron,
    Every,
    MissedRuns,
    Overlap,
    Recurrence,
    first_run,
    latest_at_or_before,
    next_after,
    upcoming,
)

MINUTE = timedelta(minutes=1)

instants = st.integers(0, 4_000_000).map(lambda minutes: datetime(2024, 1, 1, tzinfo=UTC) + minutes * MINUTE)
crons = st.builds(
    Cron,
    st.sampled_from(
        ["* * * * *", "*/7 */2 * * *", "30 2 * * *", "0 0 * * *", "15,45 1-3 * * 1-5", "0 9 L * 1#1", "5 4 29 2 *"]
    ),
    st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/St_Johns"]),
)
grids = st.builds(Every, st.integers(1_000, 10**11).map(lambda ms: timedelta(milliseconds=ms)), instants)
recurrences = st.builds(
    Recurrence,
    crons | grids,
    st.none() | instants,
    st.none() | st.integers(1, 5),
    st.none() | instants,
    st.sampled_from(MissedRuns),
    st.sampled_from(Overlap),
)


@given(recurrences, instants)
def test_the_next_and_the_latest_are_inverse(recurrence: Recurrence, instant: datetime) -> None:
    following, latest = next_after(recurrence, instant), latest_at_or_before(recurrence, instant)

    if following is not None:
        assert following > instant
        assert latest_at_or_before(recurrence, following) == following
        assert latest_at_or_before(recurrence, following - timedelta(microseconds=1)) == latest
        assert next_after(recurrence, following - timedelta(microseconds=1)) == following
    if latest is not None:
        assert latest <= instant
        assert first_run(recurrence, latest) == latest
        assert next_after(recurrence, latest) == following


@given(recurrences, instants, st.integers(0, 40))
def test_upcoming_is_strictly_increasing_and_within_bounds(
    recurrence: Recurrence, instant: datetime, count: int
) -> None:
    found = upcoming(recurrence, instant, count, 2)

    assert all(earlier < later for earlier, later in zip([instant, *found], found, strict=False))
    assert len(found) <= count
    assert all(recurrence.start_at is None or at >= recurrence.start_at for at in found)
    assert all(recurrence.end_date is None or at <= recurrence.end_date for at in found)


@given(recurrences, instants, st.lists(st.tuples(st.integers(0, 500_000), st.integers(0, 500_000)), max_size=8))
def test_a_life_of_a_job_never_moves_backwards_nor_exceeds_its_bounds(
    recurrence: Recurrence, now: datetime, waits: list[tuple[int, int]]
) -> None:
    """Whatever the delays in minutes – before a run is taken up, and until it ends."""
    due_at, taken, until, last = first_run(recurrence, now), 0, None, None

    for delay, length in waits:
        if due_at is None:
            return
        now = max(now, due_at) + delay * MINUTE
        decided = decide_due(recurrence, due_at=due_at, now=now, executions_taken=taken, catch_up_until=until)
        assert decided.scheduled_for is None or decided.scheduled_for >= due_at
        behind = due_at - TICK if decided.paced else decided.scheduled_for or now
        assert decided.next_run_at is None or decided.next_run_at > behind
        due_at, until = decided.next_run_at, decided.catch_up_until
        if decided.scheduled_for is not None:
            assert last is None or decided.scheduled_for > last
            assert recurrence.end_date is None or decided.scheduled_for <= recurrence.end_date
            taken, last, began, now = taken + 1, decided.scheduled_for, now, now + length * MINUTE
            ended = decide_after_run(
                recurrence,
                candidate=due_at,
                started_at=began,
                now=now,
                executions_taken=taken,
                catch_up_until=until,
            )
            assert ended.next_run_at is None or ended.next_run_at > last
            assert recurrence.max_executions is None or taken <= recurrence.max_executions
            due_at, until = ended.next_run_at, ended.catch_up_until
        assert due_at is None or recurrence.end_date is None or due_at <= recurrence.end_date
        assert until is None or (due_at is not None and due_at <= until <= now)
