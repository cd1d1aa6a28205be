"""Every kind of transition against a real MongoDB: what it writes, and that it misses what it must not touch."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.access import EVERYWHERE
from jobs.decisions import Failed, LeaseExpired, Outcome, Released, Succeeded, decide
from jobs.job import Job, JobError, Run
from jobs.lifecycle import JobStatus
from jobs.promotion import promote
from jobs.schedule import ScheduleSpec
from storage.client import Database
from storage.clock import DatabaseClock
from storage.job_updates import Claim, Finish, NewJob, Progress, first_nudge
from storage.jobs import JobReader, RunRef
from storage.transitions import JobWriter, KeyTaken, Steered
from tests.factories import every, make_job

LEASE = timedelta(seconds=15)
TASKS = [("demo", "echo")]
OOPS = JobError("OOPS", "$it broke")


class Store:
    """A database with the calls that these tests are made of."""

    def __init__(self, database: Database) -> None:
        self.raw = database
        self.reader = JobReader(database)
        self.writer = JobWriter(database)
        self.clock = DatabaseClock(database)

    async def dispatch(self, job_id: str = "job_1", **changes: Any) -> Job:
        await self.clock.synchronise()
        job = make_job(job_id=job_id, now=self.clock.now(), **changes)
        await self.writer.insert_many([NewJob(job, "ann", nudged=False)])
        return job

    async def claim(self, ref: RunRef, token: str = "t1", lease: timedelta = LEASE) -> Job | None:
        [claimed] = await self.writer.claim_many([Claim(ref, "w1", token, lease)])
        assert not isinstance(claimed, Exception)
        return claimed

    async def running(self, token: str = "t1", lease: timedelta = LEASE, **changes: Any) -> tuple[Job, Run]:
        job = await self.dispatch(**changes)
        assert job.run is not None
        claimed = await self.claim(first_nudge(job, job.run), token, lease)
        assert claimed is not None
        assert claimed.run is not None
        return claimed, claimed.run

    async def finish(self, job: Job, run: Run, outcome: Outcome, token: str = "t1") -> bool | Exception:
        decision = decide(job, run, outcome, now=self.clock.now(), draw=0.0)
        [held] = await self.writer.finish_many([Finish(job.id, token, decision, job.steered)])
        return held

    async def get(self, job_id: str = "job_1") -> Job:
        job = await self.reader.find(EVERYWHERE, job_id)
        assert job is not None
        return job

    async def outbox(self, job_id: str = "job_1") -> list[dict[str, Any]]:
        document = await self.raw["jobs"].find_one({"_id": job_id})
        outbox: list[dict[str, Any]] = document["outbox"]
        return outbox

    async def events(self, job_id: str = "job_1") -> list[str]:
        outbox = await self.outbox(job_id)
        assert [entry["seq"] for entry in outbox] == list(range(1, len(outbox) + 1))
        return [entry["type"] for entry in outbox]


@pytest.fixture
def store(any_database: Database) -> Store:
    return Store(any_database)


async def test_what_was_dispatched_is_what_is_read(store: Store) -> None:
    schedule = ScheduleSpec(cron="0 8 * * 1-5", tz="Europe/Berlin", limit=3)
    job = await store.dispatch(
        input={"$where": "1", "a.b": [None, {"$ne": 2**53}]},
        tags=("x", "y"),
        timeout_ms=2500,
        idempotency_key="k",
        schedule=schedule,
    )
    assert await store.get() == job
    assert await store.events() == ["job.scheduled"]


async def test_a_job_due_at_once_is_announced_as_scheduled_and_queued(store: Store) -> None:
    await store.dispatch()
    assert await store.events() == ["job.scheduled", "job.queued"]
    assert [entry["actor"] for entry in await store.outbox()] == ["ann", "ann"]


async def test_a_taken_idempotency_key_is_refused_and_the_others_are_inserted(store: Store) -> None:
    first = await store.dispatch(idempotency_key="k")
    others = [make_job(job_id="job_2", idempotency_key="k"), make_job(job_id="job_3", idempotency_key="k2")]
    answers = await store.writer.insert_many([NewJob(job, None, nudged=False) for job in others])
    assert isinstance(answers[0], KeyTaken)
    assert answers[1] is None
    assert await store.reader.find(EVERYWHERE, "job_2") is None
    assert await store.writer.find_by_key(EVERYWHERE, "shop", "prd", "k") == first


async def test_the_same_key_in_another_env_is_another_key(store: Store) -> None:
    await store.dispatch(idempotency_key="k")
    other = make_job(job_id="job_2", idempotency_key="k", env="dev")
    assert await store.writer.insert_many([NewJob(other, None, nudged=False)]) == [None]


async def test_a_claim_takes_the_run_with_a_lease_of_the_database_s_time(store: Store) -> None:
    job, run = await store.running()
    assert job.status is JobStatus.RUNNING
    assert (run.token, run.worker, run.attempt) == ("t1", "w1", 1)
    assert run.started_at == job.started_at
    assert run.lease_until is not None
    assert run.started_at is not None
    assert run.lease_until - run.started_at == LEASE
    assert (job.execution_count, job.revision) == (1, 2)
    assert await store.events() == ["job.scheduled", "job.queued", "job.started"]


async def test_only_one_of_two_claims_in_one_batch_wins(store: Store) -> None:
    job = await store.dispatch()
    assert job.run is not None
    ref = first_nudge(job, job.run)
    claims = [Claim(ref, "w1", "t1", LEASE), Claim(replace(ref, nudge=2), "w1", "t2", LEASE)]
    won = [claimed for claimed in await store.writer.claim_many(claims) if claimed is not None]
    assert [claimed.run.token for claimed in won if isinstance(claimed, Job) and claimed.run] == ["t1"]


@pytest.mark.parametrize("stale", [{"number": 2}, {"attempt": 2}, {"job_id": "job_9"}])
async def test_a_stale_nudge_claims_nothing(store: Store, stale: dict[str, Any]) -> None:
    job = await store.dispatch()
    assert job.run is not None
    assert await store.claim(replace(first_nudge(job, job.run), **stale)) is None
    assert await store.get() == job


async def test_success_completes_a_one_shot_and_keeps_its_run_for_the_history(store: Store) -> None:
    job, run = await store.running()
    assert await store.finish(job, run, Succeeded({"$set": 1})) is True
    done = await store.get()
    assert (done.status, done.result, done.run, done.next_run_at) == (JobStatus.COMPLETED, {"$set": 1}, None, None)
    assert done.completed_at is not None
    assert (done.tally.completed, done.tally.total) == (1, 1)
    last = (await store.outbox())[-1]
    assert last["type"] == "job.completed"
    assert last["execution"] == {
        "number": 1,
        "scheduled_for": run.scheduled_for,
        "started_at": run.started_at,
        "completed_at": done.completed_at,
        "status": "completed",
        "attempts": 1,
        "error": None,
        "result": {"$set": 1},
        "worker": "w1",
    }
    assert last["effective_at"] == done.completed_at


async def test_a_failed_attempt_waits_and_is_not_yet_a_failed_run(store: Store) -> None:
    job, run = await store.running(retries=1)
    assert await store.finish(job, run, Failed(OOPS)) is True
    waiting = await store.get()
    assert (waiting.status, waiting.last_error, waiting.retry_count) == (JobStatus.SCHEDULED, OOPS, 1)
    assert waiting.scheduled_at == waiting.next_run_at
    assert waiting.tally.total == 0
    assert waiting.run is not None
    assert (waiting.run.attempt, waiting.run.started_at) == (2, run.started_at)
    last = (await store.outbox())[-1]
    assert (last["type"], last["reason"], last["execution"]) == ("job.retrying", "retry 1 of 1", None)


async def test_a_retry_is_claimed_as_the_next_attempt_of_the_same_run(store: Store) -> None:
    job, run = await store.running(retries=1)
    await store.finish(job, run, Failed(OOPS))
    waiting = await store.get()
    assert waiting.next_run_at is not None
    [ref], _ = await store.writer.promote_many([(waiting, promote(waiting, waiting.next_run_at))], nudged=1)
    again = await store.claim(ref, "t2")
    assert again is not None
    assert again.run is not None
    assert (again.run.number, again.run.attempt, again.run.started_at) == (1, 2, run.started_at)
    assert (again.execution_count, again.retry_count, again.scheduled_at) == (1, 1, run.scheduled_for)
    await store.finish(again, again.run, Succeeded(1), "t2")
    done = await store.get()
    assert (done.status, done.last_error, done.retry_count) == (JobStatus.COMPLETED, None, 1)
    assert (await store.outbox())[-1]["execution"]["attempts"] == 2


async def test_failure_clears_the_result_of_the_run_before(store: Store) -> None:
    job, run = await store.running(schedule=every(1))
    await store.finish(job, run, Succeeded("first"))
    waiting = await store.get()
    assert waiting.status is JobStatus.SCHEDULED
    assert waiting.next_run_at is not None
    [ref], _ = await store.writer.promote_many([(waiting, promote(waiting, waiting.next_run_at))], nudged=1)
    again = await store.claim(ref, "t2")
    assert again is not None
    assert again.run is not None
    assert again.result == "first"
    await store.finish(again, again.run, Failed(OOPS), "t2")
    failed_run = await store.get()
    assert (failed_run.result, failed_run.last_error) == (None, OOPS)
    assert (failed_run.tally.completed, failed_run.tally.failed, failed_run.execution_count) == (1, 1, 2)


@pytest.mark.parametrize("outcome", [Succeeded(1), Failed(OOPS), Released("shutdown")])
async def test_a_stale_token_changes_nothing(store: Store, outcome: Outcome) -> None:
    job, run = await store.running()
    assert await store.finish(job, run, outcome, token="stale") is False
    assert await store.get() == job
    assert len(await store.outbox()) == 3


async def test_a_batch_tells_the_stale_from_the_others(store: Store) -> None:
    first, run = await store.running()
    await store.running("t2", job_id="job_2")
    decision = decide(first, run, Succeeded(1), now=store.clock.now(), draw=0.0)
    attempts = [("job_1", "stale"), ("job_2", "t2"), ("job_1", "t1")]
    finishes = [Finish(job_id, token, decision, 0) for job_id, token in attempts]
    assert await store.writer.finish_many(finishes) == [False, True, True]


async def test_a_write_that_is_repeated_after_an_unknown_outcome_was_done(store: Store) -> None:
    job, run = await store.running()
    assert await store.finish(job, run, Succeeded(1)) is True
    assert await store.finish(job, run, Succeeded(1)) is True
    assert (await store.get()).tally.completed == 1


async def test_a_released_run_is_queued_again_as_the_same_attempt(store: Store) -> None:
    job, run = await store.running()
    assert await store.finish(job, run, Released("the worker shut down")) is True
    queued = await store.get()
    assert (queued.status, queued.run and queued.run.attempt) == (JobStatus.QUEUED, 1)
    [ref] = await store.reader.backlog(TASKS, 10, patience_ms=5000)
    assert (ref.attempt, ref.nudge) == (1, 1)
    assert (await store.claim(ref, "t2")) is not None


async def test_progress_is_told_and_a_stale_one_is_not(store: Store) -> None:
    await store.running()
    reports = [Progress("job_1", "t1", 0.25, "$a quarter"), Progress("job_1", "stale", 0.9, None)]
    assert await store.writer.report_progress_many(reports) == [None, None]
    job = await store.get()
    assert (job.progress, job.progress_message) == (0.25, "$a quarter")
    assert (await store.events())[-1] == "job.progress"


async def test_an_expired_lease_is_found_and_taken(store: Store) -> None:
    job, run = await store.running(lease=timedelta(milliseconds=-1))
    now, [expired] = await store.reader.expired(10)
    assert now is not None
    assert expired == job
    assert await store.writer.expire(expired, decide(expired, run, LeaseExpired(), now=now, draw=0.0))
    queued = await store.get()
    assert (queued.status, queued.run and queued.run.attempt) == (JobStatus.QUEUED, 2)
    assert (await store.outbox())[-1]["reason"] == "worker w1 was lost"
    await store.finish(job, run, Succeeded(1))
    assert await store.get() == queued


async def test_a_lease_that_still_holds_is_not_taken(store: Store) -> None:
    job, run = await store.running()
    assert await store.reader.expired(10) == (None, [])
    assert not await store.writer.expire(job, decide(job, run, LeaseExpired(), now=store.clock.now(), draw=0.0))
    assert await store.get() == job


async def test_a_lease_that_was_renewed_since_it_was_seen_to_be_over_is_not_taken_even_when_that_one_is_over_too(
    store: Store,
) -> None:
    """The driver sends a write once more when an outage is over."""
    job, run = await store.running(lease=timedelta(hours=-2))
    renewed = {"$set": {"run.lease_until": store.clock.now() - timedelta(hours=1)}}
    await store.raw["jobs"].update_one({"_id": job.id}, renewed)
    assert not await store.writer.expire(job, decide(job, run, LeaseExpired(), now=store.clock.now(), draw=0.0))
    assert (await store.get()).status is JobStatus.RUNNING


async def test_a_job_that_does_not_run_cannot_expire(store: Store) -> None:
    job = await store.dispatch()
    running, run = await store.running("t2", job_id="job_2")
    decision = decide(running, run, LeaseExpired(), now=store.clock.now(), draw=0.0)
    assert not await store.writer.expire(job, decision)


@pytest.mark.parametrize("status", ["scheduled", "queued", "running"])
async def test_cancelling(store: Store, status: str) -> None:
    if status == "running":
        await store.running()
    else:
        delay = timedelta(hours=1 if status == "scheduled" else 0)
        await store.clock.synchronise()
        await store.dispatch(schedule=ScheduleSpec(start_at=store.clock.now() + delay))
    cancelled = await store.writer.cancel(EVERYWHERE, "job_1", actor="$bob", reason="$no longer wanted")
    assert cancelled is not None
    assert (cancelled.status, cancelled.run, cancelled.next_run_at) == (JobStatus.CANCELLED, None, None)
    assert cancelled.cancelled is not None
    assert (cancelled.cancelled.by, cancelled.cancelled.reason) == ("$bob", "$no longer wanted")
    assert cancelled.cancelled.at == cancelled.completed_at
    last = (await store.outbox())[-1]
    assert (last["type"], last["actor"], last["reason"]) == ("job.cancelled", "$bob", "$no longer wanted")
    was_running = status == "running"
    assert bool(last["execution"]) is was_running
    assert cancelled.tally.cancelled == int(was_running)


async def test_a_late_result_of_a_cancelled_run_is_discarded(store: Store) -> None:
    job, run = await store.running()
    cancelled = await store.writer.cancel(EVERYWHERE, "job_1", actor=None, reason=None)
    assert await store.finish(job, run, Succeeded(1)) is False
    assert await store.get() == cancelled


async def test_terminal_and_unknown_jobs_are_not_cancelled(store: Store) -> None:
    job, run = await store.running()
    await store.finish(job, run, Succeeded(1))
    done = await store.get()
    assert await store.writer.cancel(EVERYWHERE, "job_1", actor=None, reason=None) is None
    assert await store.writer.cancel(EVERYWHERE, "job_9", actor=None, reason=None) is None
    assert await store.get() == done


async def test_a_cancelled_job_is_not_claimed(store: Store) -> None:
    job = await store.dispatch()
    assert job.run is not None
    await store.writer.cancel(EVERYWHERE, "job_1", actor=None, reason=None)
    assert await store.claim(first_nudge(job, job.run)) is None


async def test_due_jobs_are_found_by_the_database_s_clock_oldest_first(store: Store) -> None:
    await store.clock.synchronise()
    soon = store.clock.now() + timedelta(hours=1)
    for number in (1, 2, 3):
        await store.dispatch(f"job_{number}", schedule=ScheduleSpec(start_at=soon - timedelta(minutes=number)))
    assert await store.reader.due(10) == (None, [])
    assert await store.reader.next_due_at() == soon - timedelta(minutes=3)
    past = soon - timedelta(hours=2)
    await store.raw["jobs"].update_many({"_id": {"$in": ["job_1", "job_2"]}}, [{"$set": {"next_run_at": past}}])
    await store.raw["jobs"].update_one({"_id": "job_1"}, {"$set": {"next_run_at": past + timedelta(seconds=1)}})
    now, due = await store.reader.due(10)
    assert now is not None
    assert [job.id for job in due] == ["job_2", "job_1"]


async def test_of_two_promotions_from_the_same_reading_one_counts(store: Store) -> None:
    await store.clock.synchronise()
    at = store.clock.now() + timedelta(seconds=30)
    job = await store.dispatch(schedule=every(30, start_at=at))
    promotion = promote(job, at)
    await store.writer.promote_many([(job, promotion)], nudged=0)
    queued = await store.get()
    await store.writer.promote_many([(job, promotion)], nudged=0)
    assert await store.get() == queued
    assert (queued.status, queued.scheduled_at) == (JobStatus.QUEUED, at)
    assert queued.next_run_at == at + timedelta(seconds=30)
    assert await store.events() == ["job.scheduled", "job.queued"]


async def test_jobs_promoted_alike_are_moved_on_each_by_itself(store: Store) -> None:
    await store.clock.synchronise()
    at = store.clock.now() + timedelta(seconds=30)
    jobs = [await store.dispatch(f"job_{number}", schedule=ScheduleSpec(start_at=at)) for number in (1, 2, 3, 4)]
    await store.writer.cancel(EVERYWHERE, "job_2", actor=None, reason=None)
    refs, moved = await store.writer.promote_many([(job, promote(job, at)) for job in jobs], nudged=3)
    assert moved == 3
    assert [ref.job_id for ref in refs] == ["job_1", "job_2", "job_3"]
    after = [await store.get(job.id) for job in jobs]
    assert [job.status for job in after] == [JobStatus.QUEUED, JobStatus.CANCELLED, JobStatus.QUEUED, JobStatus.QUEUED]
    assert [job.run and (job.run.nudges, job.run.scheduled_for) for job in after] == [(1, at), None, (1, at), (0, at)]
    assert [job.revision - before.revision for job, before in zip(after, jobs, strict=True)] == [1, 1, 1, 1]


async def test_a_job_that_cannot_be_moved_holds_up_none_of_its_like(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await store.clock.synchronise()
    at = store.clock.now() + timedelta(seconds=30)
    jobs = [await store.dispatch(f"job_{number}", schedule=ScheduleSpec(start_at=at)) for number in (1, 2, 3, 4)]
    await store.raw["jobs"].update_one({"_id": "job_2"}, {"$set": {"outbox": "broken"}})
    _, moved = await store.writer.promote_many([(job, promote(job, at)) for job in jobs], nudged=0)
    stored = {one["_id"]: one["status"] async for one in store.raw["jobs"].find()}
    assert [stored[job.id] for job in jobs] == [
        JobStatus.QUEUED,
        JobStatus.SCHEDULED,
        JobStatus.QUEUED,
        JobStatus.QUEUED,
    ]
    assert moved > 0
    assert "job job_2 cannot be moved on" in caplog.text


async def test_the_backlog_is_in_order_of_priority_and_age_without_what_was_just_nudged(store: Store) -> None:
    for number, priority in ((1, 0), (2, 5), (3, 0), (4, 5)):
        await store.dispatch(f"job_{number}", priority=priority)
    refs = await store.reader.backlog(TASKS, 10, patience_ms=60_000)
    assert [(ref.job_id, ref.nudge, ref.priority) for ref in refs] == [
        ("job_2", 1, 5),
        ("job_4", 1, 5),
        ("job_1", 1, 0),
        ("job_3", 1, 0),
    ]
    await store.writer.mark_nudged(refs[:1])
    assert [ref.job_id for ref in await store.reader.backlog(TASKS, 2, patience_ms=60_000)] == ["job_4", "job_1"]
    assert [ref.nudge for ref in await store.reader.backlog(TASKS, 1, patience_ms=-5000)] == [2]


async def test_a_stale_finish_is_not_told_that_it_was_the_one_that_ended_the_attempt(store: Store) -> None:
    job, run = await store.running(lease=timedelta(milliseconds=1))
    while not (await store.reader.expired(1))[1]:
        pass  # until the lease is over by the database's clock
    assert await store.writer.expire(job, decide(job, run, LeaseExpired(), now=store.clock.now(), draw=0.0))
    assert await store.finish(job, run, Succeeded("late")) is False


async def test_the_note_of_a_pause_ends_with_the_job(store: Store) -> None:
    job, run = await store.running(schedule=every(60, limit=1))
    await store.writer.pause(EVERYWHERE, job.id, actor="ann", reason="rest")
    pausing = await store.get()
    assert pausing.paused is not None
    assert await store.finish(pausing, run, Failed(OOPS)) is True
    failed = await store.get()
    assert (failed.status, failed.paused) == (JobStatus.FAILED, None)


async def test_a_finish_that_was_decided_before_a_pause_is_decided_again(store: Store) -> None:
    job, run = await store.running(schedule=every(60))
    await store.writer.pause(EVERYWHERE, job.id, actor="ann", reason=None)
    assert isinstance(await store.finish(job, run, Succeeded(1)), Steered)
    assert (await store.get()).status is JobStatus.RUNNING


async def test_a_run_that_was_given_back_and_then_paused_is_recorded_as_interrupted(store: Store) -> None:
    job, run = await store.running(schedule=every(60))
    assert await store.finish(job, run, Released("the worker shut down")) is True
    await store.writer.pause(EVERYWHERE, job.id, actor="ann", reason=None)
    paused = await store.get()
    assert (paused.status, paused.completed_at) == (JobStatus.PAUSED, paused.updated_at)
    assert paused.last_error is not None
    assert paused.last_error.code == "INTERRUPTED"
    assert (await store.outbox())[-1]["execution"]["attempts"] == 1


async def test_the_backlog_of_a_worker_is_what_it_can_run(store: Store) -> None:
    """However urgent: what nobody can run would be nudged in vain, for ever ahead of the others."""
    await store.dispatch("job_1", task="other", priority=9)
    await store.dispatch("job_2")
    assert [ref.job_id for ref in await store.reader.backlog(TASKS, 10, patience_ms=5000)] == ["job_2"]
    assert await store.reader.backlog([], 10, patience_ms=5000) == []
