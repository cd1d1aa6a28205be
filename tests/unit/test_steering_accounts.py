"""What becomes of occurrences when callers change the schedule of a job, or let it go on: kept, or told of as passed over."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs.job import Job, Note, Run
from jobs.lifecycle import JobStatus
from jobs.occurrences import Cause, PassedOver
from jobs.promotion import next_occurrence, promote
from jobs.recurrence import Cron
from jobs.schedule import ScheduleSpec
from jobs.steering import Change, reschedule, resume
from jobs.times import MILLISECOND
from tests.factories import NOW, SECOND, every, make_job, make_running

MINUTE = timedelta(minutes=1)
LIMIT = ScheduleSpec(limit=50)
OTHER = ScheduleSpec(every_ms=7_200_000)


def minutes(count: int) -> datetime:
    return NOW + count * MINUTE


def minutely(status: JobStatus = JobStatus.SCHEDULED, **more: Any) -> Job:
    """A job that runs every minute, from a minute from now on."""
    return replace(make_job(schedule=every(60, start_at=minutes(1))), status=status, **more)


def queued(**run: Any) -> Job:
    """Its first run waits for a worker."""
    waiting = Run(**{"number": 1, "attempt": 1, "failures": 0, "expiries": 0, "scheduled_for": minutes(1), **run})
    return minutely(JobStatus.QUEUED, run=waiting, next_run_at=minutes(2))


def running(**more: Any) -> Job:
    """Its first run is going on."""
    return replace(make_running(queued(), now=minutes(1))[0], **more)


def paused(**more: Any) -> Job:
    note = Note(minutes(3), "ann", "maintenance")
    return minutely(JobStatus.PAUSED, **{"paused": note, "next_run_at": None, "decided_until": minutes(1), **more})


def changed(job: Job, spec: ScheduleSpec, at: int) -> Change:
    """The job is rescheduled so many minutes later."""
    return reschedule(job, spec, minutes(at) + SECOND, ("schedule",))


# ------------------------------------------------------------------------------------- a change that leaves the times alone


def test_other_bounds_keep_what_is_overdue() -> None:
    change = changed(minutely(), LIMIT, at=10)
    assert (change.next_run_at, change.passed_over, change.catch_up_until) == (minutes(1), None, None)


def test_other_bounds_keep_what_is_being_made_up_for() -> None:
    change = changed(minutely(catch_up_until=minutes(9), paced=True), LIMIT, at=10)
    assert (change.next_run_at, change.catch_up_until, change.paced) == (minutes(1), minutes(9), True)
    change = changed(running(catch_up_until=minutes(9)), LIMIT, at=10)
    assert (change.next_run_at, change.catch_up_until, change.paced) == (minutes(2), minutes(9), False)


@pytest.mark.parametrize("paced", [True, False])
def test_other_bounds_take_a_run_back_and_promise_it(paced: bool) -> None:
    change = changed(queued(paced=paced), LIMIT, at=10)
    assert (change.status, change.run, change.next_run_at) == (JobStatus.SCHEDULED, None, minutes(1))
    assert (change.catch_up_until, change.paced, change.passed_over) == (minutes(1), paced, None)


def test_a_run_that_is_taken_back_leaves_the_backlog_behind_it_as_it_is() -> None:
    change = changed(replace(queued(), catch_up_until=minutes(9)), LIMIT, at=10)
    assert (change.next_run_at, change.catch_up_until) == (minutes(1), minutes(9))


def test_other_bounds_keep_what_came_due_during_the_run() -> None:
    assert changed(running(), LIMIT, at=10).next_run_at == minutes(2)
    since_another_change = running(decided_until=minutes(5))
    change = changed(since_another_change, LIMIT, at=10)
    assert (change.next_run_at, change.decided_until) == (minutes(6), minutes(5))


# -------------------------------------------------------------------------------------------------------- another schedule


def dropped(count: int, first: int, last: int) -> PassedOver:
    return PassedOver(Cause.RESCHEDULED, count, minutes(first), minutes(last))


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (minutely(), dropped(10, 1, 10)),
        (queued(), dropped(10, 1, 10)),
        (running(), dropped(9, 2, 10)),
        (running(decided_until=minutes(5)), dropped(5, 6, 10)),
        (replace(running(), status=JobStatus.SCHEDULED, next_run_at=minutes(11)), dropped(9, 2, 10)),
        (minutely(next_run_at=minutes(11)), None),
    ],
    ids=["overdue", "queued", "running", "running, and changed before", "waiting for a retry", "not due"],
)
def test_another_schedule_drops_what_had_come_due(job: Job, told: PassedOver | None) -> None:
    change = changed(job, OTHER, at=10)
    assert (change.passed_over, change.decided_until) == (told, minutes(10) + SECOND - MILLISECOND)
    assert (change.catch_up_until, change.paced) == (None, False)


def test_what_comes_due_at_the_instant_of_the_change_is_the_new_schedule_s() -> None:
    change = reschedule(minutely(), ScheduleSpec(start_at=minutes(5)), minutes(5), ("schedule",))
    assert (change.passed_over, change.next_run_at) == (dropped(4, 1, 4), minutes(5))
    hourly = replace(running(), status=JobStatus.RUNNING)
    anchored_now = reschedule(hourly, ScheduleSpec(every_ms=3_600_000, start_at=minutes(5)), minutes(5), ("schedule",))
    assert anchored_now.next_run_at == minutes(5)
    assert hourly.run is not None
    then = replace(hourly, recurrence=anchored_now.recurrence, decided_until=anchored_now.decided_until)
    assert then.run is not None
    assert next_occurrence(then, then.run) == minutes(5)


def test_a_run_that_a_caller_asked_for_is_no_occurrence() -> None:
    asked_for = replace(queued(manual=True, scheduled_for=minutes(9)), recurrence=minutely().recurrence)
    change = changed(asked_for, OTHER, at=10)
    assert (change.passed_over, change.run) == (None, None)
    assert changed(asked_for, LIMIT, at=10).next_run_at == minutes(11)


def test_an_instant_off_the_grid_that_was_promised_is_kept() -> None:
    off_grid = minutes(1) + SECOND
    assert changed(minutely(next_run_at=off_grid), LIMIT, at=10).next_run_at == off_grid


def test_what_the_limit_left_out_is_not_dropped() -> None:
    last = replace(running(), recurrence=make_job(schedule=every(60, start_at=minutes(1), limit=1)).recurrence)
    assert changed(last, ScheduleSpec(every_ms=7_200_000, limit=2), at=10).passed_over is None


def test_a_schedule_that_nobody_understands_any_more_can_be_replaced() -> None:
    job = make_job(schedule=ScheduleSpec(cron="* * * * *", tz="Europe/Paris"))
    assert job.recurrence is not None
    lost = replace(job, recurrence=replace(job.recurrence, rule=Cron("* * * * *", "Europe/Atlantis")))
    change = changed(lost, ScheduleSpec(tz="Europe/Paris"), at=10)
    assert (change.next_run_at, change.passed_over) == (minutes(11), None)


def test_behind_a_retry_the_grid_goes_on_after_what_was_dropped() -> None:
    job = running(decided_until=minutes(5) + SECOND)
    assert job.run is not None
    assert next_occurrence(job, job.run) == minutes(6)
    retry = replace(job, status=JobStatus.SCHEDULED, next_run_at=minutes(7))
    assert promote(retry, minutes(7)).next_run_at == minutes(6)


# -------------------------------------------------------------------------------------------------------------------- pauses


def rested(count: int, first: int, last: int) -> PassedOver:
    return PassedOver(Cause.PAUSED, count, minutes(first), minutes(last))


def test_a_resumed_job_tells_what_came_due_while_it_was_paused() -> None:
    assert resume(paused(), minutes(10) + SECOND).passed_over == rested(9, 2, 10)
    assert resume(paused(), minutes(1) + SECOND).passed_over is None


def test_of_a_pause_that_noted_nothing_what_came_due_since_is_told() -> None:
    assert resume(paused(decided_until=None), minutes(10) + SECOND).passed_over == rested(7, 4, 10)


def test_a_limit_that_is_reached_leaves_nothing_to_tell_of() -> None:
    limited = make_job(schedule=every(60, start_at=minutes(1), limit=3)).recurrence
    assert resume(paused(recurrence=limited, execution_count=3), minutes(10)).passed_over is None


@pytest.mark.parametrize("spec", [LIMIT, OTHER])
@pytest.mark.parametrize("job", [paused(), running(paused=Note(minutes(3), None, None), decided_until=minutes(1))])
def test_a_schedule_that_is_changed_during_a_pause_tells_what_came_due_by_the_old_one(
    job: Job, spec: ScheduleSpec
) -> None:
    change = changed(job, spec, at=10)
    assert (change.passed_over, change.decided_until) == (rested(9, 2, 10), minutes(10) + SECOND - MILLISECOND)
    assert change.next_run_at is None
