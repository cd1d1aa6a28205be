"""Who has asked for too much of late is told so, and when to ask again; nothing of it is begun."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import httpx
import pytest

from gateway.devstack import Servers
from tests.gateway import DISPATCH, LiveGateway, serving

DEAR: Final = "{ jobs(first: 200) { nodes { events(first: 122) { nodes { at } } } } }"
COST: Final = 24_801
CANCEL: Final = 'mutation { cancel(id: "nope") { __typename } }'
FOLLOW: Final = "subscription { jobEvents { type } }"
VALID: Final = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd"}
RESPONSE: Final = "application/graphql-response+json"
STREAM: Final = "text/event-stream"

Limited = Callable[..., AbstractAsyncContextManager[LiveGateway]]


@pytest.fixture
def limited(servers: Servers, database_name: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Limited:
    # What is left has to be what Redis says, however busy the machine is.
    monkeypatch.setattr("storage.budgets._ANSWER_SECONDS", 10)

    @asynccontextmanager
    async def serve(**rates: float) -> AsyncIterator[LiveGateway]:
        settings: dict[str, Any] = {f"{name}_per_second": rate for name, rate in rates.items()}
        async with serving(servers.mongodb_url, redis_url, database_name, **settings) as gateway:
            yield gateway

    return serve


async def ask(gateway: LiveGateway, document: str, accept: str = RESPONSE, **variables: object) -> httpx.Response:
    request = {"query": document, "variables": variables}
    return await gateway.http.post("/graphql", json=request, headers={"accept": accept})


def refused(answer: dict[str, Any], kind: str) -> float:
    """When to ask again, of an answer that refuses all there is."""
    [error] = answer["errors"]
    assert "data" not in answer
    assert error["extensions"]["code"] == "RATE_LIMITED"
    again: float = error["extensions"]["retryAfter"]
    assert error["message"] == f"your budget of {kind} is spent: nothing was begun, ask again in {again:g} s"
    return again


async def test_an_answer_tells_what_is_left(limited: Limited) -> None:
    async with limited(cost=0.01) as gateway:
        told = (await ask(gateway, DEAR)).json()["extensions"]
        assert told == {"cost": {"estimated": COST, "limit": 25_000, "remaining": 199, "restoreRate": 0.01}}
        told = (await ask(gateway, "{ __typename }")).json()["extensions"]
        assert told["cost"]["remaining"] == 198


async def test_beyond_the_budget_nothing_is_begun(limited: Limited) -> None:
    async with limited(cost=0.01) as gateway:
        await ask(gateway, DEAR)
        response = await ask(gateway, DEAR)
        answer = response.json()
        again = refused(answer, "cost")
        assert again == pytest.approx((COST - 199) / 0.01, abs=100)
        assert answer["extensions"]["cost"]["remaining"] == 199
        assert (response.status_code, response.headers["content-type"]) == (429, RESPONSE)
        assert again <= int(response.headers["retry-after"]) < again + 1
        plain = await ask(gateway, DEAR, "application/json")
        assert (plain.status_code, "retry-after" in plain.headers) == (200, False)
        refused(plain.json(), "cost")


async def test_each_field_of_a_mutation_is_one(limited: Limited) -> None:
    async with limited(mutations=0.001) as gateway:
        five = " ".join(f'm{n}: cancel(id: "nope") {{ __typename }}' for n in range(5))
        assert "errors" not in (await ask(gateway, f"mutation {{ {five} }}")).json()
        assert "errors" not in (await ask(gateway, f"mutation {{ ...F }} fragment F on Mutation {{ {five} }}")).json()
        refused((await ask(gateway, DISPATCH, input=VALID)).json(), "mutations")
        jobs = (await ask(gateway, "{ jobs { totalCount { value } } }")).json()
        assert jobs["data"]["jobs"]["totalCount"]["value"] == 0
        # There is no budget of the cost of all this.
        assert "remaining" not in jobs["extensions"]["cost"]


async def test_subscriptions_are_counted_when_they_begin(limited: Limited) -> None:
    async with limited(subscriptions=0.001) as gateway, gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW)
        await gateway.until_subscribers(1)
        await socket.subscribe("2", FOLLOW)
        message = await socket.receive()
        assert (message["type"], message["id"]) == ("error", "2")
        refused({"errors": message["payload"]}, "subscriptions")
        await socket.subscribe("3", CANCEL)
        assert await socket.next("3", "cancel") == {"__typename": "NotFound"}


async def test_operations_on_sockets_are_paid_for_too(limited: Limited) -> None:
    async with limited(cost=0.01) as gateway, gateway.socket() as socket:
        await socket.subscribe("1", DEAR)
        assert (await socket.receive())["payload"]["extensions"]["cost"]["remaining"] == 199
        assert (await socket.receive())["type"] == "complete"
        await socket.subscribe("2", DEAR)
        refused({"errors": (await socket.receive())["payload"]}, "cost")


async def test_a_socket_too_many_is_closed_before_it_is_acknowledged(limited: Limited) -> None:
    async with limited(connections=0.001) as gateway, gateway.socket():
        async with gateway.socket(initialised=False) as second:
            await second.send({"type": "connection_init"})
            assert await second.closed() == (4429, "Too many requests")
        assert "errors" not in (await ask(gateway, CANCEL)).json()


async def test_a_stream_too_many_is_refused(limited: Limited) -> None:
    async with limited(connections=0.001) as gateway:
        async with gateway.stream(FOLLOW):
            await gateway.until_subscribers(1)
        response = await ask(gateway, FOLLOW, STREAM)
        assert response.status_code == 429
        again = refused(response.json(), "connections")
        assert again <= int(response.headers["retry-after"]) < again + 1


async def test_a_document_that_is_refused_costs_nothing(limited: Limited) -> None:
    async with limited(mutations=0.001) as gateway:
        for _ in range(11):
            assert (await ask(gateway, "mutation { nope }")).status_code == 400
        assert (await ask(gateway, CANCEL)).status_code == 200
