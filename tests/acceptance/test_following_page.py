"""The page ``docs/following.md`` is true: a job is followed from its dispatch to its end as it says, whatever comes first."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from gateway.gateway_process import PING
from gateway.graphql_http import INIT_WITHIN, MAX_REQUEST
from gateway.graphql_sse import HEARTBEAT
from gateway.graphql_ws import MAX_OPERATIONS
from jobs.events import EventType
from jobs.feed import feed_number
from resolvers.hub import BUFFER
from tests.acceptance.test_readme import ADDRESS
from tests.clients.clients import CLIENTS, Client
from tests.event_streams import Stream
from tests.gateway import LiveGateway, serving
from worker.context import TaskContext
from worker.tasks import TaskError

PAGE: Final = (Path(__file__).parents[2] / "docs" / "following.md").read_text(encoding="utf-8")
START, END = re.findall(r"^```graphql\n(.*?)^```\n", PAGE, re.MULTILINE | re.DOTALL)
JOB: Final = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd", "input": {"answer": 42}}


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        yield gateway


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


async def dispatched(client: Client, gateway: LiveGateway, **changes: Any) -> tuple[str, str]:
    """The id and the cursor that a dispatch answers."""
    async with aclosing(client(gateway.url, START, {"input": JOB | changes})) as results:
        job = (await anext(results))["data"]["dispatch"]
    return job["id"], job["events"]["pageInfo"]["endCursor"]


def followed(client: Client, gateway: LiveGateway, job_id: str, after: str) -> AsyncGenerator[dict[str, Any], None]:
    return client(gateway.url, END, {"id": job_id, "after": after})


async def echo(_: TaskContext, given: Any) -> Any:
    return given


async def fail(_: TaskContext, __: Any) -> Any:
    raise TaskError("BUSY", "not now")


async def test_a_job_that_ends_after_it_is_followed_is_heard(gateway: LiveGateway, client: Client) -> None:
    job_id, after = await dispatched(client, gateway)
    async with asyncio.timeout(30), aclosing(followed(client, gateway, job_id, after)) as events:
        first = asyncio.ensure_future(anext(events))
        await gateway.until_subscribers(1)
        async with gateway.worker({"demo.echo": echo}):
            event = (await first)["data"]["jobEvents"]
    assert (event["type"], event["status"], event["job"]["result"]) == ("JOB_COMPLETED", "COMPLETED", {"answer": 42})


async def test_a_job_that_was_over_before_it_is_followed_is_heard(gateway: LiveGateway, client: Client) -> None:
    async with gateway.worker({"demo.echo": fail}):
        job_id, after = await dispatched(client, gateway)
        await gateway.told(job_id, EventType.JOB_FAILED)
    async with asyncio.timeout(30), aclosing(followed(client, gateway, job_id, after)) as events:
        event = (await anext(events))["data"]["jobEvents"]
    assert (event["type"], event["job"]["errorCode"], event["job"]["lastError"]) == ("JOB_FAILED", "BUSY", "not now")


async def test_a_dispatch_that_is_repeated_when_all_is_over_leads_to_the_end_as_well(gateway: LiveGateway) -> None:
    client = CLIENTS["gql"]
    async with gateway.worker({"demo.echo": echo}):
        job_id, _ = await dispatched(client, gateway, idempotencyKey="once")
        await gateway.told(job_id, EventType.JOB_COMPLETED)
        other = await gateway.dispatched()
        await gateway.told(other, EventType.JOB_COMPLETED)
    same, after = await dispatched(client, gateway, idempotencyKey="once")
    async with asyncio.timeout(30), aclosing(followed(client, gateway, same, after)) as events:
        event = (await anext(events))["data"]["jobEvents"]
    assert (same, event["type"]) == (job_id, "JOB_COMPLETED")


async def test_the_cursor_of_a_new_job_spares_its_follower_what_came_before(gateway: LiveGateway) -> None:
    for _ in range(3):
        await gateway.told(await gateway.dispatched(), EventType.JOB_QUEUED)
    _, after = await dispatched(CLIENTS["gql"], gateway)
    assert feed_number(after) >= 6


async def test_a_stream_can_be_had_by_curl(gateway: LiveGateway) -> None:
    [command] = re.findall(r"^```sh\n(.*?)^```\n", PAGE, re.MULTILINE | re.DOTALL)
    words = shlex.split(command)
    assert words[2] == ADDRESS
    options = [(name, value) for name, value in pairwise(words) if name.startswith("-")]
    headers = dict(value.split(": ") for name, value in options if name == "-H")
    async with gateway.http.stream("POST", "/graphql", content=dict(options)["--data"], headers=headers) as response:
        await gateway.until_subscribers(1)
        job_id = await gateway.dispatched()
        event = await Stream(response).event()
    assert event is not None
    assert event.data == {"data": {"jobEvents": {"type": "JOB_SCHEDULED", "jobId": job_id}}}


def test_the_numbers_on_the_page_are_those_of_the_code() -> None:
    assert f"up to {MAX_OPERATIONS} at a time" in PAGE
    assert f"a ping every {PING.total_seconds():.0f} s" in PAGE
    assert f"a comment every {HEARTBEAT.total_seconds():.0f} s" in PAGE
    assert f"takes longer than {INIT_WITHIN.total_seconds():.0f} s" in PAGE
    assert f"more than {BUFFER:,} events".replace(",", " ") in PAGE
    assert (MAX_REQUEST, "| 1 MiB | 1 MiB |" in PAGE) == (1024 * 1024, True)
