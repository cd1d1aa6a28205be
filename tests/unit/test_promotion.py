from dataclasses import replace

from jobs.job import Job
from jobs.lifecycle import Action, JobStatus
from jobs.promotion import promote
from jobs.recurrence import MissedRuns
from jobs.schedule import ScheduleSpec
from tests.factories import NOW, SECOND, every, make_job, make_running


def scheduled(**schedule: object) -> Job:
    return make_job(schedule=every(30, start_at=NOW + 30 * SECOND, **schedule))


def test_a_one_shot_is_queued_with_its_first_run() -> None:
    job = make_job(schedule=ScheduleSpec(start_at=NOW + 10 * SECOND))
    promotion = promote(job, NOW + 11 * SECOND)
    assert (promotion.action, promotion.status) == (Action.PROMOTE, JobStatus.QUEUED)
    assert promotion.run is not None
    assert (promotion.run.number, promotion.run.attempt) == (1, 1)
    assert promotion.run.scheduled_for == NOW + 10 * SECOND
    assert promotion.next_run_at is None
    assert not promotion.resets_retries


def test_an_occurrence_is_taken_and_the_next_one_is_known() -> None:
    promotion = promote(replace(scheduled(), execution_count=4), NOW + 31 * SECOND)
    assert promotion.run is not None
    assert promotion.run.number == 5
    assert promotion.run.scheduled_for == NOW + 30 * SECOND
    assert promotion.next_run_at == NOW + 60 * SECOND
    assert promotion.resets_retries


def test_the_last_run_that_the_limit_permits_has_no_next_occurrence() -> None:
    promotion = promote(replace(scheduled(limit=5), execution_count=4), NOW + 31 * SECOND)
    assert promotion.run is not None
    assert (promotion.run.number, promotion.next_run_at) == (5, None)


def test_a_retry_goes_on_with_its_run_and_knows_the_next_occurrence() -> None:
    job, run = make_running(make_job(schedule=every(30)), attempt=2, failures=1)
    waiting = replace(job, status=JobStatus.SCHEDULED, next_run_at=NOW + 5 * SECOND)
    promotion = promote(waiting, NOW + 5 * SECOND)
    assert promotion.run == run
    assert promotion.next_run_at == NOW + 30 * SECOND
    assert not promotion.resets_retries


def test_a_retry_of_the_last_permitted_run_has_no_next_occurrence() -> None:
    job, _ = make_running(make_job(schedule=every(30, limit=1)), attempt=2, failures=1)
    promotion = promote(replace(job, status=JobStatus.SCHEDULED, next_run_at=NOW), NOW)
    assert promotion.next_run_at is None


def test_a_retry_of_a_one_shot_has_no_next_occurrence() -> None:
    job, _ = make_running(attempt=2, failures=1)
    assert promote(replace(job, status=JobStatus.SCHEDULED, next_run_at=NOW), NOW).next_run_at is None


def test_missed_occurrences_are_run_once_and_the_others_told_of() -> None:
    promotion = promote(scheduled(), NOW + 125 * SECOND)
    assert promotion.run is not None
    assert promotion.run.scheduled_for == NOW + 120 * SECOND
    assert str(promotion.passed_over) == "3 missed occurrences passed over"


def test_missed_occurrences_that_are_skipped_leave_the_job_scheduled() -> None:
    hourly = make_job(schedule=every(3600, start_at=NOW + SECOND, missed=MissedRuns.SKIP))
    promotion = promote(hourly, NOW + 3 * 3600 * SECOND)
    assert (promotion.action, promotion.status) == (Action.SKIP, JobStatus.SCHEDULED)
    assert promotion.run is None
    assert promotion.next_run_at == NOW + 3 * 3600 * SECOND + SECOND
    assert str(promotion.passed_over) == "3 missed occurrences passed over"


def test_missed_occurrences_that_are_made_up_for_leave_the_job_scheduled_for_the_oldest_of_them() -> None:
    now = NOW + 125 * SECOND
    promotion = promote(scheduled(missed=MissedRuns.RUN_ALL), now)
    assert (promotion.action, promotion.status, promotion.run) == (Action.SKIP, JobStatus.SCHEDULED, None)
    assert (promotion.next_run_at, promotion.catch_up_until, promotion.paced) == (NOW + 30 * SECOND, now, True)
    waiting = replace(scheduled(missed=MissedRuns.RUN_ALL), catch_up_until=now, paced=True)
    taken = promote(waiting, now)
    assert taken.run is not None
    assert (taken.run.scheduled_for, taken.run.paced, taken.paced) == (NOW + 30 * SECOND, True, False)


def test_a_job_whose_last_occurrence_was_missed_and_skipped_is_completed() -> None:
    job = scheduled(missed=MissedRuns.SKIP, end_date=NOW + 30 * SECOND)
    promotion = promote(job, NOW + 125 * SECOND)
    assert (promotion.action, promotion.status) == (Action.EXHAUST, JobStatus.COMPLETED)
    assert str(promotion.passed_over) == "1 missed occurrence passed over"


def test_a_job_without_a_next_instant_is_promoted_for_when_it_was_scheduled() -> None:
    job = replace(make_job(), run=None, next_run_at=None, status=JobStatus.SCHEDULED)
    promotion = promote(job, NOW)
    assert promotion.run is not None
    assert promotion.run.scheduled_for == NOW
