"""Who shows no good key is let in nowhere: over HTTP, as an event stream, and by WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from storage.client import Database
from tests.callers import REFUSED, bearer, id_of, key_in, wrong_secret
from tests.conftest import StartServers
from tests.event_streams import Event
from tests.gateway import DISPATCH, LiveGateway, serving, serving_for_all

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("nothing_is_logged")]

TYPENAME: Final = {"query": "{ __typename }"}
RESPONSE: Final = "application/graphql-response+json"
UNKNOWN: Final = "jg_AAAAAAAA_" + "A" * 43
KINDS: Final = ("nothing", "basic", "garbage", "unknown", "wrong secret", "expired", "revoked", "token", "long", "two")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb, auth="keys", graphiql=True) as gateway:
        yield gateway


async def headers_of(kind: str, database: Database) -> list[tuple[str, str]]:
    """The headers of somebody who shows something of this kind."""
    past = datetime.now(UTC) - timedelta(minutes=1)
    right = await key_in(database)
    shown = {
        "nothing": [],
        "basic": ["Basic YTpi"],
        "garbage": ["Bearer of bad news"],
        "unknown": [f"Bearer {UNKNOWN}"],
        "wrong secret": [f"Bearer {wrong_secret(right)}"],
        "expired": [f"Bearer {await key_in(database, expires_at=past)}"],
        "revoked": [f"Bearer {await key_in(database, revoked_at=past)}"],
        "token": ["Bearer a.b.c"],
        "long": [f"Bearer {'x' * 20_000}"],
        "two": [f"Bearer {right}", f"Bearer {right}"],
    }
    return [("authorization", value) for value in shown[kind]]


# ---------------------------------------------------------------- HTTP


@pytest.mark.parametrize("kind", KINDS)
async def test_who_shows_no_good_key_is_told_so_and_nothing_else(gateway: LiveGateway, kind: str) -> None:
    headers = await headers_of(kind, gateway.gateway.database)
    # Not even whether it could have been read.
    for content in (b'{"query": "{ __typename }"}', b"nonsense"):
        json = [("content-type", "application/json")]
        response = await gateway.http.post("/graphql", content=content, headers=[*headers, *json])
        assert (response.status_code, response.json()) == (401, {"errors": [REFUSED]})
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["content-type"] == "application/json"


async def test_the_refusal_is_of_the_media_type_that_was_asked_for(gateway: LiveGateway) -> None:
    response = await gateway.http.post("/graphql", json=TYPENAME, headers={"accept": RESPONSE})
    assert (response.status_code, response.headers["content-type"]) == (401, RESPONSE)
    assert response.json() == {"errors": [REFUSED]}


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
async def test_who_shows_a_good_key_is_let_in_and_is_who_the_key_says(gateway: LiveGateway, scheme: str) -> None:
    text = await key_in(gateway.gateway.database, name="ann")
    ask = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd"}
    headers = {"authorization": scheme + text}
    request = {"query": DISPATCH, "variables": {"input": ask}}
    response = await gateway.http.post("/graphql", json=request, headers=headers)
    job_id = response.json()["data"]["dispatch"]["id"]
    cancel = {"query": f'mutation {{ cancel(id: "{job_id}") {{ __typename }} }}'}
    await gateway.http.post("/graphql", json=cancel, headers=headers)
    job = await gateway.gateway.database["jobs"].find_one({"_id": job_id})
    assert job["cancelled"]["by"] == "ann"


async def test_the_page_of_graphiql_and_the_health_of_the_gateway_are_for_everybody(gateway: LiveGateway) -> None:
    page = await gateway.http.get("/graphql", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for path in ("/healthz", "/readyz"):
        assert (await gateway.http.get(path)).status_code == 200
    asked = await gateway.http.get("/graphql", params=TYPENAME, headers={"accept": "text/html"})
    assert asked.status_code == 401


async def test_a_key_is_not_taken_from_the_address(gateway: LiveGateway) -> None:
    text = await key_in(gateway.gateway.database)
    for name in ("authorization", "key", "token", "access_token"):
        response = await gateway.http.post("/graphql", json=TYPENAME, params={name: f"Bearer {text}"})
        assert response.status_code == 401


# ---------------------------------------------------------------- event streams


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_unknown_is_given_a_stream(gateway: LiveGateway, kind: str) -> None:
    headers = [*(await headers_of(kind, gateway.gateway.database)), ("accept", "text/event-stream")]
    request = {"query": "subscription { jobEvents { type } }"}
    for response in (
        await gateway.http.post("/graphql", json=request, headers=headers),
        await gateway.http.get("/graphql", params=request, headers=headers),
    ):
        assert (response.status_code, response.json()) == (401, {"errors": [REFUSED]})


async def test_who_shows_a_good_key_is_given_a_stream(gateway: LiveGateway) -> None:
    text = await key_in(gateway.gateway.database)
    async with gateway.stream("{ __typename }", authorization=f"Bearer {text}") as stream:
        told = Event("next", None, {"data": {"__typename": "Query"}})
        assert await stream.rest() == [told, Event("complete", None, None)]


# ---------------------------------------------------------------- WebSockets


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_of_nobody_known_is_refused_before_it_is_acknowledged(
    gateway: LiveGateway, kind: str
) -> None:
    headers = await headers_of(kind, gateway.gateway.database)
    # In the handshake, and then in the first message; of two, that has one under each of two names.
    payload = {name: value for (_, value), name in zip(headers, ("authorization", "Authorization"), strict=False)}
    if kind != "long":  # that is no handshake
        async with gateway.socket(initialised=False, additional_headers=headers) as socket:
            await socket.send({"type": "connection_init"})
            assert await socket.closed() == (4403, "Forbidden")
    async with gateway.socket(initialised=False) as socket:
        await socket.send({"type": "connection_init", "payload": payload})
        assert await socket.closed() == (4403, "Forbidden")


@pytest.mark.parametrize("name", ["authorization", "Authorization", "AUTHORIZATION"])
async def test_a_connection_is_initialised_by_a_good_key(gateway: LiveGateway, name: str) -> None:
    text = await key_in(gateway.gateway.database)
    async with gateway.socket(initialised=False) as socket:
        await socket.initialise(**{name: f"Bearer {text}"})
        await socket.subscribe("1", "{ __typename }")
        assert await socket.next("1", "__typename") == "Query"
    async with gateway.socket(additional_headers=bearer(text)) as socket:
        await socket.subscribe("1", "{ __typename }")
        assert await socket.next("1", "__typename") == "Query"


async def test_who_asks_on_a_websocket_is_who_the_key_says(gateway: LiveGateway) -> None:
    text = await key_in(gateway.gateway.database, name="ben")
    asked = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd"}
    async with gateway.socket(initialised=False) as socket:
        await socket.initialise(authorization=f"Bearer {text}")
        await socket.subscribe("1", DISPATCH, input=asked)
        job_id = (await socket.next("1", "dispatch"))["id"]
        assert (await socket.receive())["type"] == "complete"
        await socket.subscribe("2", f'mutation {{ cancel(id: "{job_id}") {{ __typename }} }}')
        assert await socket.next("2", "cancel") == {"__typename": "Job"}
    job = await gateway.gateway.database["jobs"].find_one({"_id": job_id})
    assert job["cancelled"]["by"] == "ben"


@pytest.mark.parametrize("shown", [f"Bearer {UNKNOWN}", 7, None, ["Bearer"]])
async def test_what_the_first_message_shows_goes_before_the_handshake(gateway: LiveGateway, shown: object) -> None:
    text = await key_in(gateway.gateway.database)
    async with gateway.socket(initialised=False, additional_headers=bearer(text)) as socket:
        await socket.send({"type": "connection_init", "payload": {"authorization": shown}})
        assert await socket.closed() == (4403, "Forbidden")


async def test_nothing_is_carried_out_before_it_is_known_who_asks(gateway: LiveGateway) -> None:
    text = await key_in(gateway.gateway.database)
    async with gateway.socket(initialised=False, additional_headers=bearer(text)) as socket:
        await socket.subscribe("1", "{ __typename }")
        assert await socket.closed() == (4401, "Unauthorized")


# ---------------------------------------------------------------- the gateway


async def test_uses_are_written_down_at_the_latest_when_the_gateway_stops(
    servers: Servers, redis_url: str, mongodb: MongoClient[dict[str, Any]], database_name: str
) -> None:
    async with serving(servers.mongodb_url, redis_url, database_name, auth="keys") as gateway:
        text = await key_in(gateway.gateway.database)
        assert (await gateway.http.post("/graphql", json=TYPENAME, headers=bearer(text))).status_code == 200
    document = mongodb[database_name]["api_keys"].find_one({"_id": id_of(text)})
    assert document is not None
    assert document["last_used_at"] is not None


async def test_while_mongodb_is_away_nobody_is_told_that_their_key_is_wrong(own_servers: StartServers) -> None:
    stack = await own_servers()
    async with serving(stack.mongod.url, stack.redis.url, "test", auth="keys") as gateway:
        text = await key_in(gateway.gateway.database)
        await stack.mongod.kill()
        response = await gateway.http.post("/graphql", json=TYPENAME, headers=bearer(text))
        [error] = response.json()["errors"]
        assert (response.status_code, error["extensions"]) == (503, {"code": "UNAVAILABLE", "retryAfter": 1.0})
        assert error["message"].startswith("MongoDB is unavailable: ")
        async with gateway.socket(initialised=False, additional_headers=bearer(text)) as socket:
            await socket.send({"type": "connection_init"})
            code, reason = await socket.closed()
            assert code == 1013
            assert (reason or "").startswith("MongoDB is unavailable: ")
        await stack.mongod.restart()


@pytest.mark.parametrize("shown", [[], ["Bearer garbage"]])
async def test_where_nobody_is_asked_everybody_may_show_what_they_like(
    servers: Servers, redis_url: str, database_name: str, shown: list[str]
) -> None:
    headers = [("authorization", value) for value in shown]
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        assert (await gateway.http.post("/graphql", json=TYPENAME, headers=headers)).status_code == 200
        async with gateway.socket(additional_headers=headers) as socket:
            await socket.subscribe("1", "{ __typename }")
            assert await socket.next("1", "__typename") == "Query"
