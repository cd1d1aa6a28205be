"""Workers on real servers: the whole way of a job, and what handlers can do to a worker."""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.dispatch import RetrySpec
from jobs.events import EventType
from jobs.job import Job
from jobs.lifecycle import JobStatus
from jobs.recurrence import Overlap
from jobs.schedule import ScheduleSpec
from storage.client import Database
from storage.job_updates import Claim
from storage.outbox import Outbox
from storage.transitions import JobWriter
from tests.factories import every
from tests.installation import DEADLINE, Installation, installed, offer
from worker.context import CancelReason, RunCancelled, TaskContext
from worker.tasks import TaskError

DONE = (EventType.JOB_COMPLETED, EventType.JOB_FAILED, EventType.JOB_CANCELLED)


@pytest.fixture
async def installation(database: Database, servers: Servers, redis_url: str) -> AsyncIterator[Installation]:
    async with installed(database, servers.mongodb_url, redis_url) as installation:
        yield installation


async def echo(_: TaskContext, value: Any) -> Any:
    return value


async def types_told(installation: Installation, job: Job) -> list[str]:
    events = [event for event in installation.told if event.job_id == job.id]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [event.type.value.removeprefix("job.") for event in events]


async def test_a_job_from_dispatch_to_its_history(installation: Installation) -> None:
    await installation.worker({"demo.echo": echo})
    job = await installation.dispatch(input={"hello": "world"})
    await installation.until(job, *DONE)
    done = await installation.job(job)
    assert (done.status, done.result, done.execution_count) == (JobStatus.COMPLETED, {"hello": "world"}, 1)
    assert await types_told(installation, job) == ["scheduled", "queued", "started", "completed"]
    [run] = await installation.runs(job)
    assert (run.number, run.attempts, run.status, run.result) == (1, 1, JobStatus.COMPLETED, {"hello": "world"})
    assert run.started_at == done.started_at
    assert run.completed_at == done.completed_at


async def test_a_later_job_runs_at_its_time(installation: Installation) -> None:
    await installation.worker({"demo.echo": echo})
    due = installation.services.clock.now() + timedelta(seconds=0.7)
    job = await installation.dispatch(schedule=ScheduleSpec(start_at=due))
    await installation.until(job, *DONE)
    done = await installation.job(job)
    assert done.started_at is not None
    assert due <= done.started_at < due + timedelta(seconds=5)
    assert done.scheduled_at == due
    assert await types_told(installation, job) == ["scheduled", "queued", "started", "completed"]


async def test_a_worker_hears_of_work_and_need_not_look_for_it(installation: Installation) -> None:
    await offer(installation.services.jobs._jobs.database, "demo.echo")
    await installation.worker({"demo.echo": echo}, poll_every=timedelta(hours=1))
    for number in range(3):
        job = await installation.dispatch(input=number)
        await installation.until(job, EventType.JOB_COMPLETED)


async def test_retries_until_it_succeeds(installation: Installation) -> None:
    async def third_time_lucky(context: TaskContext, _: Any) -> Any:
        if context.attempt < 3:
            raise TaskError("BUSY", f"attempt {context.attempt}")
        return context.run_key

    await installation.worker({"demo.third_time_lucky": third_time_lucky})
    job = await installation.dispatch("demo.third_time_lucky", retries=5, retry=RetrySpec(initial_delay_ms=50))
    await installation.until(job, *DONE)
    done = await installation.job(job)
    assert (done.status, done.retry_count, done.last_error) == (JobStatus.COMPLETED, 2, None)
    assert (done.result, done.execution_count) == (f"{job.id}:1", 1)
    attempts = ["queued", "started", "retrying"] * 2
    assert await types_told(installation, job) == ["scheduled", *attempts, "queued", "started", "completed"]
    [run] = await installation.runs(job)
    assert run.attempts == 3


