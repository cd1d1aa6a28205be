"""Bulk operations on a real database."""

from collections.abc import AsyncIterator

import pytest

from gateway.devstack import Servers
from jobs.bulk import BulkRequest, BulkStatus
from jobs.filters import JobFilter
from jobs.lifecycle import Action, JobStatus
from resolvers.bulk import begin_bulk
from storage.client import Database
from tests.installation import ANN, Installation, installed, offer


@pytest.fixture
async def installation(database: Database, servers: Servers, redis_url: str) -> AsyncIterator[Installation]:
    await offer(database, "demo.echo")
    async with installed(database, servers.mongodb_url, redis_url) as installation:
        yield installation


async def test_all_that_match_are_cancelled(installation: Installation) -> None:
    jobs = [await installation.dispatch(product="shop") for _ in range(20)]
    other = await installation.dispatch(product="bank")
    operation = await begin_bulk(
        installation.services, ANN, BulkRequest(Action.CANCEL, JobFilter(product=("shop",)), "over")
    )
    assert (operation.status, operation.matched, operation.count, operation.skipped) == (
        BulkStatus.COMPLETED,
        20,
        20,
        0,
    )
    assert [(await installation.job(job)).status for job in jobs] == [JobStatus.CANCELLED] * 20
    assert (await installation.job(other)).status is JobStatus.QUEUED
