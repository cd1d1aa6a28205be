"""The runs that a job has before it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.forecast import upcoming_runs
from jobs.job import Job, Note
from jobs.lifecycle import JobStatus
from jobs.schedule import ScheduleSpec
from tests.factories import NOW, SECOND, every, make_job, make_running

MINUTE = timedelta(minutes=1)


def minutely(**schedule: Any) -> Job:
    """A job that runs every minute from a minute from now on."""
    return make_job(schedule=every(60, start_at=NOW + MINUTE, **schedule))


def test_a_job_that_waits_runs_when_it_is_due_and_then_on_its_grid() -> None:
    assert upcoming_runs(minutely(), 3, NOW) == [NOW + MINUTE, NOW + 2 * MINUTE, NOW + 3 * MINUTE]


def test_no_more_runs_are_foreseen_than_are_left() -> None:
    assert upcoming_runs(minutely(limit=2), 5, NOW) == [NOW + MINUTE, NOW + 2 * MINUTE]
    third = replace(minutely(limit=3), execution_count=2)
    assert upcoming_runs(third, 5, NOW) == [NOW + MINUTE]
    assert upcoming_runs(minutely(end_date=NOW + 2 * MINUTE), 5, NOW) == [NOW + MINUTE, NOW + 2 * MINUTE]


def test_a_run_that_is_under_way_is_not_among_them() -> None:
    running, _ = make_running(make_job(schedule=every(60, limit=3)))
    assert upcoming_runs(running, 5, NOW + SECOND) == [NOW + MINUTE, NOW + 2 * MINUTE]
    late = NOW + 10 * MINUTE + SECOND
    assert upcoming_runs(running, 1, late) == [NOW + 11 * MINUTE]


def test_a_job_that_is_due_and_not_taken_up_runs_now_and_then_on_its_grid() -> None:
    assert upcoming_runs(minutely(), 2, NOW + 90 * SECOND) == [NOW + MINUTE, NOW + 2 * MINUTE]


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_job_that_is_over_has_none(status: JobStatus) -> None:
    assert upcoming_runs(replace(minutely(), status=status), 5, NOW) == []


def test_a_job_that_rests_or_is_about_to_has_none() -> None:
    note = Note(NOW, None, None)
    assert upcoming_runs(replace(minutely(), status=JobStatus.PAUSED, next_run_at=None, paused=note), 5, NOW) == []
    running, _ = make_running(minutely())
    assert upcoming_runs(replace(running, paused=note), 5, NOW) == []


def test_none_are_foreseen_of_a_job_that_runs_once_or_is_due_at_no_time() -> None:
    assert upcoming_runs(make_job(schedule=ScheduleSpec(start_at=NOW + MINUTE)), 5, NOW) == []
    assert upcoming_runs(replace(minutely(), next_run_at=None), 5, NOW) == []
    assert upcoming_runs(minutely(), 0, NOW) == []
