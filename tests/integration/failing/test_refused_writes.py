"""Writes that MongoDB refuses: on a full disk, and of jobs that would become too large. Each is its own caller's concern."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import bson
import pytest

from gateway.devstack import Servers
from jobs.access import EVERYWHERE
from jobs.errors import JobTooLarge, NotWritten, StoreUnavailable
from jobs.events import EventType
from jobs.job import Job
from jobs.json_values import MAX_BYTES, check_json
from jobs.lifecycle import JobStatus
from resolvers.bulk import begin_bulk
from resolvers.steering import cancel
from storage.client import Database
from storage.errors import OUT_OF_DISK_SPACE
from storage.job_updates import Claim, Progress, first_nudge
from storage.outbox import Outbox
from storage.transitions import JobWriter
from tests.failing import FailingMongod
from tests.gateway import serving
from tests.installation import ANN, Installation
from tests.integration.test_bulk import CANCEL, counts, finished, let_go
from worker.context import TaskContext

LARGEST: Final = 16 * 1024 * 1024
CANCEL_ONE: Final = "mutation ($id: ID!) { cancel(id: $id) { __typename } }"


async def fill_up(database: Database, job_id: str) -> None:
    """Have a job whose events are told already be as large as it can be: the next event is too much."""
    while await Outbox(database).relay(500):
        pass
    document = await database["jobs"].find_one({"_id": job_id})
    room = LARGEST - len(bson.encode({**document, "padding": b""}))
    await database["jobs"].update_one({"_id": job_id}, {"$set": {"padding": b"." * room}})


async def test_a_change_on_a_full_disk_is_refused_at_once_and_certainly_not_written(
    installation: Installation, failing_mongod: FailingMongod, database: Database
) -> None:
    job = await installation.dispatch()
    with (
        failing_mongod.failing("findAndModify", on=f"{database.name}.jobs", times=1, errorCode=OUT_OF_DISK_SPACE),
        pytest.raises(NotWritten, match="its disk is full") as refused,
    ):
        await cancel(installation.services, ANN, job.id, None)
    assert refused.value.retry_after == 1.0
    assert (await installation.job(job)).revision == job.revision


async def test_a_dispatch_on_a_full_disk_is_refused_with_the_time_to_ask_again(
    failing_mongod: FailingMongod, servers: Servers, database_name: str
) -> None:
    async with serving(failing_mongod.url, servers.redis_url, database_name) as gateway:
        with failing_mongod.failing("insert", on=f"{database_name}.jobs", errorCode=OUT_OF_DISK_SPACE):
            answer = await gateway.ask(
                "mutation ($input: DispatchInput!) { dispatch(input: $input) { __typename } }",
                input={"namespace": "demo", "task": "echo", "product": "shop", "env": "prd"},
            )
        assert [error["extensions"] for error in answer["errors"]] == [{"code": "UNAVAILABLE", "retryAfter": 1.0}]
        await gateway.dispatched()


async def test_a_full_disk_leaves_no_job_of_an_operation_out(
    installation: Installation, failing_mongod: FailingMongod, database: Database
) -> None:
    for _ in range(2):
        await installation.dispatch(product="shop")
    services = installation.services
    operation = await services.bulk.begin(EVERYWHERE, CANCEL, "op_1", actor="ann", now=services.clock.now())
    with (
        failing_mongod.failing("update", on=f"{database.name}.jobs", errorCode=OUT_OF_DISK_SPACE),
        pytest.raises(StoreUnavailable),
    ):
        await services.bulk.advance(operation, services.clock.now())
    await let_go(database)
    assert counts(await finished(installation, operation)) == ("completed", 2, 2, 0)


async def test_a_job_that_would_become_too_large_is_a_fault_of_its_own_kind(
    failing_mongod: FailingMongod, servers: Servers, database: Database
) -> None:
    async with serving(failing_mongod.url, servers.redis_url, database.name) as gateway:
        job_id = await gateway.dispatched(schedule={"startAt": "2100-01-01T00:00:00Z"})
        await gateway.told(job_id, EventType.JOB_SCHEDULED)
        await fill_up(database, job_id)
        answer = await gateway.ask(CANCEL_ONE, id=job_id)
    [error] = answer["errors"]
    assert error["extensions"] == {"code": "JOB_TOO_LARGE"}
    assert error["message"].endswith("16 MB that can be stored of one; nothing was changed")


async def test_an_operation_leaves_out_a_job_that_would_become_too_large(
    installation: Installation, database: Database
) -> None:
    wordy = replace(CANCEL, reason="over" * 250)
    large, *_ = [await installation.dispatch(product="shop") for _ in range(3)]
    await fill_up(database, large.id)
    assert counts(await begin_bulk(installation.services, ANN, wordy)) == ("completed", 3, 2, 1)


async def test_a_lost_run_of_a_job_that_is_too_large_keeps_no_other_from_being_found(
    installation: Installation, database: Database
) -> None:
    async def echo(_: TaskContext, value: Any) -> Any:
        return value

    async def claimed() -> Job:
        job = await installation.dispatch()
        assert job.run is not None
        claim = Claim(first_nudge(job, job.run), "gone", f"t-{job.id}", timedelta(milliseconds=1))
        assert await JobWriter(database).claim_many([claim]) != [None]
        return job

    large, other = await claimed(), await claimed()
    await fill_up(database, large.id)
    await installation.worker({"demo.echo": echo}, lease=timedelta(seconds=6))
    await installation.until(other, EventType.JOB_COMPLETED)
    assert (await installation.job(large)).status is JobStatus.RUNNING


async def test_a_batch_in_which_one_write_is_refused_carries_the_others_out(
    installation: Installation, database: Database
) -> None:
    jobs = [await installation.dispatch() for _ in range(3)]
    claims = [
        Claim(first_nudge(job, job.run), "one", job.id, timedelta(seconds=60)) for job in jobs if job.run is not None
    ]
    writer = JobWriter(database)
    await writer.claim_many(claims)
    await fill_up(database, jobs[1].id)
    outcomes = await writer.report_progress_many([Progress(job.id, job.id, 0.5, None) for job in jobs])
    assert [type(outcome) for outcome in outcomes] == [type(None), JobTooLarge, type(None)]


def test_no_input_that_is_accepted_makes_a_job_too_large_for_the_driver_to_send() -> None:
    """The driver refuses a batch as a whole for one document beyond 16 MB. BSON numbers each item of a list."""
    densest = [[0] * (MAX_BYTES // 2 - 2), [[]] * (MAX_BYTES // 3 - 2), [""] * (MAX_BYTES // 3 - 2)]
    for value in densest:
        check_json(value)
    assert max(len(bson.encode({"input": value})) for value in densest) < LARGEST / 8


@pytest.mark.parametrize("code", [239, 246])
async def test_a_server_that_has_just_come_back_has_no_snapshot_to_look_for_jobs_in(
    installation: Installation, failing_mongod: FailingMongod, database: Database, code: int
) -> None:
    """SnapshotTooOld, SnapshotUnavailable: nothing has begun, and it is worth to ask again."""
    await installation.dispatch(product="shop")
    with (
        failing_mongod.failing("find", on=f"{database.name}.jobs", times=1, errorCode=code),
        pytest.raises(NotWritten),
    ):
        await begin_bulk(installation.services, ANN, CANCEL)
    assert await database["operations"].count_documents({}) == 0
    assert counts(await begin_bulk(installation.services, ANN, CANCEL))[1] == 1
