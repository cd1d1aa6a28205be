"""Cancelling through GraphQL: what it does to a job in each status."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from gateway.devstack import Servers
from jobs.events import EventType
from tests.gateway import Answer, LiveGateway, serving
from worker.context import TaskContext
from worker.tasks import TaskError

CANCEL: Final = """
    mutation ($id: ID!, $reason: String) {
        cancel(id: $id, reason: $reason) {
            __typename
            ... on Job { id status cancelReason revision nextRunAt }
            ... on Problem { code message }
            ... on TransitionRefused { action status job { id status revision } }
        }
    }
"""

LATER: Final = "2099-01-01T00:00:00.000Z"


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        yield gateway


@pytest.fixture
def jobs(mongodb: MongoClient[dict[str, Any]], database_name: str) -> Collection[dict[str, Any]]:
    """What is stored."""
    return mongodb[database_name]["jobs"]


async def cancel(gateway: LiveGateway, job_id: str, reason: str | None = None) -> Answer:
    answer: Answer = (await gateway.data(CANCEL, id=job_id, reason=reason))["cancel"]
    return answer


@pytest.mark.parametrize(
    ("schedule", "status"),
    [
        ({"startAt": LATER}, "SCHEDULED"),
        ({"cron": "0 8 * * *", "startAt": LATER}, "SCHEDULED"),
        ({}, "QUEUED"),
        ({"every": 3_600_000}, "QUEUED"),
    ],
)
async def test_a_job_that_waits_is_cancelled_with_its_reason(
    gateway: LiveGateway, schedule: dict[str, Any], status: str
) -> None:
    job_id = await gateway.dispatched(schedule=schedule)
    before = await gateway.job(job_id)
    assert before["status"] == status
    cancelled = await cancel(gateway, job_id, "r" * 1000)
    assert cancelled == {
        "__typename": "Job",
        "id": job_id,
        "status": "CANCELLED",
        "cancelReason": "r" * 1000,
        "nextRunAt": None,
        "revision": before["revision"] + 1,
    }
    after = await gateway.job(job_id)
    # Whether that is later than before is for two clocks to say.
    assert after["completedAt"] == after["updatedAt"]


async def test_a_paused_job_is_cancelled(gateway: LiveGateway) -> None:
    job_id = await gateway.dispatched(schedule={"every": 1000, "startAt": LATER})
    await gateway.data("mutation ($id: ID!) { pause(id: $id) { __typename } }", id=job_id)
    assert (await cancel(gateway, job_id))["status"] == "CANCELLED"


async def test_a_running_job_is_cancelled_and_its_handler_stopped(gateway: LiveGateway) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait(_: TaskContext, __: Any) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with gateway.worker({"demo.echo": wait}), asyncio.timeout(20):
        job_id = await gateway.dispatched()
        await began.wait()
        assert (await cancel(gateway, job_id, "enough"))["status"] == "CANCELLED"
        await ended.wait()
    job = await gateway.job(job_id)
    assert (job["status"], job["cancelReason"], job["result"], job["errorCode"]) == ("CANCELLED", "enough", None, None)
    history = await gateway.data("query ($id: ID!) { history(jobId: $id) { executions { status number } } }", id=job_id)
    assert history == {"history": {"executions": [{"status": "CANCELLED", "number": 1}]}}


async def test_cancelling_twice_changes_nothing_the_second_time(
    gateway: LiveGateway, jobs: Collection[dict[str, Any]]
) -> None:
    job_id = await gateway.dispatched()
    first = await cancel(gateway, job_id, "first")
    await gateway.told(job_id, EventType.JOB_CANCELLED)
    # The events leave the job a moment after they are in the log.
    await gateway.until(lambda: jobs.find_one({"outbox.0": {"$exists": True}}) is None)
    assert await cancel(gateway, job_id, "second") == first
    [stored] = jobs.find()
    assert (stored["cancelled"]["reason"], stored["outbox"]) == ("first", [])


async def fail(_: TaskContext, __: Any) -> Any:
    raise TaskError("BROKEN", "no luck")


async def echo(_: TaskContext, value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    ("handler", "event", "status"),
    [(echo, EventType.JOB_COMPLETED, "COMPLETED"), (fail, EventType.JOB_FAILED, "FAILED")],
)
async def test_a_job_that_has_ended_cannot_be_cancelled(
    gateway: LiveGateway, handler: Any, event: EventType, status: str
) -> None:
    async with gateway.worker({"demo.echo": handler}):
        job_id = await gateway.dispatched()
        await gateway.told(job_id, event)
    before = await gateway.job(job_id)
    assert await cancel(gateway, job_id) == {
        "__typename": "TransitionRefused",
        "code": "TRANSITION_REFUSED",
        "action": "CANCEL",
        "status": status,
        "message": f"cannot cancel a job that is {status.lower()}",
        "job": {"id": job_id, "status": status, "revision": before["revision"]},
    }
    assert await gateway.job(job_id) == before


async def test_too_long_a_reason_is_refused(gateway: LiveGateway) -> None:
    job_id = await gateway.dispatched()
    before = await gateway.job(job_id)
    answer = await gateway.ask(CANCEL, id=job_id, reason="r" * 1001)
    message = "1001 characters, more than the 1000 allowed"
    [error] = answer["errors"]
    assert error["message"] == f"reason: {message}"
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "issues": [{"path": ["reason"], "message": message}]}
    assert await gateway.job(job_id) == before
