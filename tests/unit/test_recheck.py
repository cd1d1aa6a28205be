"""Next instants that were stored by other rules: which are moved, where to, and which are left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.cron import CronError
from jobs.job import Job, Run
from jobs.lifecycle import JobStatus
from jobs.promotion import promote
from jobs.recheck import Correction, recheck
from jobs.recurrence import Cron, MissedRuns
from jobs.schedule import ScheduleSpec
from tests.factories import NOW, every, make_job
from tests.unit.test_recurrence_properties import crons, instants

HOUR = timedelta(hours=1)
NINE = ScheduleSpec(cron="0 9 * * *", tz="America/New_York")
DUE = NOW + 2 * HOUR
"""09:00 in New York, two hours from now."""


def planned(stored: datetime | None = DUE + HOUR, *, schedule: ScheduleSpec = NINE, **changes: Any) -> Job:
    """A job that waits for its next instant, stored as other rules had it."""
    return replace(make_job(schedule=schedule), next_run_at=stored, **changes)


def run(scheduled_for: datetime = NOW - HOUR) -> Run:
    return Run(number=1, attempt=1, failures=0, expiries=0, scheduled_for=scheduled_for)


def moved_to(job: Job, now: datetime = NOW) -> datetime | None:
    correction = recheck(job, now)
    return None if correction is None else correction.next_run_at


@pytest.mark.parametrize("off", [-HOUR, HOUR, 24 * HOUR])
def test_an_instant_of_other_rules_is_moved_earlier_or_later(off: timedelta) -> None:
    assert recheck(planned(DUE + off), NOW) == Correction(DUE + off, DUE, Cron("0 9 * * *", "America/New_York"))


def test_the_reason_tells_what_moved_and_why() -> None:
    correction = recheck(planned(), NOW)
    assert correction is not None
    assert correction.reason == (
        "by today's rules '0 9 * * *' in America/New_York names other instants: "
        "the next run moves from 2026-03-01T15:00:00Z to 2026-03-01T14:00:00Z"
    )


def test_an_instant_that_is_right_is_left_alone() -> None:
    assert recheck(make_job(schedule=NINE), NOW) is None


@pytest.mark.parametrize("stored", [NOW, NOW - HOUR])
def test_an_instant_that_has_come_is_left_as_promised(stored: datetime) -> None:
    assert recheck(planned(stored), NOW) is None
    assert moved_to(planned(NOW + timedelta(milliseconds=1))) == DUE


@pytest.mark.parametrize(
    "job",
    [
        planned(schedule=every(60)),
        make_job(schedule=ScheduleSpec(start_at=DUE)),
        planned(None),
        planned(run=run()),
        planned(status=JobStatus.PAUSED),
        planned(status=JobStatus.COMPLETED),
    ],
    ids=["an interval", "a one-shot", "nothing ahead", "a retry wait", "paused", "over"],
)
def test_what_is_no_occurrence_of_a_cron_is_left_alone(job: Job) -> None:
    assert recheck(job, NOW) is None


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_the_occurrence_behind_a_run_is_moved(status: JobStatus) -> None:
    assert moved_to(planned(status=status, run=run())) == DUE


def test_an_occurrence_that_a_faster_clock_has_taken_is_not_found_again() -> None:
    """The clock of another member of the replica set, that was the primary when the job was last moved."""
    early = DUE - timedelta(seconds=1)
    tomorrow = DUE + 24 * HOUR
    assert moved_to(planned(tomorrow + HOUR, status=JobStatus.RUNNING, run=run(DUE)), early) == tomorrow
    assert moved_to(planned(tomorrow + HOUR, updated_at=DUE), early) == tomorrow
    assert recheck(planned(DUE + HOUR, updated_at=DUE + HOUR), early) is None


def test_one_run_a_day_stays_one_run_on_the_day_of_the_change() -> None:
    # Nine o'clock has passed by today's rules, and nothing ran: it is run as it was promised.
    assert recheck(planned(DUE + HOUR), DUE + HOUR / 2) is None
    # By the other rules it ran an hour ago: it is not run again at nine.
    ran = planned(DUE + 23 * HOUR, updated_at=DUE - HOUR)
    assert moved_to(ran, DUE - HOUR / 2) == DUE + 24 * HOUR


def test_an_instant_that_other_rules_have_left_out_is_found() -> None:
    assert moved_to(planned(DUE + 24 * HOUR)) == DUE


def test_beside_a_start_and_an_end_the_nearest_instant_is_within() -> None:
    assert moved_to(planned(DUE + 2 * HOUR, schedule=replace(NINE, start_at=DUE + HOUR))) == DUE + 24 * HOUR
    assert moved_to(planned(DUE + 20 * HOUR, schedule=replace(NINE, end_date=DUE + 21 * HOUR))) == DUE


def test_a_start_that_is_still_to_come_is_kept_to() -> None:
    start = NOW + 30 * HOUR
    assert moved_to(planned(schedule=replace(NINE, start_at=start))) == DUE + 48 * HOUR


def test_the_last_instant_before_an_end_is_not_lost_when_today_s_rules_have_none_left() -> None:
    end = DUE - timedelta(minutes=1)
    stored = make_job(schedule=replace(NINE, end_date=DUE))
    assert stored.recurrence is not None
    job = replace(stored, next_run_at=DUE - HOUR, recurrence=replace(stored.recurrence, end_date=end))
    assert recheck(job, NOW) is None


def test_a_rule_that_is_no_longer_understood_is_told_of() -> None:
    job = planned()
    assert job.recurrence is not None
    with pytest.raises(CronError, match="Mars/Base"):
        recheck(replace(job, recurrence=replace(job.recurrence, rule=Cron("0 9 * * *", "Mars/Base"))), NOW)


@given(crons, instants, st.integers(0, 5000), st.integers(0, 5000), st.sampled_from(MissedRuns))
def test_what_today_s_rules_have_stored_is_right(
    rule: Cron, begin: datetime, late: int, later: int, missed: MissedRuns
) -> None:
    spec = ScheduleSpec(cron=rule.expression, tz=rule.tz, missed=missed)
    job = make_job(schedule=spec, now=begin)
    assert recheck(job, begin) is None
    assert job.next_run_at is not None
    promoted_at = job.next_run_at + timedelta(minutes=late)
    promotion = promote(replace(job, status=JobStatus.SCHEDULED, run=None), promoted_at)
    taken = replace(
        job,
        status=promotion.status,
        run=promotion.run,
        next_run_at=promotion.next_run_at,
        catch_up_until=promotion.catch_up_until,
        updated_at=promoted_at,
    )
    assert recheck(taken, promoted_at) is None
    assert recheck(taken, promoted_at + timedelta(minutes=later)) is None
