"""Leases and outages: a worker that lives is not called lost because nobody could hear it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from datetime import timedelta
from typing import Any

import pytest

from gateway.devstack.stack import Devstack
from jobs.errors import StoreUnavailable
from jobs.events import EventType
from jobs.job import Job, Run
from jobs.lifecycle import JobStatus
from storage.client import Driver
from storage.heartbeats import LeaseKeeper
from storage.job_updates import Claim, first_nudge
from tests.conftest import StartServers, opened
from tests.installation import DEADLINE, Installation, installed, offer
from tests.processes import frozen
from worker.context import TaskContext
from worker.sweeper import Sweeper

LEASE = timedelta(seconds=0.9)
LONG_OVER = timedelta(hours=-1)

Stage = Callable[[], AbstractAsyncContextManager[tuple[Devstack, Installation]]]


@pytest.fixture
def stage(own_servers: StartServers, database_name: str) -> Stage:
    """Servers of its own, and an installation on them without a worker."""

    @asynccontextmanager
    async def set_up() -> AsyncIterator[tuple[Devstack, Installation]]:
        stack = await own_servers()
        async with opened(stack.mongod.url, database_name, Driver.MOTOR) as database:
            await offer(database, "demo.echo", "demo.slow")
            async with installed(database, stack.mongod.url, stack.redis.url) as installation:
                yield stack, installation

    return set_up


async def claimed(installation: Installation, lease: timedelta) -> tuple[Job, Run]:
    """A run that a worker has, which the test plays."""
    job = await installation.dispatch()
    assert job.run is not None
    claim = Claim(first_nudge(job, job.run), "w1", f"token of {job.id}", lease)
    [running] = await installation.services.writer.claim_many([claim])
    assert isinstance(running, Job)
    assert running.run is not None
    return running, running.run


async def knock_until(condition: Callable[[], bool], keeper: LeaseKeeper) -> None:
    """Try to reach a database that does not answer, each time for a quarter of a lease, until this is so."""
    while not condition():
        with pytest.raises(StoreUnavailable):
            await asyncio.to_thread(keeper.renew, {"nobody's": "job_0"})


def new_sweeper(installation: Installation) -> Sweeper:
    services = installation.services
    return Sweeper(services.jobs, services.writer, services.signals, lease=LEASE, every=timedelta(seconds=10))


async def sweep_until_lost(sweeper: Sweeper, installation: Installation, job: Job) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await installation.job(job)).status is JobStatus.RUNNING:
            await sweeper.run_once()


async def an_outage_during(look: Awaitable[Any], stack: Devstack, is_over: Callable[[], bool], url: str) -> None:
    with closing(LeaseKeeper(url, "nowhere", LEASE)) as knocking:
        looking = asyncio.ensure_future(look)
        with frozen(stack.mongod.pid):
            await knock_until(is_over, knocking)
            assert not looking.done()
        await looking


@pytest.mark.parametrize("when", ["during a look", "between two looks"])
async def test_who_could_not_renew_because_of_an_outage_is_not_lost(stage: Stage, when: str) -> None:
    """The database is as slow as can be, yet nothing fails: the answers come once it goes on."""
    async with stage() as (stack, installation):
        sweeper, clock, url = new_sweeper(installation), installation.services.clock, stack.mongod.url
        decoy, _ = await claimed(installation, LONG_OVER)
        await sweep_until_lost(sweeper, installation, decoy)

        job, run = await claimed(installation, LEASE)
        lease_until = run.lease_until
        assert lease_until is not None
        look = sweeper.run_once if when == "during a look" else clock.synchronise
        await an_outage_during(look(), stack, lambda: clock.now() > lease_until, url)
        await sweeper.run_once()

        assert await installation.job(job) == job
        with closing(LeaseKeeper(url, installation.config.database, timedelta(seconds=60))) as keeper:
            renewal = await asyncio.to_thread(keeper.renew, {f"token of {job.id}": job.id})
        # For longer than a database that has just come back takes to answer; what is left of it need not be waited for.
        await installation.services.jobs._jobs.update_one({"_id": job.id}, [{"$set": {"run.lease_until": "$$NOW"}}])
        assert renewal.held == {f"token of {job.id}"}
        # And if it is heard of no more, it is lost after all.
        await sweep_until_lost(sweeper, installation, job)


async def test_an_error_ends_what_was_seen_so_far_however_short_it_was(stage: Stage) -> None:
    """By the sweeper's clock, which stands still unless it is told otherwise, the database is back at once."""
    now = [0.0]

    async with stage() as (stack, installation):
        services, lease = installation.services, timedelta(hours=1)
        sweeper = Sweeper(
            services.jobs, services.writer, services.signals, lease=lease, every=lease, clock=lambda: now[0]
        )

        async def watch_for_a_lease() -> None:
            for _ in range(4):
                assert await is_running()
                assert await sweeper.run_once() == 1200
                now[0] += 1200

        async def is_running() -> bool:
            return (await installation.job(job)).status is JobStatus.RUNNING

        job, _ = await claimed(installation, LONG_OVER)
        await watch_for_a_lease()
        assert not await is_running()

        await stack.mongod.kill()
        with pytest.raises(StoreUnavailable):
            await sweeper.run_once()
        await stack.mongod.restart()
        job, _ = await claimed(installation, LONG_OVER)
        await watch_for_a_lease()
        assert not await is_running()


async def test_it_looks_three_times_a_lease_however_rarely_it_is_told_to(stage: Stage) -> None:
    async with stage() as (_, installation):
        assert await new_sweeper(installation).run_once() == LEASE.total_seconds() / 3


async def test_behind_an_outage_no_second_attempt_begins_while_the_first_still_stops(stage: Stage) -> None:
    """Its worker stops what it could not renew. Until the handler has stopped, however slowly, nobody else has the run."""
    ledger: list[str] = []
    stopping, may_stop = asyncio.Event(), asyncio.Event()

    async def slow(_: TaskContext, __: Any) -> Any:
        ledger.append("begin")
        if ledger == ["begin"]:
            try:
                await asyncio.Event().wait()
            finally:
                stopping.set()
                await may_stop.wait()
                ledger.append("end")

    async with stage() as (stack, installation):
        clock, url, lease = installation.services.clock, stack.mongod.url, timedelta(seconds=4)
        await installation.worker({"demo.slow": slow}, cancel_grace=timedelta(seconds=60), lease=lease)
        job = await installation.dispatch("demo.slow")
        await installation.until(job, EventType.JOB_STARTED)
        # By then the worker's sweeper has seen enough.
        decoy, _ = await claimed(installation, LONG_OVER)
        await installation.until(decoy, EventType.JOB_QUEUED, times=2)

        began = clock.now()
        with frozen(stack.mongod.pid), closing(LeaseKeeper(url, "nowhere", lease)) as knocking:
            await stopping.wait()
            await knock_until(lambda: clock.now() > began + lease, knocking)
        running = await installation.job(job)
        while not (running.run and running.run.lease_until and running.run.lease_until > clock.now() + lease / 2):
            assert running.run is not None
            assert running.run.token is not None
            running = await installation.job(job)

        assert ledger == ["begin"]
        may_stop.set()
        await installation.until(job, EventType.JOB_COMPLETED)
        [record] = await installation.runs(job)
    assert ledger == ["begin", "end", "begin"]
    assert record.attempts == 1
