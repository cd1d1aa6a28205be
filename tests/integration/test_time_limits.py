"""How long a caller is kept waiting by a MongoDB that is slow, or does not answer at all."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from gateway.devstack import Servers
from jobs.access import EVERYWHERE
from jobs.errors import NotWritten, StoreUnavailable
from jobs.lifecycle import JobStatus
from resolvers.bulk import begin_bulk
from storage import limits
from storage.batches import Batcher
from storage.client import Database, Driver
from storage.heartbeats import LeaseKeeper
from storage.job_updates import NewJob
from storage.limits import CALL_SECONDS, Deadline, within
from tests.conftest import opened
from tests.failing import LOST, FailingMongod
from tests.installation import ANN, Installation, installed, offer
from tests.integration.test_bulk import CANCEL, counts

PROMISED: Final = 10.0
"""Seconds within which a dispatch, or a change of a job, is answered."""

ANSWERED: Final = PROMISED + 3
"""A busy machine takes some time besides."""

BLOCKED_SECONDS: Final = 5
"""Longer than a write may take."""

BLOCKED: Final = {"blockConnection": True, "blockTimeMS": BLOCKED_SECONDS * 1000}


@pytest.fixture(params=list(Driver))
async def failing_database(
    request: pytest.FixtureRequest, failing_mongod: FailingMongod, database_name: str
) -> AsyncIterator[Database]:
    async with opened(failing_mongod.url, database_name, request.param) as database:
        yield database


@pytest.fixture
async def installation(
    failing_mongod: FailingMongod, servers: Servers, redis_url: str, database_name: str
) -> AsyncIterator[Installation]:
    async with opened(failing_mongod.url, database_name, Driver.MOTOR) as database:
        await offer(database, "demo.echo")
        async with installed(database, failing_mongod.url, redis_url) as installation:
            yield installation


def test_callers_wait_no_longer_than_they_are_promised() -> None:
    assert CALL_SECONDS + limits._GRACE < PROMISED


async def test_a_store_that_is_frozen_is_given_up_by_the_driver_when_the_time_is_up(
    failing_mongod: FailingMongod, failing_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody but the driver is to give it up.
    monkeypatch.setattr("storage.limits._GRACE", 30.0)
    await failing_database["things"].find_one({})
    with failing_mongod.frozen():
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="NetworkTimeout"):
            async with within(0.5):
                await failing_database["things"].find_one({})
        assert 0.4 < time.monotonic() - began < 10


async def test_a_caller_who_finds_all_threads_waiting_is_answered_in_time_too(
    failing_mongod: FailingMongod, failing_database: Database
) -> None:
    await failing_database["things"].find_one({})
    with failing_mongod.frozen():
        # Each of them may take longer than the driver waits for a connection.
        others = [asyncio.ensure_future(failing_database["things"].find_one({})) for _ in range(200)]
        await asyncio.sleep(0)
        async with asyncio.timeout(15):
            with pytest.raises(StoreUnavailable, match=r"no answer within 0\.5 s|NetworkTimeout|WaitQueueTimeout"):
                async with within(0.5):
                    await failing_database["things"].find_one({})
    await asyncio.gather(*others, return_exceptions=True)


async def test_what_is_begun_when_no_time_is_left_is_refused_at_once() -> None:
    with pytest.raises(StoreUnavailable, match="no answer within"):
        async with Deadline(0).within(5):
            raise AssertionError("must not be begun")


async def test_a_dispatch_on_a_frozen_store_is_refused_in_time_and_nothing_is_written(
    failing_mongod: FailingMongod, installation: Installation
) -> None:
    await installation.dispatch()
    with failing_mongod.frozen():
        async with asyncio.timeout(ANSWERED):
            with pytest.raises(StoreUnavailable) as refused:
                await installation.dispatch()
    assert refused.value.retry_after == 1.0
    assert "unknown" not in str(refused.value)


async def test_a_dispatch_whose_write_hangs_is_answered_in_time_and_said_to_be_unknown(
    failing_mongod: FailingMongod, installation: Installation, database_name: str
) -> None:
    with failing_mongod.failing("insert", on=f"{database_name}.jobs", **BLOCKED):
        async with asyncio.timeout(ANSWERED):
            with pytest.raises(
                StoreUnavailable, match="it is unknown whether the job was stored, and it may yet happen"
            ):
                await installation.dispatch()


async def test_a_dispatch_that_is_stored_late_is_looked_for_until_it_is_there(
    failing_mongod: FailingMongod, installation: Installation
) -> None:
    """Frozen beyond the limit of the write and the first look: the insert waits in the server's socket all the while."""
    writer, tries = installation.services.writer, list[int]()

    async def insert_frozen(new: Sequence[NewJob]) -> list[Exception | None]:
        if not tries:
            failing_mongod.freeze()
        else:
            failing_mongod.thaw()
        tries.append(len(new))
        return await writer.insert_many(new)

    installation.services = replace(installation.services, insertions=Batcher(insert_frozen))
    try:
        async with asyncio.timeout(ANSWERED):
            job = await installation.dispatch()
    finally:
        failing_mongod.thaw()
    assert (await installation.job(job)).status is JobStatus.QUEUED


