"""What a gateway sees to when no worker does."""

import asyncio
from datetime import timedelta

from gateway.devstack import Servers
from jobs.lifecycle import JobStatus
from storage.job_updates import Claim
from storage.jobs import RunRef
from tests.gateway import DEADLINE, serving


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
            await socket.subscribe("1", "subscription ($after: String) { jobEvents(after: $after) { type } }")
            while (job := await jobs.find(job_id)) is None or job.status is not JobStatus.QUEUED:
                await socket.next("1", "jobEvents")
        assert job.run is not None
        assert (job.run.attempt, job.run.expiries) == (2, 1)
