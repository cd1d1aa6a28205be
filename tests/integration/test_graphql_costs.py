"""What an answer tells about what the operation is taken to cost."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.feed import feed_cursor
from tests.gateway import LiveGateway, serving_for_all

pytestmark = pytest.mark.asyncio(loop_scope="module")

TWO: Final = "query A { jobs(first: 7) { nodes { id } } } query B { jobs(first: 9) { nodes { id } } }"
FOLLOW: Final = "subscription ($after: String) { jobEvents(after: $after) { type job { id } } }"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb) as gateway:
        yield gateway


def costing(estimated: int) -> dict[str, Any]:
    return {"cost": {"estimated": estimated, "limit": 25_000}}


async def ask(gateway: LiveGateway, document: str, **more: object) -> dict[str, Any]:
    answer: dict[str, Any] = (await gateway.http.post("/graphql", json={"query": document, **more})).json()
    return answer


async def test_an_answer_tells_what_it_has_cost(gateway: LiveGateway) -> None:
    assert (await ask(gateway, "{ jobs(first: 7) { nodes { id } } }"))["extensions"] == costing(1 + 7)
    assert (await ask(gateway, 'mutation { cancel(id: "nope") { __typename } }'))["extensions"] == costing(1)


async def test_variables_and_the_operation_that_is_meant_decide(gateway: LiveGateway) -> None:
    assert (await ask(gateway, TWO, operationName="B"))["extensions"] == costing(1 + 9)
    document = "query ($n: Int) { jobs(first: $n) { nodes { id } } }"
    assert (await ask(gateway, document, variables={"n": 3}))["extensions"] == costing(1 + 3)


async def test_what_reads_nothing_costs_something(gateway: LiveGateway) -> None:
    assert (await ask(gateway, "{ __typename }"))["extensions"] == costing(1)


async def test_an_answer_with_errors_tells_it_too(gateway: LiveGateway) -> None:
    answer = await ask(gateway, "{ jobs(first: -1) { nodes { id } } }")
    assert "errors" in answer
    assert answer["extensions"] == costing(1)


@pytest.mark.parametrize(
    "document",
    [
        "{ jobs {",
        "{ nope }",
        TWO,
        "{ jobs(first: 200) { nodes { events(first: 200) { nodes { at } } } } }",
    ],
)
async def test_a_document_that_is_refused_has_no_cost(gateway: LiveGateway, document: str) -> None:
    assert list(await ask(gateway, document)) == ["errors"]


async def test_over_a_socket_a_query_tells_it_and_a_subscription_with_its_first_event(gateway: LiveGateway) -> None:
    await gateway.dispatched()
    async with gateway.socket() as socket:
        await socket.subscribe("q", "{ jobs(first: 7) { nodes { id } } }")
        assert (await socket.receive())["payload"]["extensions"] == costing(1 + 7)
        assert (await socket.receive())["type"] == "complete"
        await socket.subscribe("s", FOLLOW, after=feed_cursor(0))
        payloads = [(await socket.receive())["payload"] for _ in range(2)]
    assert [payload.get("extensions") for payload in payloads] == [costing(1 + 1), None]


async def test_a_stream_tells_it_with_its_first_event(gateway: LiveGateway) -> None:
    await gateway.dispatched()
    async with gateway.stream(FOLLOW, after=feed_cursor(0)) as stream:
        written = [await stream.written() for _ in range(2)]
    told = [json.loads((event or "").partition("data: ")[2]) for event in written]
    assert [payload.get("extensions") for payload in told] == [costing(1 + 1), None]
