"""Lists may have a thousand values, and not one more, which is told with the name of the list."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.events import EventType
from schema.events import JobEventFilter, event_filter
from tests.gateway import LiveGateway, serving
from tests.webhooks import KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOBS: Final = "query ($filter: JobFilter) { jobs(filter: $filter, first: 1) { nodes { id } } }"
EVENTS: Final = "query ($filter: JobEventFilter) { events(filter: $filter, first: 1) { nodes { jobId } } }"
FOLLOW: Final = "subscription ($filter: JobEventFilter) { jobEvents(filter: $filter) { jobId } }"
SET: Final = """
    mutation ($input: SetWebhookInput!) {
        setWebhook(input: $input) {
            __typename ... on WebhookSet { webhook { events } } ... on InvalidInput { issues { path message } }
        }
    }
"""
TOO_MANY: Final = "1001 values, more than the 1000 allowed"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    name = "test_caps"
    async with serving(servers.mongodb_url, servers.redis_url, name, secret_keys=KEY) as gateway:
        yield gateway
    mongodb.drop_database(name)


@pytest.mark.parametrize("condition", ["ids", "status", "product", "env", "namespace", "task", "tags", "errorCode"])
async def test_a_condition(gateway: LiveGateway, condition: str) -> None:
    value = "FAILED" if condition == "status" else "x"
    assert "errors" not in await gateway.ask(JOBS, filter={condition: [value] * 1000})
    [error] = (await gateway.ask(JOBS, filter={condition: [value] * 1001}))["errors"]
    assert error["message"] == f"filter.{condition}: {TOO_MANY}"


async def test_types_of_events(gateway: LiveGateway) -> None:
    assert "errors" not in await gateway.ask(EVENTS, filter={"types": ["JOB_FAILED"] * 1000})
    [error] = (await gateway.ask(EVENTS, filter={"types": ["JOB_FAILED"] * 1001}))["errors"]
    assert (error["message"], error["extensions"]["code"]) == (f"filter.types: {TOO_MANY}", "BAD_USER_INPUT")
    async with gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW, filter={"types": ["JOB_FAILED"] * 1001})
        message = await socket.receive()
    told = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
    assert [error["message"] for error in told] == [f"filter.types: {TOO_MANY}"]


async def test_each_type_is_compared_with_an_event_once(gateway: LiveGateway) -> None:
    wanted = event_filter(JobEventFilter(types=[EventType.JOB_FAILED, EventType.JOB_QUEUED] * 2))
    assert wanted.types == (EventType.JOB_FAILED, EventType.JOB_QUEUED)


async def test_events_of_a_webhook(gateway: LiveGateway) -> None:
    wanted = {"url": "https://93.184.216.34/hook", "events": ["JOB_FAILED", "JOB_COMPLETED"] * 500}
    answer = (await gateway.data(SET, input=wanted))["setWebhook"]
    assert answer == {"__typename": "WebhookSet", "webhook": {"events": ["JOB_FAILED", "JOB_COMPLETED"]}}
    answer = (await gateway.data(SET, input=wanted | {"events": ["JOB_FAILED"] * 1001}))["setWebhook"]
    assert answer["issues"] == [{"path": ["input", "events"], "message": TOO_MANY}]
