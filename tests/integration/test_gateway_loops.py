"""What a gateway sees to when no worker does."""

import asyncio
from datetime import timedelta
from typing import Final

from gateway.devstack import Servers
from gateway.standing_in import StandIn
from jobs.access import EVERYWHERE
from jobs.events import EventType
from jobs.feed import feed_cursor
from jobs.lifecycle import JobStatus
from storage.client import Database
from storage.job_updates import Claim
from storage.jobs import RunRef
from storage.leases import Lease
from storage.registry import Registry, WorkerCard
from tests.gateway import DEADLINE, serving
from worker.relay import LEASE

WORKER: Final = WorkerCard("worker", "host", 1, 10)


async def test_a_gateway_gives_back_what_a_lost_worker_had(
    servers: Servers, database_name: str, redis_url: str
) -> None:
    """Handlers may keep the loops of all workers so busy that none of them sees the database for a whole lease."""
    async with serving(servers.mongodb_url, redis_url, database_name, lease_seconds=1) as gateway:
        job_id = await gateway.dispatched()
        writer, jobs = gateway.services.writer, gateway.services.jobs
        [claimed] = await writer.claim_many([Claim(RunRef(job_id, 1, 1, 1, "demo.echo"), "w", "t", timedelta(0))])
        assert claimed is not None
        async with asyncio.timeout(DEADLINE), gateway.socket() as socket:
            document = "subscription ($after: String) { jobEvents(after: $after) { type } }"
            await socket.subscribe("1", document, after=feed_cursor(0))
            while (job := await jobs.find(EVERYWHERE, job_id)) is None or job.status is not JobStatus.QUEUED:
                await socket.next("1", "jobEvents")
        assert job.run is not None
        assert (job.run.attempt, job.run.expiries) == (2, 1)


def ended(database: Database, owner: str, ago: timedelta) -> Lease:
    """The lease of the relay, of somebody who takes it for a time that is over since so long."""
    return Lease(database, "relay", owner, -ago)


async def test_a_gateway_tells_of_events_when_the_only_worker_was_killed_a_moment_ago(
    servers: Servers, database: Database, redis_url: str
) -> None:
    registry = Registry(database)
    await registry.sign_in(WORKER, 0)
    assert await ended(database, "killed", 2 * LEASE).acquire()
    async with serving(servers.mongodb_url, redis_url, database.name) as gateway:
        await gateway.told(await gateway.dispatched(), EventType.JOB_QUEUED)
        # Not because the worker counts as gone by now.
        assert await registry.any_worker_lives()
        # One that comes back has the lease to itself.
        await registry.sign_in(WORKER, 0)
        async with asyncio.timeout(DEADLINE):
            while not await Lease(database, "relay", "back", LEASE).acquire():
                await gateway.dispatched()


async def test_a_gateway_stands_in_from_when_the_lease_has_lapsed_until_a_worker_is_heard_of(
    database: Database,
) -> None:
    minute = timedelta(minutes=1)
    registry, lease = Registry(database), Lease(database, "relay", "gateway", minute)
    stand_in = StandIn(registry, lease)
    assert await stand_in.is_wanted()
    await registry.sign_in(WORKER, 0)
    # Workers that live have it, are about to take it, or have only just begun.
    assert not await stand_in.is_wanted()
    await Lease(database, "relay", "worker", timedelta(hours=1)).acquire()
    assert not await stand_in.is_wanted()
    await ended(database, "worker", minute / 2).acquire()
    assert not await stand_in.is_wanted()
    await ended(database, "worker", 2 * minute).acquire()
    assert await stand_in.is_wanted()
    # That this gateway has the lease from then on does not mean that there is a worker.
    assert await lease.acquire()
    assert await stand_in.is_wanted()
    await registry.sign_in(WORKER, 0)
    assert not await stand_in.is_wanted()
    assert not await stand_in.is_wanted()