async def test_a_dispatch_whose_answer_was_lost_is_answered_with_the_job(
    failing_mongod: FailingMongod, installation: Installation, database_name: str
) -> None:
    with failing_mongod.failing("insert", on=f"{database_name}.jobs", times=1, **LOST):
        job = await installation.dispatch()
    assert (await installation.job(job)).status is JobStatus.QUEUED


async def test_a_change_that_hangs_is_answered_in_time_and_said_to_be_unknown(
    failing_mongod: FailingMongod, installation: Installation, database_name: str
) -> None:
    job = await installation.dispatch()
    with failing_mongod.failing("findAndModify", on=f"{database_name}.jobs", **BLOCKED):
        async with asyncio.timeout(ANSWERED):
            with pytest.raises(
                StoreUnavailable, match="it is unknown whether the job was changed, and it may yet happen"
            ):
                await installation.cancel(job)


async def test_ids_that_cannot_be_stored_in_time_are_no_search_that_takes_too_long(
    failing_mongod: FailingMongod, installation: Installation, database_name: str
) -> None:
    await installation.dispatch(product="shop")
    where, expired = f"{database_name}.operation_batches", 50
    with failing_mongod.failing("insert", on=where, errorCode=expired), pytest.raises(NotWritten):
        await begin_bulk(installation.services, ANN, CANCEL)


async def test_an_operation_whose_first_jobs_hang_is_answered_in_time_and_goes_on(
    failing_mongod: FailingMongod, installation: Installation, database_name: str
) -> None:
    await installation.dispatch(product="shop")
    services = installation.services
    longer = {"blockConnection": True, "blockTimeMS": 12_000}
    with failing_mongod.failing("update", on=f"{database_name}.jobs", times=1, **longer):
        operation = await begin_bulk(services, ANN, CANCEL)
        assert counts(operation) == ("running", 1, 0, 0)
        async with asyncio.timeout(ANSWERED):
            await asyncio.gather(*services.going_on)
    assert counts(await services.operations.find(EVERYWHERE, operation.id)) == ("completed", 1, 1, 0)
    assert not services.going_on


async def test_a_renewal_gives_up_early_enough_to_be_tried_again_and_again_within_the_lease(
    failing_mongod: FailingMongod, database_name: str
) -> None:
    """What has to open a connection anew, too: the driver by itself allows for each part of that as much as for all of it."""
    lease = timedelta(seconds=8)
    with closing(LeaseKeeper(failing_mongod.url, database_name, lease)) as keeper:
        keeper.renew({"nobody's": "job_0"})
        with failing_mongod.frozen():
            async with asyncio.timeout(lease.total_seconds()):
                for _ in range(3):
                    with pytest.raises(StoreUnavailable):
                        await asyncio.to_thread(keeper.renew, {"nobody's": "job_0"})
