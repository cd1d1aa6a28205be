"""What browsers are told: whose pages may call, what an answer may be taken for, and nothing of the schema."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.devstack import Servers
from gateway.graphql_http import GraphQLEndpoint
from gateway.page_policy import content_policy
from jobs.feed import feed_cursor
from schema.admission import Admission
from schema.document_limits import DocumentLimits
from schema.faults import PublicErrors
from tests.costs import costless
from tests.gateway import LiveGateway, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS: Final = "https://app.example.com"
OTHER: Final = "https://evil.example.com"
FOLLOW: Final = f'subscription {{ jobEvents(after: "{feed_cursor(0)}") {{ type }} }}'
SAFE: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
PAGE: Final = {header: value for header, value in SAFE.items() if header != "content-security-policy"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    name = "test_browsers"
    async with serving(
        servers.mongodb_url, servers.redis_url, name, allowed_origins=f"{OURS}, http://localhost:5173"
    ) as gateway:
        yield gateway
    mongodb.drop_database(name)


async def preflight(gateway: LiveGateway, origin: str) -> tuple[int, str | None, str]:
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type, authorization",
    }
    response = await gateway.http.options("/graphql", headers=asked)
    return (
        response.status_code,
        response.headers.get("access-control-allow-origin"),
        response.headers.get("access-control-allow-headers", ""),
    )


async def test_pages_of_allowed_origins_may_send_json_and_read_the_answer(gateway: LiveGateway) -> None:
    status, origin, headers = await preflight(gateway, OURS)
    assert (status, origin) == (200, OURS)
    assert {"Authorization", "Content-Type", "Last-Event-ID"} <= set(headers.split(", "))
    response = await gateway.http.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": OURS})
    assert response.headers["access-control-allow-origin"] == OURS
    # Whoever is let in brings what proves who he is himself: no cookies are sent along.
    assert "access-control-allow-credentials" not in response.headers


async def test_pages_of_other_origins_may_not(gateway: LiveGateway) -> None:
    status, origin, _ = await preflight(gateway, OTHER)
    assert (status, origin) == (400, None)
    response = await gateway.http.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": OTHER})
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("origin", [OURS, "http://localhost:5173", None, "same"])
async def test_pages_of_allowed_origins_and_what_is_no_page_may_open_a_websocket(
    gateway: LiveGateway, origin: str | None
) -> None:
    origin = f"http://127.0.0.1:{gateway.port}" if origin == "same" else origin
    async with opened(gateway, origin) as socket:
        assert socket.subprotocol == "graphql-transport-ws"


@pytest.mark.parametrize("origin", [OTHER, "null", "http://app.example.com", f"{OURS}:8443", "http://localhost"])
async def test_pages_of_other_origins_may_not_open_a_websocket(gateway: LiveGateway, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(gateway, origin):
            pass
    assert refused.value.response.status_code == 403


async def test_a_page_of_another_origin_is_not_even_told_that_a_gateway_is_full(
    servers: Servers, mongodb: MongoClient[dict[str, Any]]
) -> None:
    name = "test_browsers_full"
    async with serving(servers.mongodb_url, servers.redis_url, name, max_connections=0) as gateway:
        async with opened(gateway, None) as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1013
        await test_pages_of_other_origins_may_not_open_a_websocket(gateway, OTHER)
    mongodb.drop_database(name)


def opened(gateway: LiveGateway, origin: str | None) -> connect:
    headers = None if origin is None else {"Origin": origin}
    address = f"ws://127.0.0.1:{gateway.port}/graphql"
    return connect(address, subprotocols=["graphql-transport-ws"], additional_headers=headers, proxy=None)  # type: ignore[list-item]


async def test_a_stream_is_taken_for_what_it_is(gateway: LiveGateway) -> None:
    async with gateway.stream("subscription { jobEvents { type } }") as stream:
        told = stream.response.headers
        assert {name: told.get(name) for name in SAFE} == {**SAFE, "cache-control": "no-store, no-transform"}


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/graphql"), ("PUT", "/graphql"), ("GET", "/healthz"), ("GET", "/nowhere")]
)
async def test_an_answer_is_taken_for_what_it_is(gateway: LiveGateway, method: str, path: str) -> None:
    response = await gateway.http.request(method, path, json={"query": "{ __typename }"})
    assert {name: response.headers.get(name) for name in SAFE} == SAFE


async def test_the_page_may_do_what_stands_in_it(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> None:
    name = "test_browsers_page"
    async with serving(servers.mongodb_url, servers.redis_url, name, graphiql=True) as gateway:
        response = await gateway.http.get("/graphql", headers={"accept": "text/html"})
    mongodb.drop_database(name)
    assert response.headers["content-security-policy"] == content_policy(response.text)
    assert "'sha256-" in content_policy(response.text)
    assert {header: response.headers.get(header) for header in PAGE} == PAGE


async def test_an_answer_to_a_defect_says_nothing_of_it_and_is_as_safe(
    servers: Servers, mongodb: MongoClient[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("secret")

    name = "test_browsers_defect"
    monkeypatch.setattr(GraphQLEndpoint, "get_context", fail)
    async with serving(servers.mongodb_url, servers.redis_url, name, allowed_origins=OURS) as gateway:
        response = await gateway.http.post("/graphql", json={"query": "{ __typename }"}, headers={"origin": OURS})
    mongodb.drop_database(name)
    assert response.status_code == 500
    assert response.headers["access-control-allow-origin"] == OURS
    assert response.json() == {"errors": [{"message": "Something went wrong.", "extensions": {"code": "INTERNAL"}}]}
    assert {header: response.headers.get(header) for header in SAFE} == SAFE


async def test_a_defect_in_what_every_operation_passes_through_is_masked_too(
    servers: Servers, mongodb: MongoClient[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ValueError("secret")

    name = "test_browsers_hook"
    monkeypatch.setattr(Admission, "on_execute", fail)
    headers = {"accept": "application/graphql-response+json"}
    async with serving(servers.mongodb_url, servers.redis_url, name) as gateway:
        response = await gateway.http.post("/graphql", json={"query": "{ __typename }"}, headers=headers)
    mongodb.drop_database(name)
    [error] = response.json()["errors"]
    assert (response.status_code, error["extensions"]["code"]) == (500, "INTERNAL")
    assert "secret" not in response.text


@pytest.mark.parametrize(("passed", "hook"), [(DocumentLimits, "on_validate"), (PublicErrors, "on_stream_result")])
@pytest.mark.parametrize("document", ["{ __typename }", FOLLOW])
async def test_on_a_websocket_it_ends_the_operation_with_an_error(
    gateway: LiveGateway,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    passed: type,
    hook: str,
    document: str,
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("secret")

    await gateway.dispatched()
    monkeypatch.setattr(passed, hook, fail)
    async with gateway.socket() as socket:
        await socket.subscribe("1", document)
        answer = await socket.receive()
        [error] = answer["payload"]
        assert (answer["type"], answer["id"], error["extensions"]["code"]) == ("error", "1", "INTERNAL")
        correlation = error["extensions"]["correlationId"]
        assert error["message"] == f"Something went wrong ({correlation})."
        assert [one.getMessage() for one in caplog.records if one.exc_info] == [f"unexpected error {correlation}"]
        # Nothing more is said of it.
        await socket.send({"type": "ping"})
        assert await socket.receive() == {"type": "pong"}


@pytest.mark.parametrize("document", ["{ __schema { types { name } } }", '{ __type(name: "Job") { name } }'])
async def test_the_schema_is_not_told_unless_that_was_switched_on(gateway: LiveGateway, document: str) -> None:
    answer = await gateway.ask(document)
    assert "data" not in answer
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"GRAPHQL_VALIDATION_FAILED"}


@pytest.mark.parametrize(
    "document",
    [
        "{ job(id: 1) { idd } }",
        "{ jobs(firs: 1) { nodes { id } } }",
        "query ($v: Quer) { __typename }",
        "{ jobs(filter: { statu: QUEUED }) { nodes { id } } }",
        "{ jobs(filter: { status: QUEUE }) { nodes { id } } }",
    ],
)
async def test_a_slip_of_the_pen_is_no_way_to_find_it_out(gateway: LiveGateway, document: str) -> None:
    answer = await gateway.ask(document)
    assert "data" not in answer
    assert "mean" not in str(answer)


async def test_a_slip_in_a_variable_is_none_either(gateway: LiveGateway) -> None:
    document = "query ($filter: JobFilter) { jobs(filter: $filter) { nodes { id } } }"
    answer = await gateway.ask(document, filter={"statu": "QUEUED"})
    assert "'statu'" in str(answer)
    assert "mean" not in str(answer)


async def test_switched_on_it_is_told(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> None:
    name = "test_browsers_schema"
    async with serving(servers.mongodb_url, servers.redis_url, name, introspection=True) as gateway:
        assert costless(await gateway.ask('{ __type(name: "Job") { name } }')) == {"data": {"__type": {"name": "Job"}}}
        [error] = (await gateway.ask("{ job(id: 1) { idd } }"))["errors"]
    mongodb.drop_database(name)
    assert "Did you mean" in error["message"]
