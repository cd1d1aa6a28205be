"""Pause, resume, reschedule, retry and delete on real servers, between promotions and beside runs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.devstack import Servers
from jobs.access import EVERYWHERE
from jobs.dispatch import RetrySpec
from jobs.errors import InvalidInput, JobNotFound
from jobs.events import EventType
from jobs.job import Job
from jobs.lifecycle import JobStatus
from jobs.refusals import TransitionRefused
from jobs.schedule import ScheduleSpec
from resolvers.steering import delete, pause, reschedule, resume, retry
from storage.client import Database
from tests.factories import every
from tests.installation import ANN, Installation, installed, offer
from worker.context import TaskContext
from worker.tasks import TaskError

HOURLY = every(3600)
DONE = (EventType.JOB_COMPLETED, EventType.JOB_FAILED)


@pytest.fixture
async def installation(database: Database, servers: Servers, redis_url: str) -> AsyncIterator[Installation]:
    await offer(database, "demo.echo", "demo.wait", "demo.fail")
    async with installed(database, servers.mongodb_url, redis_url) as installation:
        yield installation


async def later(installation: Installation, **changes: Any) -> Job:
    """A recurring job whose first run is an hour away."""
    start = installation.services.clock.now() + timedelta(hours=1)
    return await installation.dispatch(schedule=replace(HOURLY, start_at=start), **changes)


async def told(installation: Installation, job: Job) -> list[str]:
    """The events of a job, whether they are in the log or still in its outbox."""
    database = installation.services.jobs._jobs.database
    document = await database["jobs"].find_one({"_id": job.id}, {"outbox": 1})
    stored = [event async for event in database["events"].find({"job_id": job.id}, sort=[("seq", 1)])]
    seqs = {entry["seq"]: entry["type"] for entry in [*stored, *(document or {"outbox": []})["outbox"]]}
    assert sorted(seqs) == list(range(1, len(seqs) + 1))
    return [seqs[seq].removeprefix("job.") for seq in sorted(seqs)]


class Gate:
    """A handler that waits until it is let through, and then does what it was made for."""

    def __init__(self, outcome: Exception | str = "done") -> None:
        self.open = asyncio.Event()
        self.outcome = outcome

    async def __call__(self, _: TaskContext, __: Any) -> Any:
        await self.open.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def opened() -> Gate:
    gate = Gate()
    gate.open.set()
    return gate


# -------------------------------------------------------------------------------------------------------------- pause


async def test_a_scheduled_job_is_paused_once(installation: Installation) -> None:
    job = await later(installation)
    paused = await pause(installation.services, ANN, job.id, "maintenance")
    assert (paused.status, paused.next_run_at, paused.scheduled_at) == (JobStatus.PAUSED, None, job.scheduled_at)
    assert paused.paused is not None
    assert (paused.paused.by, paused.paused.reason) == ("ann", "maintenance")
    assert await pause(installation.services, ANN, job.id, "again") == paused
    assert await told(installation, job) == ["scheduled", "paused"]


async def test_a_queued_run_is_taken_back_and_never_claimed(installation: Installation) -> None:
    job = await installation.dispatch(schedule=HOURLY)
    assert job.status is JobStatus.QUEUED
    paused = await pause(installation.services, ANN, job.id, None)
    assert (paused.status, paused.run, paused.execution_count) == (JobStatus.PAUSED, None, 0)
    await installation.worker({"demo.echo": Gate()})
    marker = await installation.dispatch("demo.echo")
    await installation.until(marker, EventType.JOB_STARTED)
    assert await told(installation, job) == ["scheduled", "queued", "paused"]
    assert await installation.runs(job) == []


async def test_a_running_job_pauses_at_the_end_of_its_run(installation: Installation) -> None:
    gate = Gate()
    await installation.worker({"demo.wait": gate})
    job = await installation.dispatch("demo.wait", schedule=every(1))
    await installation.until(job, EventType.JOB_STARTED)
    pausing = await pause(installation.services, ANN, job.id, "maintenance")
    assert (pausing.status, pausing.next_run_at) == (JobStatus.RUNNING, None)
    assert await pause(installation.services, ANN, job.id, "again") == await installation.job(job)
    gate.open.set()
    await installation.until(job, *DONE)
    paused = await installation.job(job)
    assert (paused.status, paused.result, paused.next_run_at) == (JobStatus.PAUSED, "done", None)
    assert await told(installation, job) == ["scheduled", "queued", "started", "paused", "completed"]
    assert [run.status for run in await installation.runs(job)] == [JobStatus.COMPLETED]


async def test_a_pending_retry_is_dropped_and_its_run_closed_as_failed(installation: Installation) -> None:
    async def fail(_: TaskContext, __: Any) -> Any:
        raise TaskError("BUSY", "try later")

    await installation.worker({"demo.fail": fail})
    job = await installation.dispatch("demo.fail", schedule=HOURLY, retries=3, retry=RetrySpec(initial_delay_ms=60_000))
    await installation.until(job, EventType.JOB_RETRYING)
    paused = await pause(installation.services, ANN, job.id, None)
    assert (paused.status, paused.run, paused.tally.failed) == (JobStatus.PAUSED, None, 1)
    [run] = await installation.runs(job)
    assert (run.status, run.attempts) == (JobStatus.FAILED, 1)
    assert run.error is not None
    assert run.error.code == "BUSY"


# ------------------------------------------------------------------------------------------------------------- resume


async def test_a_resumed_job_goes_on(installation: Installation) -> None:
    job = await installation.dispatch(schedule=every(1))
    await pause(installation.services, ANN, job.id, "maintenance")
    resumed = await resume(installation.services, ANN, job.id)
    assert (resumed.status, resumed.paused) == (JobStatus.SCHEDULED, None)
    assert resumed.next_run_at == resumed.scheduled_at
    assert await told(installation, job) == ["scheduled", "queued", "paused", "resumed"]
    await installation.worker({"demo.echo": opened()})
    await installation.until(job, EventType.JOB_STARTED)


async def test_a_resumed_job_of_which_nothing_is_left_is_completed(installation: Installation) -> None:
    end = installation.services.clock.now() + timedelta(minutes=30)
    job = await installation.dispatch(schedule=replace(HOURLY, end_date=end))
    await pause(installation.services, ANN, job.id, None)
    completed = await resume(installation.services, ANN, job.id)
    assert (completed.status, completed.next_run_at) == (JobStatus.COMPLETED, None)
    assert completed.completed_at == completed.updated_at
    assert await told(installation, job) == ["scheduled", "queued", "paused", "resumed", "completed"]


# --------------------------------------------------------------------------------------------------------- reschedule


async def test_a_later_job_is_moved_and_runs_at_its_new_time(installation: Installation) -> None:
    await installation.worker({"demo.echo": opened()})
    start = installation.services.clock.now() + timedelta(hours=1)
    job = await installation.dispatch(schedule=ScheduleSpec(start_at=start))
    soon = installation.services.clock.now() + timedelta(seconds=3)
    moved = await reschedule(installation.services, ANN, job.id, ScheduleSpec(start_at=soon))
    assert (moved.status, moved.next_run_at, moved.scheduled_at) == (JobStatus.SCHEDULED, soon, soon)
    await installation.until(job, EventType.JOB_STARTED)
    assert (await told(installation, job))[:2] == ["scheduled", "rescheduled"]


async def test_a_running_job_follows_its_new_schedule_after_the_run(installation: Installation) -> None:
    gate = Gate()
    await installation.worker({"demo.wait": gate})
    job = await installation.dispatch("demo.wait", schedule=every(1))
    await installation.until(job, EventType.JOB_STARTED)
    await reschedule(installation.services, ANN, job.id, ScheduleSpec(every_ms=3_600_000))
    gate.open.set()
    await installation.until(job, *DONE)
    done = await installation.job(job)
    assert (done.status, done.next_run_at) == (JobStatus.SCHEDULED, job.scheduled_at + timedelta(hours=1))


async def test_what_cannot_be_scheduled_changes_nothing(installation: Installation) -> None:
    job = await later(installation)
    with pytest.raises(InvalidInput):
        await reschedule(installation.services, ANN, job.id, ScheduleSpec(cron="nonsense"))
    assert await installation.job(job) == job


# -------------------------------------------------------------------------------------------------------------- retry


async def test_a_failed_job_is_run_once_more(installation: Installation) -> None:
    gate = Gate(TaskError("BUSY", "no"))
    gate.open.set()
    await installation.worker({"demo.fail": gate})
    job = await installation.dispatch("demo.fail")
    await installation.until(job, EventType.JOB_FAILED)
    gate.outcome = "at last"
    queued = await retry(installation.services, ANN, job.id, 0)
    assert (queued.status, queued.retry_count) == (JobStatus.QUEUED, 1)
    await installation.until(job, EventType.JOB_COMPLETED)
    done = await installation.job(job)
    assert (done.result, done.last_error, done.execution_count) == ("at last", None, 2)
    assert [run.status for run in await installation.runs(job)] == [JobStatus.COMPLETED, JobStatus.FAILED]


async def test_a_retry_with_a_delay_waits_for_it(installation: Installation) -> None:
    gate = Gate(TaskError("BUSY", "no"))
    gate.open.set()
    await installation.worker({"demo.fail": gate})
    job = await installation.dispatch("demo.fail")
    await installation.until(job, EventType.JOB_FAILED)
    waiting = await retry(installation.services, ANN, job.id, 300)
    assert waiting.status is JobStatus.SCHEDULED
    assert waiting.next_run_at is not None
    await installation.until(job, EventType.JOB_FAILED, times=2)
    failed = await installation.job(job)
    assert failed.started_at is not None
    assert failed.started_at >= waiting.next_run_at


# ------------------------------------------------------------------------------------------------------------- delete


async def test_a_deleted_job_is_gone_with_its_history_and_its_key_is_free(installation: Installation) -> None:
    job = await installation.dispatch(idempotency_key="k")
    await installation.cancel(job)
    await installation.worker({"demo.echo": opened()})
    assert await delete(installation.services, ANN, job.id) == job.id
    assert await installation.services.jobs.find(EVERYWHERE, job.id) is None
    await installation.until(job, EventType.JOB_DELETED)
    with pytest.raises(JobNotFound):
        await delete(installation.services, ANN, job.id)
    database = installation.services.jobs._jobs.database
    async with asyncio.timeout(10):
        while await database["jobs"].find_one({"_id": job.id}):
            pass  # the relay removes it right after its event is in the log
    assert await database["executions"].count_documents({"job_id": job.id}) == 0
    assert (await installation.dispatch(idempotency_key="k")).id != job.id


# ----------------------------------------------------------------------------------------------------------- refusals


async def test_what_the_status_forbids_is_refused_and_changes_nothing(installation: Installation) -> None:
    job = await later(installation)
    services = installation.services
    for refused in (resume(services, ANN, job.id), retry(services, ANN, job.id, 0), delete(services, ANN, job.id)):
        with pytest.raises(TransitionRefused) as refusal:
            await refused
        assert refusal.value.job == job
    once = await installation.dispatch()
    with pytest.raises(TransitionRefused, match="cannot pause a job that is queued"):
        await pause(services, ANN, once.id, None)
    assert await installation.job(job) == job
    assert await told(installation, job) == ["scheduled"]


async def test_of_many_that_steer_at_once_each_change_holds(installation: Installation) -> None:
    """Whoever loses the race decides again from the job as it is then."""
    job = await later(installation)
    services = installation.services
    limits = range(5, 10)
    await asyncio.gather(
        *(reschedule(services, ANN, job.id, ScheduleSpec(limit=limit)) for limit in limits),
        pause(services, ANN, job.id, None),
    )
    steered = await installation.job(job)
    assert (steered.status, steered.steered, steered.revision) == (JobStatus.PAUSED, 6, 7)
    assert sorted(await told(installation, job)) == ["paused", *["rescheduled"] * 5, "scheduled"]
