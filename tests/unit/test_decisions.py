"""What becomes of a job after an attempt: `mission/semantics.md` §1, §3 and §4."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.decisions import Decision, Failed, LeaseExpired, Outcome, Released, Succeeded, decide
from jobs.dispatch import RetrySpec
from jobs.job import JobError, Note
from jobs.lifecycle import RULES, Action, JobStatus
from jobs.recurrence import Every, MissedRuns, Overlap
from jobs.schedule import ScheduleSpec
from tests.factories import NOW, SECOND, every, make_job, make_running

OOPS = JobError("OOPS", "it broke")


def decision_for(outcome: Outcome, *, run: dict[str, Any] | None = None, after: float = 1.0, **job: Any) -> Decision:
    running, claimed = make_running(make_job(**job), **(run or {}))
    return decide(running, claimed, outcome, now=NOW + after * SECOND, draw=0.5)


def test_a_one_shot_that_succeeded_is_completed() -> None:
    decision = decision_for(Succeeded({"ok": True}))
    assert (decision.action, decision.status) == (Action.COMPLETE, JobStatus.COMPLETED)
    assert decision.result == {"ok": True}
    assert decision.ends_run
    assert decision.next_run_at is None


def test_a_failed_attempt_waits_for_its_retry() -> None:
    decision = decision_for(Failed(OOPS), retries=2)
    assert (decision.action, decision.status) == (Action.SCHEDULE_RETRY, JobStatus.SCHEDULED)
    assert decision.next_run_at == NOW + 2 * SECOND  # the attempt took one second, the first delay is another
    assert decision.run is not None
    assert (decision.run.attempt, decision.run.failures, decision.run.token) == (2, 1, None)
    assert decision.error == OOPS


@pytest.mark.parametrize(
    ("outcome", "job"),
    [
        (Failed(OOPS), {"retries": 0}),
        (Failed(OOPS), {"retries": 3, "retry": RetrySpec(non_retryable_errors=("OOPS",))}),
        (Failed(OOPS), {"retries": 3, "retry": RetrySpec(retryable_errors=("TIMEOUT",))}),
        (Failed(OOPS, final=True), {"retries": 3}),
    ],
)
def test_a_failure_that_is_not_to_be_retried_fails_the_job(outcome: Outcome, job: dict[str, Any]) -> None:
    decision = decision_for(outcome, **job)
    assert (decision.action, decision.status) == (Action.FAIL, JobStatus.FAILED)
    assert decision.error == OOPS
    assert decision.result is None


def test_the_budget_of_retries_is_spent_by_failures_only() -> None:
    two_lost = {"attempt": 3, "failures": 0, "expiries": 2}
    assert decision_for(Failed(OOPS), run=two_lost, retries=1).action is Action.SCHEDULE_RETRY
    one_failed = {"attempt": 2, "failures": 1}
    assert decision_for(Failed(OOPS), run=one_failed, retries=1).action is Action.FAIL


def test_a_release_spends_nothing() -> None:
    decision = decision_for(Released("worker shut down"), retries=0)
    assert (decision.action, decision.status) == (Action.RELEASE, JobStatus.QUEUED)
    assert decision.run is not None
    assert (decision.run.attempt, decision.run.failures, decision.run.expiries) == (1, 0, 0)
    assert (decision.run.token, decision.run.worker, decision.run.lease_until) == (None, None, None)


@pytest.mark.parametrize("retries", [0, 5])
def test_a_lost_lease_is_another_attempt_but_no_retry(retries: int) -> None:
    decision = decision_for(LeaseExpired(), retries=retries)
    assert decision.status is JobStatus.QUEUED
    assert decision.run is not None
    assert (decision.run.attempt, decision.run.failures, decision.run.expiries) == (2, 0, 1)


def test_the_third_lost_lease_fails_the_run_whatever_is_left() -> None:
    decision = decision_for(LeaseExpired(), run={"attempt": 3, "expiries": 2}, retries=10)
    assert (decision.action, decision.status) == (Action.FAIL, JobStatus.FAILED)
    assert decision.error is not None
    assert decision.error.code == "WORKER_LOST"


@pytest.mark.parametrize("outcome", [Succeeded(1), Failed(OOPS)])
def test_a_recurring_job_goes_on_however_a_run_ended(outcome: Outcome) -> None:
    decision = decision_for(outcome, schedule=every(30))
    assert decision.status is JobStatus.SCHEDULED
    assert decision.next_run_at == NOW + 30 * SECOND
    assert decision.ends_run


@pytest.mark.parametrize(("outcome", "status"), [(Succeeded(1), "completed"), (Failed(OOPS), "failed")])
def test_the_last_permitted_run_ends_a_recurring_job(outcome: Outcome, status: str) -> None:
    assert decision_for(outcome, schedule=every(30, limit=1)).status == status
    assert decision_for(outcome, schedule=every(30, end_date=NOW + 29 * SECOND)).status == status


@pytest.mark.parametrize(
    ("overlap", "next_run", "told"),
    [
        # The run began at 0 s and took 95 s: 30, 60 and 90 s came due meanwhile.
        (Overlap.SKIP, 120, "3 occurrences skipped: the run was still going on"),
        (Overlap.QUEUE_ONE, 90, "2 occurrences skipped: the run was still going on"),
    ],
)
def test_occurrences_that_came_due_during_the_run(overlap: Overlap, next_run: int, told: str) -> None:
    decision = decision_for(Succeeded(1), after=95, schedule=every(30, overlap=overlap))
    assert decision.next_run_at == NOW + next_run * SECOND
    assert str(decision.passed_over) == told


def test_what_follows_within_a_backlog_keeps_the_pace() -> None:
    schedule = every(30, start_at=NOW, missed=MissedRuns.RUN_ALL)
    waiting = replace(make_job(schedule=schedule), catch_up_until=NOW + 90 * SECOND)
    running, run = make_running(waiting, now=NOW + 100 * SECOND, paced=True)
    ended = decide(running, run, Succeeded(1), now=NOW + 101 * SECOND, draw=0.5)
    assert (ended.next_run_at, ended.catch_up_until, ended.paced) == (NOW + 30 * SECOND, NOW + 90 * SECOND, True)


def test_one_occurrence_is_told_of_in_the_singular() -> None:
    decision = decision_for(Succeeded(1), after=45, schedule=every(30))
    assert str(decision.passed_over) == "1 occurrence skipped: the run was still going on"


OUTCOMES = st.one_of(
    st.just(Succeeded(1)),
    st.builds(Failed, st.builds(JobError, st.sampled_from(["A", "B"]), st.just("m")), st.booleans()),
    st.just(Released("r")),
    st.just(LeaseExpired()),
)
SCHEDULES = st.one_of(
    st.just(ScheduleSpec()),
    st.builds(lambda seconds, limit: every(seconds, limit=limit), st.integers(1, 100), st.none() | st.integers(1, 5)),
)


@given(OUTCOMES, SCHEDULES, st.integers(0, 3), st.integers(0, 500), st.integers(0, 2))
def test_every_decision_obeys_the_lifecycle(
    outcome: Outcome, schedule: ScheduleSpec, retries: int, after: int, expiries: int
) -> None:
    running, run = make_running(make_job(schedule=schedule, retries=retries), expiries=expiries)
    now = NOW + timedelta(seconds=after)
    decision = decide(running, run, outcome, now=now, draw=0.1)
    assert decision.status in RULES[decision.action].targets
    assert (decision.run is None) == (decision.action in (Action.COMPLETE, Action.FAIL))
    if decision.status is JobStatus.SCHEDULED:
        assert decision.next_run_at is not None
    if decision.run is not None:
        assert decision.run.number == run.number
        assert decision.run.attempt >= run.attempt
        assert replace(decision.run, token="t1").token != decision.run.token


# What a pause that was asked for during a run makes of its end.


def paused_decision(outcome: Outcome, *, after: float = 1.0, run: dict[str, Any] | None = None, **job: Any) -> Decision:
    running, claimed = make_running(make_job(**{"schedule": every(60), **job}), **(run or {}))
    pausing = replace(running, paused=Note(NOW, "ann", "maintenance"))
    return decide(pausing, claimed, outcome, now=NOW + after * SECOND, draw=0.5)


def test_a_job_that_was_told_to_pause_rests_from_the_end_of_its_run() -> None:
    decision = paused_decision(Succeeded("ok"))
    assert (decision.action, decision.status, decision.result) == (Action.COMPLETE, JobStatus.PAUSED, "ok")
    assert (decision.next_run_at, decision.catch_up_until) == (None, None)


def test_what_comes_due_while_a_pausing_job_runs_is_not_told_as_skipped() -> None:
    assert paused_decision(Succeeded(1), after=200).reason is None


def test_a_pausing_job_is_not_retried() -> None:
    decision = paused_decision(Failed(OOPS), retries=3)
    assert (decision.action, decision.status, decision.error) == (Action.FAIL, JobStatus.PAUSED, OOPS)


def test_the_last_run_of_a_pausing_job_ends_it() -> None:
    assert paused_decision(Succeeded(1), schedule=every(60, limit=1)).status is JobStatus.COMPLETED


def test_nobody_takes_up_a_pausing_job_that_its_worker_gave_back_or_lost() -> None:
    released = paused_decision(Released("the worker shut down"))
    assert (released.action, released.status) == (Action.FAIL, JobStatus.PAUSED)
    assert released.error == JobError("INTERRUPTED", "the worker shut down, and the job was paused meanwhile")
    lost = paused_decision(LeaseExpired())
    assert (lost.action, lost.status) == (Action.FAIL, JobStatus.PAUSED)
    assert lost.error == JobError("WORKER_LOST", "the worker was lost once during this run, last: w1")


def test_a_rule_that_was_changed_during_a_run_counts_from_its_first_occurrence_on() -> None:
    running, run = make_running(make_job(schedule=every(3600)))
    assert running.recurrence is not None
    every_five = replace(running.recurrence, rule=Every(300 * SECOND, NOW))
    changed = replace(running, recurrence=every_five, next_run_at=NOW + 900 * SECOND)
    decision = decide(changed, run, Succeeded(1), now=NOW + 840 * SECOND, draw=0.5)
    assert (decision.next_run_at, decision.reason) == (NOW + 900 * SECOND, None)


def test_the_last_run_that_the_limit_permits_is_the_end_whatever_had_been_planned_behind_it() -> None:
    running, claimed = make_running(make_job(schedule=every(30, limit=2)), number=2)
    planned = replace(running, next_run_at=NOW + 30 * SECOND)
    decision = decide(planned, claimed, Succeeded(None), now=NOW + SECOND, draw=0.0)
    assert (decision.status, decision.next_run_at) == (JobStatus.COMPLETED, None)
