"""What resume, reschedule and retry make of a job (``mission/semantics.md`` §1 to §4)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.errors import InvalidInput
from jobs.events import EventType
from jobs.job import Job, Note, Run
from jobs.lifecycle import Action, JobStatus
from jobs.recurrence import Cron, Every, Recurrence
from jobs.schedule import ScheduleSpec
from jobs.steering import MAX_DELAY_MS, Change, reschedule, resume, retry
from tests.factories import NOW, SECOND, every, make_job, make_running

HOUR = timedelta(hours=1)
PATH = ("schedule",)
LATER = NOW + 90 * SECOND


def recurring(*, status: JobStatus = JobStatus.SCHEDULED, schedule: ScheduleSpec | None = None, **more: Any) -> Job:
    """A job that runs every minute, from a minute from now on."""
    job = make_job(schedule=schedule or every(60, start_at=NOW + 60 * SECOND))
    return replace(job, status=status, **more)


def paused(**more: Any) -> Job:
    note = Note(NOW, "ann", "maintenance")
    return recurring(status=JobStatus.PAUSED, paused=note, **{"next_run_at": None, **more})


def waiting_for_retry(job: Job, status: JobStatus = JobStatus.SCHEDULED) -> Job:
    running, run = make_running(job)
    begun = replace(run, token=None, worker=None, lease_until=None, attempt=2, failures=1)
    return replace(running, status=status, run=begun, next_run_at=NOW + 5 * SECOND)


def issues(refused: pytest.ExceptionInfo[InvalidInput]) -> list[tuple[str, ...]]:
    return [issue.path for issue in refused.value.issues]


def rule_of(change: Change) -> Cron | Every:
    assert change.recurrence is not None
    return change.recurrence.rule


# ------------------------------------------------------------------------------------------------------------- resume


def test_a_resumed_job_goes_on_with_the_next_instant_of_its_grid() -> None:
    change = resume(paused(), NOW + 10 * HOUR + SECOND)
    assert (change.status, change.next_run_at) == (JobStatus.SCHEDULED, NOW + 10 * HOUR + 60 * SECOND)
    assert change.events == (EventType.JOB_RESUMED,)


def test_an_instant_that_is_now_has_been_missed_by_the_pause() -> None:
    assert resume(paused(), NOW + 60 * SECOND).next_run_at == NOW + 120 * SECOND


def test_a_resumed_job_of_which_nothing_is_left_is_completed() -> None:
    over = paused(schedule=every(60, end_date=NOW + HOUR))
    spent = paused(schedule=every(60, limit=2), execution_count=2)
    for job in (over, spent):
        change = resume(job, NOW + 2 * HOUR)
        assert (change.status, change.next_run_at) == (JobStatus.COMPLETED, None)
        assert change.events == (EventType.JOB_RESUMED, EventType.JOB_COMPLETED)


def test_a_limit_that_is_not_reached_leaves_the_next_run() -> None:
    assert resume(paused(schedule=every(60, limit=3), execution_count=2), NOW).status is JobStatus.SCHEDULED


def test_a_job_that_does_not_recur_has_nothing_left() -> None:
    assert resume(replace(make_job(), status=JobStatus.PAUSED), NOW).status is JobStatus.COMPLETED


# -------------------------------------------------------------------------------------------------------------- retry


def failed(job: Job, **more: Any) -> Job:
    return replace(job, status=JobStatus.FAILED, run=None, next_run_at=None, execution_count=1, **more)


def test_a_retry_without_a_delay_is_queued_as_a_run_of_its_own() -> None:
    change = retry(failed(make_job(), retry_count=3), 0, LATER)
    assert (change.status, change.next_run_at) == (JobStatus.QUEUED, None)
    assert change.run == Run(number=2, attempt=1, failures=0, expiries=0, scheduled_for=LATER, manual=True)
    assert change.retry_count == 4
    assert change.events == (EventType.JOB_SCHEDULED, EventType.JOB_QUEUED)


def test_a_retry_with_a_delay_waits_for_it() -> None:
    change = retry(failed(make_job()), 1500, LATER)
    due = LATER + 1.5 * SECOND
    assert (change.status, change.next_run_at) == (JobStatus.SCHEDULED, due)
    assert change.run is not None
    assert change.run.scheduled_for == due
    assert change.events == (EventType.JOB_SCHEDULED,)


def test_the_retries_of_a_recurring_job_are_those_of_its_current_run() -> None:
    assert retry(failed(recurring(), retry_count=3), 0, NOW).retry_count == 0


@pytest.mark.parametrize("delay", [-1, MAX_DELAY_MS + 1])
def test_a_delay_out_of_bounds_is_refused(delay: int) -> None:
    with pytest.raises(InvalidInput, match="must be between 0 and") as refused:
        retry(failed(make_job()), delay, NOW)
    assert issues(refused) == [("delay",)]


def test_the_longest_delay_is_a_year() -> None:
    assert retry(failed(make_job()), MAX_DELAY_MS, NOW).next_run_at == NOW + timedelta(days=365)


# --------------------------------------------------------------------------------------------------------- reschedule


def once(seconds: float = 60, **more: Any) -> Job:
    return replace(make_job(schedule=ScheduleSpec(start_at=NOW + seconds * SECOND)), **more)


def test_a_job_that_runs_once_moves_to_its_new_time() -> None:
    for job in (once(), make_job()):
        change = reschedule(job, ScheduleSpec(start_at=NOW + HOUR), LATER, PATH)
        assert (change.action, change.status) == (Action.RESCHEDULE, JobStatus.SCHEDULED)
        # A queued run that has not begun is taken back: it is taken anew when its time comes.
        assert (change.next_run_at, change.run, change.recurrence) == (NOW + HOUR, None, None)
        assert change.events == (EventType.JOB_RESCHEDULED,)


def test_a_time_in_the_past_means_now() -> None:
    assert reschedule(once(), ScheduleSpec(start_at=NOW), LATER, PATH).next_run_at == LATER


def test_a_retry_of_a_job_that_runs_once_moves_with_it() -> None:
    for status in (JobStatus.SCHEDULED, JobStatus.QUEUED):
        job = waiting_for_retry(make_job(), status)
        change = reschedule(job, ScheduleSpec(start_at=NOW + HOUR), NOW, PATH)
        assert (change.next_run_at, change.run) == (NOW + HOUR, job.run)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (ScheduleSpec(cron="0 * * * *"), "cron"),
        (ScheduleSpec(every_ms=60_000), "every"),
        (ScheduleSpec(limit=3), "limit"),
        (ScheduleSpec(end_date=NOW + HOUR), "endDate"),
        (ScheduleSpec(tz="Europe/Berlin"), "tz"),
    ],
)
def test_a_job_that_runs_once_does_not_become_recurring(spec: ScheduleSpec, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        reschedule(once(), replace(spec, start_at=NOW + HOUR), NOW, PATH)
    assert issues(refused) == [("schedule", field)]


def test_nothing_to_change_is_refused() -> None:
    with pytest.raises(InvalidInput, match="give at least one of") as refused:
        reschedule(recurring(), ScheduleSpec(), NOW, PATH)
    assert issues(refused) == [PATH]


def test_another_cron_keeps_the_zone_and_the_bounds() -> None:
    schedule = ScheduleSpec(cron="0 9 * * *", tz="America/New_York", limit=9, end_date=NOW + 1000 * HOUR)
    change = reschedule(recurring(schedule=schedule), ScheduleSpec(cron="0 10 * * *"), NOW, PATH)
    assert change.recurrence == Recurrence(
        Cron("0 10 * * *", "America/New_York"), max_executions=9, end_date=NOW + 1000 * HOUR
    )
    # Ten in the morning in New York, in winter.
    assert change.next_run_at == NOW.replace(hour=15)


def test_cron_and_every_replace_each_other() -> None:
    by_cron = reschedule(recurring(), ScheduleSpec(cron="0 10 * * *"), NOW, PATH)
    assert rule_of(by_cron) == Cron("0 10 * * *", "UTC")
    zoned = reschedule(recurring(), ScheduleSpec(cron="0 10 * * *", tz="Asia/Tokyo"), NOW, PATH)
    assert rule_of(zoned) == Cron("0 10 * * *", "Asia/Tokyo")
    job = recurring(schedule=ScheduleSpec(cron="0 10 * * *"))
    by_interval = reschedule(job, ScheduleSpec(every_ms=7_200_000), NOW, PATH)
    assert (rule_of(by_interval), by_interval.next_run_at) == (Every(2 * HOUR, NOW), NOW)


def test_another_interval_keeps_the_anchor() -> None:
    change = reschedule(recurring(), ScheduleSpec(every_ms=7_200_000), LATER, PATH)
    assert rule_of(change) == Every(2 * HOUR, NOW + 60 * SECOND)
    assert change.next_run_at == NOW + 60 * SECOND + 2 * HOUR


def test_a_zone_alone_moves_a_cron() -> None:
    job = recurring(schedule=ScheduleSpec(cron="0 9 * * *", tz="America/New_York"))
    assert rule_of(reschedule(job, ScheduleSpec(tz="Asia/Tokyo"), NOW, PATH)) == Cron("0 9 * * *", "Asia/Tokyo")
    with pytest.raises(InvalidInput) as refused:
        reschedule(recurring(), ScheduleSpec(tz="Asia/Tokyo"), NOW, PATH)
    assert issues(refused) == [("schedule", "tz")]


def test_a_start_alone_moves_the_next_run_and_anchors_the_interval_anew() -> None:
    start = NOW + HOUR + 7 * SECOND
    change = reschedule(recurring(), ScheduleSpec(start_at=start), NOW, PATH)
    assert (rule_of(change), change.next_run_at) == (Every(60 * SECOND, start), start)
    by_cron = recurring(schedule=ScheduleSpec(cron="0 * * * *"))
    change = reschedule(by_cron, ScheduleSpec(start_at=start), NOW, PATH)
    assert (rule_of(change), change.next_run_at) == (Cron("0 * * * *", "UTC"), NOW + 2 * HOUR)


def test_bounds_alone_can_be_changed() -> None:
    change = reschedule(recurring(), ScheduleSpec(limit=7, end_date=NOW + HOUR), NOW, PATH)
    assert change.recurrence is not None
    assert (change.recurrence.max_executions, change.recurrence.end_date) == (7, NOW + HOUR)
    assert change.next_run_at == NOW + 60 * SECOND


def test_a_schedule_that_leaves_nothing_is_refused_by_what_ends_it() -> None:
    with pytest.raises(InvalidInput, match="no run would be due any more") as refused:
        reschedule(recurring(), ScheduleSpec(end_date=NOW + SECOND), NOW, PATH)
    assert issues(refused) == [("schedule", "endDate")]
    far = NOW.replace(year=9998, month=12, day=31)
    with pytest.raises(InvalidInput, match="no run would be due any more") as refused:
        reschedule(recurring(), ScheduleSpec(cron="0 0 1 2 *", start_at=far), NOW, PATH)
    assert issues(refused) == [("schedule", "cron")]


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_below_what_was_taken_is_refused(limit: int) -> None:
    with pytest.raises(InvalidInput, match="must be more than the 2 runs") as refused:
        reschedule(recurring(execution_count=2), ScheduleSpec(limit=limit), NOW, PATH)
    assert issues(refused) == [("schedule", "limit")]


def test_a_running_job_goes_on_and_changes_its_next_run() -> None:
    job, run = make_running(recurring())
    change = reschedule(job, ScheduleSpec(every_ms=7_200_000), NOW + 61 * SECOND, PATH)
    assert (change.status, change.run) == (JobStatus.RUNNING, run)
    assert change.next_run_at == NOW + 60 * SECOND + 2 * HOUR


def test_the_run_that_is_going_on_may_be_made_the_last() -> None:
    job, _ = make_running(recurring())
    change = reschedule(job, ScheduleSpec(limit=1), NOW, PATH)
    assert (change.status, change.next_run_at) == (JobStatus.RUNNING, None)


def test_a_retry_of_a_recurring_job_comes_when_it_was_to_come() -> None:
    job = waiting_for_retry(recurring())
    change = reschedule(job, ScheduleSpec(limit=1), NOW, PATH)
    assert (change.status, change.run, change.next_run_at) == (JobStatus.SCHEDULED, job.run, NOW + 5 * SECOND)
    # A queued one has the next occurrence there, not its own time: it has waited long enough.
    queued = replace(waiting_for_retry(recurring(), JobStatus.QUEUED), next_run_at=NOW + HOUR)
    assert reschedule(queued, ScheduleSpec(every_ms=1000), LATER, PATH).next_run_at == LATER


def test_a_paused_job_stays_paused() -> None:
    change = reschedule(paused(), ScheduleSpec(every_ms=7_200_000), NOW, PATH)
    assert (change.status, change.next_run_at, change.run) == (JobStatus.PAUSED, None, None)
    assert rule_of(change) == Every(2 * HOUR, NOW + 60 * SECOND)


def test_a_queued_run_that_has_not_begun_is_taken_back() -> None:
    job = recurring(schedule=every(60), status=JobStatus.QUEUED)
    assert job.run is not None
    change = reschedule(job, ScheduleSpec(every_ms=7_200_000), NOW + SECOND, PATH)
    assert (change.status, change.run, change.next_run_at) == (JobStatus.SCHEDULED, None, NOW + 2 * HOUR)
