"""The runs that a job has before it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.forecast import first_runs, upcoming_runs
from jobs.job import Job, Note
from jobs.lifecycle import JobStatus
from jobs.recurrence import Cron, MissedRuns, Overlap
from jobs.schedule import ScheduleSpec
from tests.factories import NOW, SECOND, every, make_job, make_running

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


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


def test_of_missed_runs_those_are_foreseen_that_the_policy_runs() -> None:
    now = NOW + 5 * MINUTE + 10 * SECOND
    skipped = make_job(schedule=every(600, start_at=NOW + MINUTE, missed=MissedRuns.SKIP))
    assert upcoming_runs(skipped, 1, now) == [NOW + 11 * MINUTE]
    assert upcoming_runs(minutely(missed=MissedRuns.RUN_ONCE), 2, now) == [NOW + 5 * MINUTE, NOW + 6 * MINUTE]
    every_one = minutely(missed=MissedRuns.RUN_ALL)
    assert upcoming_runs(every_one, 6, now) == [NOW + number * MINUTE for number in (1, 2, 3, 4, 5, 6)]


def test_a_backlog_is_foreseen_and_what_came_due_behind_it_meanwhile() -> None:
    now = NOW + 9 * MINUTE + 10 * SECOND
    waiting = replace(minutely(missed=MissedRuns.RUN_ALL), catch_up_until=NOW + 3 * MINUTE, paced=True)
    foreseen = [NOW + number * MINUTE for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)]
    assert upcoming_runs(waiting, 11, now) == foreseen
    running, _ = make_running(waiting)
    assert upcoming_runs(running, 3, now) == foreseen[:3]


def test_what_comes_due_during_a_run_of_a_backlog_is_not_foreseen() -> None:
    running, _ = make_running(minutely(missed=MissedRuns.RUN_ALL, end_date=NOW + HOUR), now=NOW + MINUTE)
    running = replace(running, next_run_at=NOW + 2 * MINUTE)
    assert upcoming_runs(running, 2, NOW + 9 * MINUTE + SECOND) == [NOW + 10 * MINUTE, NOW + 11 * MINUTE]


def test_the_instant_of_a_retry_is_no_run_of_its_own() -> None:
    running, run = make_running(minutely(), now=NOW + MINUTE)
    waiting = replace(running, status=JobStatus.SCHEDULED, run=replace(run, token=None), next_run_at=NOW + 90 * SECOND)
    assert upcoming_runs(waiting, 2, NOW + 70 * SECOND) == [NOW + 2 * MINUTE, NOW + 3 * MINUTE]


def test_what_is_queued_behind_a_run_is_foreseen() -> None:
    running, _ = make_running(minutely(overlap=Overlap.QUEUE_ONE))
    assert upcoming_runs(running, 2, NOW + 5 * MINUTE + SECOND) == [NOW + 5 * MINUTE, NOW + 6 * MINUTE]


def test_what_is_merely_late_is_foreseen_one_by_one() -> None:
    seconds = make_job(schedule=every(10, start_at=NOW + 10 * SECOND, overlap=Overlap.QUEUE_ONE))
    foreseen = [NOW + number * SECOND for number in (10, 20, 30, 40, 50, 60)]
    assert upcoming_runs(seconds, 6, NOW + 45 * SECOND) == foreseen


def test_the_first_runs_of_a_new_job_end_with_its_limit() -> None:
    recurrence = minutely(limit=2).recurrence
    assert recurrence is not None
    assert first_runs(recurrence, NOW + MINUTE, 5) == [NOW + MINUTE, NOW + 2 * MINUTE]


def test_nothing_is_foreseen_by_a_schedule_that_nobody_understands_any_more() -> None:
    job = make_job(schedule=ScheduleSpec(cron="* * * * *", tz="Europe/Paris"))
    assert job.recurrence is not None
    lost = replace(job, recurrence=replace(job.recurrence, rule=Cron("* * * * *", "Europe/Atlantis")))
    assert upcoming_runs(lost, 5, NOW + 90 * SECOND) == []