async def test_retries_until_they_are_spent(installation: Installation) -> None:
    async def always_busy(_: TaskContext, __: Any) -> Any:
        raise TaskError("BUSY", "still busy")

    await installation.worker({"demo.busy": always_busy})
    job = await installation.dispatch("demo.busy", retries=2, retry=RetrySpec(initial_delay_ms=20))
    await installation.until(job, *DONE)
    done = await installation.job(job)
    assert (done.status, done.retry_count) == (JobStatus.FAILED, 2)
    assert done.last_error is not None
    assert (done.last_error.code, done.last_error.message) == ("BUSY", "still busy")
    [run] = await installation.runs(job)
    assert (run.status, run.attempts, run.error) == (JobStatus.FAILED, 3, done.last_error)


async def test_an_interval_runs_to_its_limit(installation: Installation) -> None:
    async def number(context: TaskContext, _: Any) -> Any:
        return context.execution

    await installation.worker({"demo.number": number})
    job = await installation.dispatch("demo.number", schedule=every(1, limit=3, overlap=Overlap.QUEUE_ONE))
    await installation.until(job, *DONE, times=3)
    done = await installation.job(job)
    assert (done.status, done.execution_count, done.next_run_at) == (JobStatus.COMPLETED, 3, None)
    runs = await installation.runs(job)
    assert [(run.number, run.result) for run in runs] == [(3, 3), (2, 2), (1, 1)]
    assert {runs[0].scheduled_for - runs[1].scheduled_for, runs[1].scheduled_for - runs[2].scheduled_for} == {
        timedelta(seconds=1)
    }


async def test_a_failed_run_does_not_stop_a_recurring_job(installation: Installation) -> None:
    async def odd_ones_fail(context: TaskContext, _: Any) -> Any:
        if context.execution % 2:
            raise ValueError("odd")
        return "even"

    await installation.worker({"demo.odd": odd_ones_fail})
    job = await installation.dispatch("demo.odd", schedule=every(1, limit=2))
    await installation.until(job, EventType.JOB_COMPLETED)
    done = await installation.job(job)
    assert (done.status, done.tally.completed, done.tally.failed) == (JobStatus.COMPLETED, 1, 1)
    assert [run.error and run.error.code for run in await installation.runs(job)] == [None, "ValueError"]


async def test_a_synchronous_handler_reports_its_progress(installation: Installation) -> None:
    first_told = threading.Event()

    def count(context: TaskContext, _: Any) -> Any:
        context.report_progress(0.5, "half")
        assert first_told.wait(10)
        return threading.current_thread().name

    await installation.worker({"demo.count": count})
    job = await installation.dispatch("demo.count")
    [*_, progress] = await installation.until(job, EventType.JOB_PROGRESS)
    halfway = await installation.job(job)
    assert (halfway.progress, halfway.progress_message) == (0.5, "half")
    assert progress.snapshot.status is JobStatus.RUNNING
    first_told.set()
    await installation.until(job, *DONE)
    assert (await installation.job(job)).result == f"run {job.id}:1"


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        ({1, 2}, "RESULT_NOT_JSON", "set is not JSON at the top"),
        ({"a": float("nan")}, "RESULT_NOT_JSON", "not finite at a"),
        ("x" * 300_000, "RESULT_TOO_LARGE", "300002 bytes"),
    ],
)
async def test_an_answer_that_cannot_be_kept_fails_the_run_at_once(
    installation: Installation, answer: Any, code: str, message: str
) -> None:
    async def bad(_: TaskContext, __: Any) -> Any:
        return answer

    await installation.worker({"demo.bad": bad})
    job = await installation.dispatch("demo.bad", retries=5)
    await installation.until(job, *DONE)
    failed = await installation.job(job)
    assert failed.status is JobStatus.FAILED
    assert failed.last_error is not None
    assert failed.last_error.code == code
    assert message in failed.last_error.message


