"""Dispatching through GraphQL: what is answered, and what is stored."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from gateway.devstack import Servers
from tests.factories import SECOND
from tests.gateway import LiveGateway, serving

LATER: Final = "2099-01-01T00:00:00.000Z"


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        yield gateway


@pytest.fixture
def jobs(mongodb: MongoClient[dict[str, Any]], database_name: str) -> Collection[dict[str, Any]]:
    """What is stored."""
    return mongodb[database_name]["jobs"]


# ---------------------------------------------------------------- dispatch


async def test_a_job_without_a_schedule_is_queued_at_once(gateway: LiveGateway) -> None:
    earliest = gateway.services.clock.now()
    job = await gateway.job(await gateway.dispatched())
    created = datetime.fromisoformat(job["createdAt"])
    # The clock may be set meanwhile, and a little back.
    assert earliest - SECOND <= created <= gateway.services.clock.now() + SECOND
    assert job == {
        "id": job["id"],
        "status": "QUEUED",
        "namespace": "demo",
        "task": "echo",
        "product": "shop",
        "env": "prd",
        "tags": [],
        "priority": 0,
        "input": {},
        "result": None,
        "scheduledAt": job["createdAt"],
        "startedAt": None,
        "completedAt": None,
        "nextRunAt": None,
        "recurring": False,
        "cron": None,
        "tz": None,
        "every": None,
        "startAt": None,
        "endDate": None,
        "limit": None,
        "missed": None,
        "overlap": None,
        "executionCount": 0,
        "retries": 0,
        "retryCount": 0,
        "timeout": None,
        "retryConfig": {
            "initialDelay": 1000,
            "maxDelay": 300_000,
            "backoffMultiplier": 2.0,
            "jitter": 0.0,
            "retryableErrors": None,
            "nonRetryableErrors": None,
        },
        "lastError": None,
        "errorCode": None,
        "progress": None,
        "progressMessage": None,
        "cancelReason": None,
        "pauseReason": None,
        "idempotencyKey": None,
        "createdAt": job["createdAt"],
        "updatedAt": job["createdAt"],
        "revision": job["revision"],
    }


async def test_a_job_is_read_as_it_was_dispatched(gateway: LiveGateway) -> None:
    retry = {
        "initialDelay": 0,
        "maxDelay": 60_000,
        "backoffMultiplier": 1.5,
        "jitter": 0.3,
        "retryableErrors": ["TIMEOUT", "RATE_LIMITED"],
        "nonRetryableErrors": [],
    }
    given = {
        "tags": ["b", "a"],
        "priority": -1000,
        "retries": 1000,
        "timeout": 2_592_000_000,
        "retryConfig": retry,
        "idempotencyKey": "k" * 255,
    }
    job = await gateway.job(await gateway.dispatched(**given))
    assert {name: job[name] for name in given} == given


async def test_a_tag_given_twice_is_kept_once(gateway: LiveGateway) -> None:
    job = await gateway.job(await gateway.dispatched(tags=["b", "a", "b"]))
    assert job["tags"] == ["b", "a"]


def deepest() -> Any:
    value: list[Any] = []
    for _ in range(31):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(deepest(), id="32 levels"),
        pytest.param("x" * (256 * 1024 - 2), id="256 KB"),
        pytest.param([2**53, -(2**53), 0.1, 1e300, True, None, ""], id="scalars"),
        pytest.param({"$where": "1", "a.b": {"$set": 1}, "": 0, "_id": 5}, id="keys that mean something to MongoDB"),
        pytest.param("𝄞 \0 \u2028 é", id="characters of all kinds"),
    ],
)
async def test_an_input_is_read_as_it_was_given(gateway: LiveGateway, value: Any) -> None:
    job = await gateway.job(await gateway.dispatched(input=value))
    assert job["input"] == value


@pytest.mark.parametrize(
    "start_at",
    [
        LATER,
        "2099-01-01",
        "2099-01-01 00:00",
        "2099-01-01t00:00:00.000999z",
        "2099-01-01T05:30:00+05:30",
        4_070_908_800_000,
        4_070_908_800_000.0,
    ],
)
async def test_a_job_for_later_waits_for_its_time_however_that_is_written(
    gateway: LiveGateway, start_at: object
) -> None:
    job = await gateway.job(await gateway.dispatched(schedule={"startAt": start_at}))
    assert (job["status"], job["recurring"]) == ("SCHEDULED", False)
    assert (job["scheduledAt"], job["nextRunAt"]) == (LATER, LATER)


async def test_a_time_in_the_past_means_now(gateway: LiveGateway) -> None:
    job = await gateway.job(await gateway.dispatched(schedule={"startAt": 0}))
    assert (job["status"], job["scheduledAt"]) == ("QUEUED", job["createdAt"])


RECURS: Final = ("recurring", "cron", "tz", "every", "startAt", "endDate", "limit", "missed", "overlap", "nextRunAt")


@pytest.mark.parametrize(
    ("schedule", "shown"),
    [
        pytest.param(
            {"cron": "0 8 * * *", "tz": "America/New_York", "startAt": LATER},
            [
                True,
                "0 8 * * *",
                "America/New_York",
                None,
                LATER,
                None,
                None,
                "RUN_ONCE",
                "SKIP",
                "2099-01-01T13:00:00.000Z",
            ],
            id="cron",
        ),
        pytest.param(
            {"every": 60_000, "startAt": LATER, "limit": 4, "endDate": "2100-01-01", "missed": "RUN_ALL"}
            | {"overlap": "QUEUE_ONE"},
            [True, None, None, 60_000, LATER, "2100-01-01T00:00:00.000Z", 4, "RUN_ALL", "QUEUE_ONE", LATER],
            id="every",
        ),
    ],
)
async def test_a_recurring_job_is_read_with_its_schedule(
    gateway: LiveGateway, schedule: dict[str, Any], shown: list[Any]
) -> None:
    job = await gateway.job(await gateway.dispatched(schedule=schedule))
    assert [job[name] for name in RECURS] == shown
    assert (job["status"], job["scheduledAt"]) == ("SCHEDULED", job["nextRunAt"])


async def test_an_interval_without_a_start_begins_now_and_keeps_its_grid(gateway: LiveGateway) -> None:
    job = await gateway.job(await gateway.dispatched(schedule={"every": 3_600_000}))
    created = datetime.fromisoformat(job["createdAt"])
    assert (job["status"], job["scheduledAt"]) == ("QUEUED", job["createdAt"])
    assert datetime.fromisoformat(job["nextRunAt"]) == created + timedelta(hours=1)


async def test_what_is_answered_is_stored(gateway: LiveGateway, jobs: Collection[dict[str, Any]]) -> None:
    before = datetime.now(UTC)
    job_id = await gateway.dispatched(input={"n": 1})
    [stored] = jobs.find()
    assert (stored["_id"], stored["status"], stored["input"]) == (job_id, "queued", {"n": 1})
    assert before - timedelta(seconds=2) < stored["created_at"] < datetime.now(UTC) + timedelta(seconds=2)


# ---------------------------------------------------------------- idempotency


async def test_the_same_request_with_the_same_key_answers_the_first_job(
    gateway: LiveGateway, jobs: Collection[dict[str, Any]]
) -> None:
    first = await gateway.dispatch(idempotencyKey="k", input={"a": 1, "b": 2})
    assert await gateway.dispatch(idempotencyKey="k", input={"b": 2, "a": 1}) == first
    assert jobs.count_documents({}) == 1


async def test_another_request_with_the_same_key_is_a_conflict_with_the_first_job(
    gateway: LiveGateway, jobs: Collection[dict[str, Any]]
) -> None:
    first = await gateway.dispatched(idempotencyKey="k", input=1)
    assert await gateway.dispatch(idempotencyKey="k", input=2) == {
        "__typename": "IdempotencyConflict",
        "code": "IDEMPOTENCY_CONFLICT",
        "message": "the idempotency key 'k' was used before with another request",
        "job": {"id": first},
    }
    [stored] = jobs.find()
    assert (stored["_id"], stored["input"]) == (first, 1)


async def test_a_key_counts_within_one_product_and_env(gateway: LiveGateway) -> None:
    places = [{}, {"product": "other"}, {"env": "dev"}]
    made = {await gateway.dispatched(idempotencyKey="k", **place) for place in places}
    assert len(made) == 3


async def test_of_twenty_dispatches_at_once_with_one_key_one_makes_a_job(
    gateway: LiveGateway, jobs: Collection[dict[str, Any]]
) -> None:
    answers = await asyncio.gather(*(gateway.dispatch(idempotencyKey="k") for _ in range(20)))
    [stored] = jobs.find()
    assert answers == [{"__typename": "Job", "id": stored["_id"], "status": "QUEUED"}] * 20


async def test_of_twenty_different_requests_at_once_with_one_key_one_makes_a_job(
    gateway: LiveGateway, jobs: Collection[dict[str, Any]]
) -> None:
    answers = await asyncio.gather(*(gateway.dispatch(idempotencyKey="k", input=n) for n in range(20)))
    [stored] = jobs.find()
    assert Counter(answer["__typename"] for answer in answers) == {"Job": 1, "IdempotencyConflict": 19}
    assert {(answer.get("job") or answer)["id"] for answer in answers} == {stored["_id"]}
