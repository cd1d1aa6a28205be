"""When a process has seen enough of the database to call a silent worker lost."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.watch import Watch

LEASE = 6.0


def watched(instants: Iterable[float]) -> Watch:
    watch = Watch(LEASE)
    for at in instants:
        watch = watch.answered(at)
    return watch


def test_a_process_that_begins_knows_nothing_until_it_has_watched_for_a_whole_lease() -> None:
    assert not Watch(LEASE).is_long_enough
    assert not watched([100]).is_long_enough
    assert not watched([100, 102, 104, 105.9]).is_long_enough
    assert watched([100, 102, 104, 106]).is_long_enough


def test_more_than_half_a_lease_between_two_answers_is_a_gap_and_half_of_one_is_none() -> None:
    assert watched([0, 3, 6]).is_long_enough
    assert not watched([0, 3, 6.1]).is_long_enough
    assert not watched([0, 2, 4, 6, 9.1]).is_long_enough
    assert not watched([0, 2, 4, 6, 9.1, 12, 15]).is_long_enough
    assert watched([0, 2, 4, 6, 9.1, 12, 15, 15.1]).is_long_enough


def test_a_look_that_failed_ends_the_row_however_soon_the_next_is_answered() -> None:
    failed = watched([0, 2, 4, 6]).failed()
    assert not failed.is_long_enough
    assert not failed.answered(6.1).is_long_enough
    assert not failed.answered(6.1).answered(9).answered(12).is_long_enough
    assert failed.answered(6.1).answered(9).answered(12).answered(12.1).is_long_enough


def test_looking_as_late_as_it_permits_leaves_an_answer_a_sixth_of_a_lease() -> None:
    assert Watch(LEASE).longest_pause == 2
    assert watched([0, 3, 6]).longest_pause + LEASE / 6 == LEASE / 2


looks = st.lists(st.tuples(st.integers(0, 80), st.booleans()), max_size=40)


@given(looks)
def test_it_is_long_enough_just_when_a_lease_of_answers_without_a_gap_lies_behind(
    steps: list[tuple[int, bool]],
) -> None:
    """The same, told from the end: which answers there were within the last lease and just before it."""
    watch, at, answers = Watch(LEASE), 0.0, list[float]()
    for pause, is_answered in steps:
        at += pause / 16
        watch = watch.answered(at) if is_answered else watch.failed()
        answers = [*answers, at] if is_answered else []
        row = [answers[-1]] if answers else []
        for earlier in reversed(answers[:-1]):
            if row[-1] - earlier > LEASE / 2:
                break
            row.append(earlier)
        assert watch.is_long_enough == bool(row and row[0] - row[-1] >= LEASE)


@pytest.mark.parametrize("outage", [4.0, 7.0, 600.0])
def test_a_worker_that_renews_when_the_database_is_back_is_always_in_time(outage: float) -> None:
    """It beats every third of a lease, and soon after an outage. Nobody may call it lost before, whenever they look."""
    began = 11.0
    looks = [float(at) for at in range(0, 12, 2)] + [began + outage + 0.01 + 2 * number for number in range(5)]
    renewed_at = began + outage + LEASE / 4 + LEASE / 30
    for number, at in enumerate(looks):
        if began < at <= renewed_at:
            assert not watched(looks[: number + 1]).is_long_enough
    assert watched(looks).is_long_enough