async def test_a_handler_that_never_ends_times_out(installation: Installation) -> None:
    reasons: list[CancelReason | None] = []

    async def forever(context: TaskContext, _: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            reasons.append(context.cancel_reason)

    await installation.worker({"demo.forever": forever})
    job = await installation.dispatch("demo.forever", timeout_ms=200)
    await installation.until(job, *DONE)
    failed = await installation.job(job)
    assert failed.last_error is not None
    assert (failed.last_error.code, failed.last_error.message) == ("TIMEOUT", "the handler did not end within 0.2 s")
    assert reasons == [CancelReason.TIMEOUT]


async def test_a_handler_that_swallows_its_cancellation_has_timed_out_all_the_same(installation: Installation) -> None:
    async def stubborn(_: TaskContext, __: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "as if nothing had happened"

    await installation.worker({"demo.stubborn": stubborn})
    job = await installation.dispatch("demo.stubborn", timeout_ms=100)
    await installation.until(job, *DONE)
    failed = await installation.job(job)
    assert failed.last_error is not None
    assert (failed.status, failed.last_error.code) == (JobStatus.FAILED, "TIMEOUT")


async def test_a_thread_that_ignores_its_timeout_is_abandoned_and_others_run(installation: Installation) -> None:
    release = threading.Event()

    def deaf(_: TaskContext, __: Any) -> Any:
        release.wait(30)

    await installation.worker({"demo.deaf": deaf, "demo.echo": echo}, concurrency=1)
    job = await installation.dispatch("demo.deaf", timeout_ms=100)
    await installation.until(job, *DONE)
    failed = await installation.job(job)
    assert failed.last_error is not None
    assert failed.last_error.message == "the handler did not end within 0.1 s, and ignored its cancellation"
    other = await installation.dispatch()
    await installation.until(other, EventType.JOB_COMPLETED)
    release.set()


async def test_a_handler_that_blocks_the_loop_keeps_its_lease_and_overruns_its_timeout(
    installation: Installation, mongodb: MongoClient[dict[str, Any]], database_name: str
) -> None:
    jobs, running = mongodb[database_name]["jobs"], {"status": "running"}
    blocked: list[bool] = []

    async def block(_: TaskContext, __: Any) -> Any:
        """Exactly what a handler must not do: hold up the loop, until the lease that it was given has run out."""
        lease = jobs.find_one(running)["run"]["lease_until"]  # type: ignore[index]  # this very run
        deadline = time.monotonic() + DEADLINE
        while jobs.find_one({**running, "$expr": {"$lte": ["$$NOW", lease]}}) is not None:
            assert time.monotonic() < deadline
        # Nobody but this very worker, whose loop is held up, could take the run meanwhile.
        while jobs.find_one({**running, "$expr": {"$lt": ["$$NOW", "$run.lease_until"]}}) is None:
            assert time.monotonic() < deadline
        blocked.append(True)

    await installation.worker({"demo.block": block}, lease=timedelta(seconds=1.5))
    job = await installation.dispatch("demo.block")
    await installation.until(job, *DONE)
    assert await types_told(installation, job) == ["scheduled", "queued", "started", "completed"]
    limited = await installation.dispatch("demo.block", timeout_ms=1000)
    await installation.until(limited, *DONE)
    failed = await installation.job(limited)
    assert failed.last_error is not None
    assert failed.last_error.code == "TIMEOUT"
    assert blocked == [True, True]


async def test_a_handler_that_exits_does_not_take_the_worker_along(installation: Installation) -> None:
    async def leave(_: TaskContext, __: Any) -> Any:
        sys.exit(3)

    def leave_thread(_: TaskContext, __: Any) -> Any:
        raise KeyboardInterrupt

    await installation.worker({"demo.leave": leave, "demo.leave_thread": leave_thread, "demo.echo": echo})
    for task, code in (("demo.leave", "SystemExit"), ("demo.leave_thread", "KeyboardInterrupt")):
        job = await installation.dispatch(task)
        await installation.until(job, EventType.JOB_FAILED)
        failed = await installation.job(job)
        assert failed.last_error is not None
        assert failed.last_error.code == code
    job = await installation.dispatch()
    await installation.until(job, EventType.JOB_COMPLETED)


async def test_cancelling_a_running_job_stops_its_handler_and_discards_its_result(installation: Installation) -> None:
    reasons: list[CancelReason | None] = []
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def wait(context: TaskContext, _: Any) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            reasons.append(context.cancel_reason)
            stopped.set()

    await installation.worker({"demo.wait": wait}, lease=timedelta(minutes=5))
    job = await installation.dispatch("demo.wait", retries=3)
    await installation.until(job, EventType.JOB_STARTED)
    await begun.wait()
    cancelled = await installation.cancel(job, "campaign ended")
    assert cancelled.status is JobStatus.CANCELLED
    async with asyncio.timeout(20):  # by wake-up, long before the heartbeat of a lease of five minutes
        await stopped.wait()
    assert reasons == [CancelReason.CANCELLED]
    await installation.until(job, EventType.JOB_CANCELLED)
    assert await types_told(installation, job) == ["scheduled", "queued", "started", "cancelled"]
    [run] = await installation.runs(job)
    assert run.status is JobStatus.CANCELLED
    assert await installation.cancel(job, "again") == cancelled


async def test_a_run_that_is_cancelled_before_its_claim_is_answered_is_stopped_as_soon(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim_many, claimed, heard = JobWriter.claim_many, asyncio.Event(), asyncio.Event()

    async def answer_late(writer: JobWriter, claims: Sequence[Claim]) -> Sequence[Job | Exception | None]:
        answers = await claim_many(writer, claims)
        assert isinstance(answers[0], Job)
        claimed.set()
        await heard.wait()
        return answers

    async def wait(_: TaskContext, __: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(JobWriter, "claim_many", answer_late)
    minute = timedelta(minutes=1)
    stop = await installation.worker({"demo.wait": wait}, lease=minute, drain=minute / 2)
    job = await installation.dispatch("demo.wait")
    await claimed.wait()
    await installation.cancel(job)
    await installation.until(job, EventType.JOB_CANCELLED)
    heard.set()
    stop.set()
    stopping = asyncio.ensure_future(installation.stop_workers())
    # Long before the next heartbeat, or the end of the worker's patience.
    assert (await asyncio.wait({stopping}, timeout=12))[0] == {stopping}


async def test_a_synchronous_handler_learns_of_its_cancellation(installation: Installation) -> None:
    outcome: list[BaseException] = []
    begun, finished = threading.Event(), threading.Event()

    def loop(context: TaskContext, _: Any) -> Any:
        begun.set()
        tick = threading.Event()
        try:
            while not tick.wait(0.01):
                context.check()
        except RunCancelled as error:
            outcome.append(error)
            raise
        finally:
            finished.set()

    await installation.worker({"demo.loop": loop})
    job = await installation.dispatch("demo.loop")
    assert await asyncio.to_thread(begun.wait, DEADLINE)
    await installation.cancel(job)
    assert await asyncio.to_thread(finished.wait, DEADLINE)
    assert [error.reason for error in outcome if isinstance(error, RunCancelled)] == [CancelReason.CANCELLED]


async def test_a_worker_that_stops_lets_its_runs_end(installation: Installation) -> None:
    proceed = asyncio.Event()

    async def wait(_: TaskContext, __: Any) -> Any:
        await proceed.wait()
        return "done"

    stop = await installation.worker({"demo.wait": wait})
    job = await installation.dispatch("demo.wait")
    await installation.until(job, EventType.JOB_STARTED)
    stop.set()
    proceed.set()
    # Its end is told by the first, unless the database keeps that one waiting for long as it leaves.
    await installation.worker({"demo.wait": wait})
    await installation.until(job, EventType.JOB_COMPLETED)
    assert await types_told(installation, job) == ["scheduled", "queued", "started", "completed"]
    assert (await installation.runs(job))[0].attempts == 1


async def test_a_worker_that_has_drained_long_enough_releases_its_runs_without_spending_an_attempt(
    installation: Installation,
) -> None:
    async def wait(context: TaskContext, _: Any) -> Any:
        await asyncio.Event().wait()

    async def finish(context: TaskContext, _: Any) -> Any:
        return context.attempt

    stop = await installation.worker({"demo.wait": wait}, drain=timedelta(seconds=0.1))
    job = await installation.dispatch("demo.wait")
    await installation.until(job, EventType.JOB_STARTED)
    stop.set()
    await installation.stop_workers()
    await installation.worker({"demo.wait": finish})
    await installation.until(job, EventType.JOB_QUEUED, times=2)
    await installation.until(job, EventType.JOB_COMPLETED)
    done = await installation.job(job)
    assert (done.result, done.retry_count) == (1, 0)
    assert (await installation.runs(job))[0].attempts == 1


async def test_a_worker_leaves_alone_what_it_cannot_run(installation: Installation, database: Database) -> None:
    await offer(database, "demo.other")
    await installation.worker({"demo.echo": echo})
    job = await installation.dispatch("demo.other")
    marker = await installation.dispatch()
    await installation.until(marker, EventType.JOB_COMPLETED)
    assert (await installation.job(job)).status is JobStatus.QUEUED
    await installation.worker({"demo.other": echo})
    await installation.until(job, EventType.JOB_COMPLETED)


async def test_higher_priorities_start_first(installation: Installation, database: Database) -> None:
    await offer(database, "demo.echo")
    jobs = [await installation.dispatch(priority=priority) for priority in (0, 5, -5, 9, 0)]
    await installation.worker({"demo.echo": echo}, concurrency=1)
    await installation.until_told(lambda: sum(event.type in DONE for event in installation.told) == 5)
    started = [event.job_id for event in installation.told if event.type is EventType.JOB_STARTED]
    assert started == [jobs[index].id for index in (3, 1, 0, 4, 2)]


async def test_more_jobs_than_may_be_outstanding_all_run(installation: Installation) -> None:
    await installation.worker({"demo.echo": echo}, max_outstanding=8)
    jobs = [await installation.dispatch(input=number) for number in range(60)]
    await installation.until_told(lambda: sum(event.type in DONE for event in installation.told) == 60)
    assert [(await installation.job(job)).result for job in jobs] == list(range(60))


async def test_two_workers_share_the_jobs_and_run_none_twice(installation: Installation) -> None:
    ran: list[str] = []

    async def note(context: TaskContext, _: Any) -> Any:
        ran.append(context.job_id)

    await installation.worker({"demo.note": note})
    await installation.worker({"demo.note": note})
    jobs = [await installation.dispatch("demo.note") for _ in range(100)]
    await installation.until_told(lambda: sum(event.type in DONE for event in installation.told) == 100)
    assert sorted(ran) == sorted(job.id for job in jobs)


async def test_what_a_dead_relay_left_half_done_is_told_once(installation: Installation, database: Database) -> None:
    await offer(database, "demo.echo")
    job = await installation.dispatch()
    document = await database["jobs"].find_one({"_id": job.id})
    # A relay that died between its two writes: the first event is in the log, and still in the outbox.
    await Outbox(database).relay(10)
    await database["jobs"].update_one({"_id": job.id}, {"$set": {"outbox": document["outbox"]}})
    await database["events"].delete_one({"job_id": job.id, "seq": 2})
    await installation.worker({"demo.echo": echo})
    await installation.until(job, EventType.JOB_COMPLETED)
    assert await types_told(installation, job) == ["scheduled", "queued", "started", "completed"]
    numbers = [event["_id"] async for event in database["events"].find({}, sort=[("_id", 1)])]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_nudges_are_done_with_once_their_runs_have_begun(installation: Installation) -> None:
    proceed = asyncio.Event()

    async def wait(_: TaskContext, __: Any) -> Any:
        await proceed.wait()

    # Room for twice as many runs as nudges may be outstanding: those that run must not count as waiting.
    await installation.worker({"demo.wait": wait}, concurrency=8, max_outstanding=4)
    jobs = [await installation.dispatch("demo.wait") for _ in range(8)]
    await installation.until_told(lambda: sum(event.type is EventType.JOB_STARTED for event in installation.told) >= 8)
    async with asyncio.timeout(DEADLINE):
        while await installation.services.signals.measure():
            pass  # arq takes a nudge off the queue just after its look has ended
    proceed.set()
    for job in jobs:
        await installation.until(job, EventType.JOB_COMPLETED)
