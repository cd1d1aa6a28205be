"""What must not bring everything to a stop: jobs, nudges, events and stores that are not as they should be."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

from gateway.devstack import Servers
from jobs.access import EVERYWHERE
from jobs.events import EventType
from jobs.filters import EventFilter
from jobs.job import Job
from jobs.lifecycle import JobStatus
from resolvers.hub import EventHub
from resolvers.steering import pause, resume
from storage.client import Database, Driver
from storage.events import EventLog
from storage.job_updates import Claim, first_nudge
from storage.redis import close_redis, open_redis, queue_name
from storage.signals import Topic
from storage.transitions import JobWriter
from storage.wakeups import Wakeups
from tests.conftest import StartServers, opened
from tests.factories import NOW, every
from tests.installation import ANN, Installation, installed, offer
from tests.processes import frozen
from worker.context import CancelReason, TaskContext

DONE = (EventType.JOB_COMPLETED, EventType.JOB_FAILED)


@pytest.fixture
async def installation(database: Database, servers: Servers, redis_url: str) -> AsyncIterator[Installation]:
    await offer(database, "demo.echo", "demo.other", "demo.wait")
    async with installed(database, servers.mongodb_url, redis_url) as installation:
        yield installation


async def echo(_: TaskContext, value: Any) -> Any:
    return value


async def spoil(database: Database, job: Job) -> None:
    """Make its schedule one that nobody understands any more, as after an upgrade, just when it is needed."""
    recurrence = {"kind": "cron", "cron": "* * * * *", "tz": "Mars/Base"}
    values = {f"recurrence.{name}": value for name, value in recurrence.items()}
    due = {} if job.status is JobStatus.SCHEDULED else {"next_run_at": job.created_at}
    await database["jobs"].update_one({"_id": job.id}, {"$set": {**values, **due}})


async def test_a_job_whose_zone_is_gone_is_paused_and_the_others_are_promoted(
    installation: Installation, database: Database
) -> None:
    later = installation.services.clock.now() + timedelta(hours=1)
    bad, good = [await installation.dispatch(schedule=every(60, start_at=later)) for _ in range(2)]
    await spoil(database, bad)
    now = dict.fromkeys(("next_run_at", "scheduled_at"), installation.services.clock.now())
    await database["jobs"].update_many({}, {"$set": now})
    await installation.worker({"demo.echo": echo})
    await installation.until(good, EventType.JOB_COMPLETED)
    [*_, paused] = await installation.until(bad, EventType.JOB_PAUSED)
    assert paused.reason is not None
    assert paused.reason.startswith("its schedule can no longer be followed: ")
    assert "Mars/Base" in paused.reason
    assert (await installation.job(bad)).status is JobStatus.PAUSED


async def test_a_run_whose_zone_is_gone_is_recorded_and_its_job_paused(
    installation: Installation, database: Database
) -> None:
    job = await installation.dispatch(schedule=every(1))
    await spoil(database, job)
    await installation.worker({"demo.echo": echo})
    await installation.until(job, EventType.JOB_PAUSED)
    ended = await installation.job(job)
    assert (ended.status, ended.tally.completed) == (JobStatus.PAUSED, 1)


async def test_a_lost_run_whose_zone_is_gone_does_not_keep_others_from_being_found(
    installation: Installation, database: Database
) -> None:
    jobs = JobWriter(database)
    bad = await installation.dispatch(schedule=every(60))
    good = await installation.dispatch()
    for job in (bad, good):
        assert job.run is not None
        claim = Claim(first_nudge(job, job.run), "gone", f"t-{job.id}", timedelta(milliseconds=1))
        await jobs.claim_many([claim])
    await database["jobs"].update_one({"_id": bad.id}, {"$set": {"run.expiries": 2}})
    await spoil(database, bad)
    # A sweeper takes nothing for lost before it has seen the database for as long as a lease.
    await installation.worker({"demo.echo": echo}, lease=timedelta(seconds=3))
    await installation.until(good, EventType.JOB_COMPLETED)
    await installation.until(bad, EventType.JOB_FAILED)
    await installation.until(bad, EventType.JOB_PAUSED)
    failed = await installation.job(bad)
    assert failed.status is JobStatus.PAUSED
    assert failed.last_error is not None
    assert failed.last_error.code == "WORKER_LOST"


async def test_what_strangers_put_into_the_queue_is_cleared_away(
    installation: Installation, database: Database, redis_url: str
) -> None:
    await installation.worker({"demo.echo": echo})
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.zadd(queue_name(database.name), {b"\xff\xfe": 1, "what is this": 2})
        job = await installation.dispatch()
        await installation.until(job, EventType.JOB_COMPLETED)
        assert await client.zscore(queue_name(database.name), b"\xff\xfe") is None


@pytest.mark.parametrize("number", [2**63, -1])
async def test_a_nudge_with_a_number_that_no_run_has_is_dropped_before_it_reaches_the_database(
    installation: Installation, database: Database, redis_url: str, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """A batch of claims fails as a whole for a number that BSON cannot hold."""
    await installation.worker({"demo.echo": echo})
    pool = await open_redis(redis_url, database.name)
    try:
        await pool.enqueue_job("run", "job_1", number, 1, 1, "demo.echo")
        # Not a timeout around it: redis-py may take its cancellation for the end of a timeout of its own.
        deadline = time.monotonic() + 10
        while "a nudge that makes no sense was dropped" not in caplog.text:
            assert time.monotonic() < deadline
            await pool.ping()
    finally:
        await close_redis(pool)


async def test_a_worker_without_a_free_place_leaves_nudges_to_be_taken_later(installation: Installation) -> None:
    gates = [asyncio.Event(), asyncio.Event()]

    async def wait(_: TaskContext, value: Any) -> Any:
        await gates[value].wait()

    # Nobody nudges again within this test: a nudge that is taken and dropped is lost.
    await installation.worker({"demo.wait": wait}, concurrency=1, renudge_after=timedelta(minutes=5))
    first = await installation.dispatch("demo.wait", input=0)
    await installation.until(first, EventType.JOB_STARTED)
    second = await installation.dispatch("demo.wait", input=1)
    await installation.until(second, EventType.JOB_QUEUED)
    while not await installation.services.signals.measure():
        pass  # until its nudge lies in the queue
    gates[0].set()
    await installation.until(second, EventType.JOB_STARTED)
    gates[1].set()


async def test_a_clock_that_is_behind_does_not_have_an_occurrence_run_again(installation: Installation) -> None:
    await installation.worker({"demo.echo": echo})
    job = await installation.dispatch(schedule=every(3600))
    await installation.until(job, EventType.JOB_COMPLETED)
    services = installation.services
    await pause(services, ANN, job.id, None)
    services.clock._monotonic += 10  # ten seconds behind the database's
    resumed = await resume(services, ANN, job.id)
    assert resumed.next_run_at == job.scheduled_at + timedelta(hours=1)


async def test_a_worker_without_a_database_leaves_in_peace(own_servers: StartServers, database_name: str) -> None:
    stack = await own_servers()
    async with opened(stack.mongod.url, database_name, Driver.MOTOR) as database:
        await offer(database, "demo.echo")
        async with installed(database, stack.mongod.url, stack.redis.url) as installation:
            await installation.worker({"demo.echo": echo})
            await stack.mongod.kill()
            async with asyncio.timeout(30):
                await installation.stop_workers()
            await stack.mongod.restart()


async def test_a_second_run_of_an_occurrence_does_not_stop_the_log(
    installation: Installation, database: Database
) -> None:
    job = await installation.dispatch(schedule=every(3600))
    assert job.run is not None
    double = {"job_id": job.id, "number": 99, "scheduled_for": job.run.scheduled_for, "recurring": True}
    await database["executions"].insert_one({"_id": f"{job.id}:99", **double})
    await installation.worker({"demo.echo": echo})
    await installation.until(job, EventType.JOB_COMPLETED)
    other = await installation.dispatch()
    await installation.until(other, EventType.JOB_COMPLETED)


def logged(number: int, **changes: object) -> dict[str, Any]:
    """An event of the log as it is stored, but for ``changes``."""
    told = {"type": "job.queued", "at": NOW, "actor": None, "reason": None, "error": None, "idempotency_key": None}
    job = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd", "tags": [], "recurring": False}
    state = {"status": "queued", "scheduled_at": NOW, "effective_at": NOW, "execution_count": 0}
    return {"_id": number, "job_id": "job_1", "seq": number, **told, **job, **state, **changes}


async def test_an_event_that_a_gateway_does_not_know_fails_those_who_wait_for_it_and_nobody_else(
    database: Database, redis_url: str
) -> None:
    pool = await open_redis(redis_url, database.name)
    wakeups = Wakeups(pool, database.name, [Topic.FEED])
    wakeups.start()
    hub = EventHub(EventLog(database), wakeups)
    await hub.start()
    events = [logged(1), logged(2), logged(3, type="job.teleported"), logged(4), logged(5)]
    async with asyncio.timeout(10):
        async with (
            hub.subscribe(EVERYWHERE, EventFilter(), 0) as present,
            hub.subscribe(EVERYWHERE, EventFilter(), 3) as ahead,
        ):
            await database["events"].insert_many(events)
            wakeups.wake(Topic.FEED)
            assert [(await present.next()).number for _ in range(2)] == [1, 2]
            with pytest.raises(ValueError, match=r"job\.teleported"):
                await present.next()
            # Who has come behind that event elsewhere misses nothing.
            assert [(await ahead.next()).number for _ in range(2)] == [4, 5]
        assert hub.position == 5
        async with hub.subscribe(EVERYWHERE, EventFilter(), hub.position) as later:
            await database["events"].insert_one(logged(6))
            wakeups.wake(Topic.FEED)
            assert (await later.next()).number == 6
    await hub.close()
    await wakeups.close()
    await pool.aclose(close_connection_pool=True)


async def test_a_synchronous_handler_that_ends_while_its_worker_shuts_down_has_ended(
    installation: Installation,
) -> None:
    began = threading.Event()

    def finish_quickly(context: TaskContext, _: Any) -> Any:
        began.set()
        tick = threading.Event()
        while context.cancel_reason is None:
            tick.wait(0.01)
        return "just in time"

    patient = timedelta(seconds=10)
    stop = await installation.worker({"demo.wait": finish_quickly}, drain=timedelta(seconds=0.1), cancel_grace=patient)
    job = await installation.dispatch("demo.wait")
    assert await asyncio.to_thread(began.wait, 10)
    stop.set()
    await installation.until(job, *DONE)
    assert (await installation.job(job)).result == "just in time"


async def test_a_worker_that_hears_nothing_of_the_database_stops_its_runs_in_time_and_gives_them_back(
    own_servers: StartServers, database_name: str
) -> None:
    stack = await own_servers()
    reasons: list[CancelReason | None] = []
    stopped = asyncio.Event()

    async def wait(context: TaskContext, _: Any) -> Any:
        if stopped.is_set():
            return "at the second go"
        try:
            await asyncio.Event().wait()
        finally:
            reasons.append(context.cancel_reason)
            stopped.set()

    async with opened(stack.mongod.url, database_name, Driver.MOTOR) as database:
        await offer(database, "demo.wait")
        async with installed(database, stack.mongod.url, stack.redis.url) as installation:
            lease = timedelta(seconds=6)
            await installation.worker({"demo.wait": wait}, lease=lease)
            job = await installation.dispatch("demo.wait")
            await installation.until(job, EventType.JOB_STARTED)
            with frozen(stack.mongod.pid):
                async with asyncio.timeout(lease.total_seconds()):
                    await stopped.wait()
            await installation.until(job, *DONE)
            done = await installation.job(job)
            assert done.result == "at the second go"
            [run] = await installation.runs(job)
    assert reasons == [CancelReason.OUT_OF_REACH]
    # An outage is nobody's failure: it costs the run no attempt, and does not count as a lost worker.
    assert run.attempts == 1
