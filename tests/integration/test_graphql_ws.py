"""The protocol graphql-transport-ws: how a connection begins, and what ends it – or only one of its operations."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient
from websockets.asyncio.client import connect

from gateway.devstack import Servers
from gateway.urls import GRAPHQL_PATH
from tests.gateway import HOST, LiveGateway, serving, serving_for_all
from tests.sockets import Socket

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("nothing_is_logged")]

FOLLOW: Final = "subscription ($after: String) { jobEvents(after: $after) { type } }"
NO_MESSAGE: Final = "a message is a JSON object with a type"
NO_JSON: Final = "WebSocket message must be valid JSON"
NO_SUBSCRIBE: Final = "subscribe lacks its id or its payload, or one of them is not of the right type"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb) as gateway:
        yield gateway


# ---------------------------------------------------------------- the connection


@pytest.mark.parametrize("payload", [{}, {"payload": None}, {"payload": {}}, {"payload": {"token": "x"}}])
async def test_a_connection_is_acknowledged(gateway: LiveGateway, payload: dict[str, Any]) -> None:
    async with gateway.socket(initialised=False) as socket:
        await socket.send({"type": "connection_init", **payload})
        assert await socket.receive() == {"type": "connection_ack"}
        assert socket.connection.subprotocol == "graphql-transport-ws"


async def test_an_operation_before_the_acknowledgement_is_unauthorized(gateway: LiveGateway) -> None:
    async with gateway.socket(initialised=False) as socket:
        await socket.subscribe("1", "{ __typename }")
        assert await socket.closed() == (4401, "Unauthorized")


async def test_a_second_initialisation_is_one_too_many(gateway: LiveGateway) -> None:
    async with gateway.socket() as socket:
        await socket.send({"type": "connection_init"})
        assert await socket.closed() == (4429, "Too many initialisation requests")


async def test_a_client_that_says_nothing_is_not_waited_for(
    servers: Servers, database_name: str, redis_url: str
) -> None:
    quickly = timedelta(milliseconds=50)
    opening = serving(servers.mongodb_url, redis_url, database_name, init_within=quickly)
    async with opening as gateway, gateway.socket(initialised=False) as socket:
        assert await socket.closed() == (4408, "Connection initialisation timeout")


@pytest.mark.parametrize("protocol", ["graphql-ws", "mqtt"])
async def test_another_protocol_is_refused(gateway: LiveGateway, protocol: str) -> None:
    async with gateway.socket(protocol, initialised=False) as socket:
        assert await socket.closed() == (4406, "Subprotocol not acceptable")


async def test_no_protocol_at_all_is_refused(gateway: LiveGateway) -> None:
    async with connect(f"ws://{HOST}:{gateway.port}{GRAPHQL_PATH}", proxy=None) as connection:
        assert await Socket(connection).closed() == (4406, "Subprotocol not acceptable")


async def test_of_several_protocols_the_one_that_is_spoken_is_chosen(gateway: LiveGateway) -> None:
    async with gateway.socket("graphql-ws", "graphql-transport-ws") as socket:
        assert socket.connection.subprotocol == "graphql-transport-ws"


@pytest.mark.parametrize("payload", [{}, {"payload": None}, {"payload": {"n": 1}}])
async def test_a_ping_is_answered(gateway: LiveGateway, payload: dict[str, Any]) -> None:
    async with gateway.socket() as socket:
        await socket.send({"type": "pong", **payload})
        await socket.send({"type": "ping", **payload})
        assert await socket.receive() == {"type": "pong"}


def subscribe(**changes: object) -> str:
    return json.dumps({"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}} | changes)


def payload(**fields: object) -> str:
    return subscribe(payload={"query": "{ __typename }"} | fields)


@pytest.mark.parametrize("initialised", [False, True])
@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param("[]", NO_MESSAGE, id="list"),
        pytest.param("1", NO_MESSAGE, id="number"),
        pytest.param('"x"', NO_MESSAGE, id="string"),
        pytest.param("null", NO_MESSAGE, id="null"),
        pytest.param("{}", NO_MESSAGE, id="no type"),
        pytest.param('{"type": 5}', NO_MESSAGE, id="type 5"),
        pytest.param('{"type": "next"}', "'next' is not a message of the protocol", id="a message of the server"),
        pytest.param("", NO_JSON, id="empty text"),
        pytest.param("hello", NO_JSON, id="text"),
        pytest.param("NaN", NO_JSON, id="NaN"),
        pytest.param("[" * 100_000, NO_JSON, id="100000 levels"),
        pytest.param("9" * 5000, NO_JSON, id="5000 digits"),
        pytest.param(r'{"type": "ping", "payload": {"a": "\ud800"}}', NO_JSON, id="half a character"),
        pytest.param(b'{"type": "ping"}', "WebSocket message type must be text", id="binary frame"),
        pytest.param('{"type": "ping", "payload": 5}', "the payload must be an object", id="payload of ping 5"),
        pytest.param('{"type": "connection_init", "payload": "x"}', "the payload must be an object", id="payload x"),
        pytest.param(subscribe(id=5), NO_SUBSCRIBE, id="numeric id"),
        pytest.param(subscribe(id=""), NO_SUBSCRIBE, id="empty id"),
        pytest.param(subscribe(id={}), NO_SUBSCRIBE, id="object for id"),
        pytest.param(subscribe(payload="x"), NO_SUBSCRIBE, id="payload string"),
        pytest.param(payload(query=5), NO_SUBSCRIBE, id="query 5"),
        pytest.param(payload(variables=[]), "variables must be an object", id="variables list"),
        pytest.param(payload(operationName=5), "operationName must be a string", id="operationName 5"),
        pytest.param(
            '{"type": "complete"}',
            "complete lacks its id or its payload, or one of them is not of the right type",
            id="complete without id",
        ),
    ],
)
async def test_what_is_no_message_ends_the_connection(
    gateway: LiveGateway, frame: str | bytes, reason: str, initialised: bool
) -> None:
    async with gateway.socket(initialised=initialised) as socket:
        await socket.connection.send(frame)
        assert await socket.closed() == (4400, reason)


async def test_a_reason_that_repeats_what_was_sent_is_cut_to_what_a_close_can_hold(gateway: LiveGateway) -> None:
    async with gateway.socket() as socket:
        await socket.send({"type": "𝄞" * 50})
        assert await socket.closed() == (4400, "'" + "𝄞" * 30)


@pytest.mark.parametrize(
    ("id_", "reason"),
    [("1", "Subscriber for 1 already exists"), ("x" * 200, "Subscriber for " + "x" * 108)],
)
async def test_an_id_that_is_in_use_ends_the_connection(gateway: LiveGateway, id_: str, reason: str) -> None:
    async with gateway.socket() as socket:
        await socket.subscribe(id_, FOLLOW)
        await socket.subscribe(id_, FOLLOW)
        assert await socket.closed() == (4409, reason)


async def test_a_client_that_no_longer_answers_is_cut_off(servers: Servers, database_name: str, redis_url: str) -> None:
    """As after a crash of its machine, or when the network is lost: no packet ever tells of it."""
    quickly = timedelta(seconds=1)
    opening = serving(servers.mongodb_url, redis_url, database_name, ping=quickly)
    async with opening as gateway, gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW)
        await gateway.until_subscribers(1)
        socket.connection.transport.pause_reading()
        await gateway.until_subscribers(0)
        socket.connection.transport.resume_reading()
        assert await socket.closed() == (1011, "keepalive ping timeout")


async def test_a_gateway_that_stops_says_so(servers: Servers, database_name: str, redis_url: str) -> None:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway, gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW)
        await gateway.until_subscribers(1)
        gateway.stop()
        assert await socket.closed() == (1012, "")


# ---------------------------------------------------------------- operations


async def test_a_query_and_a_mutation_are_answered_once(gateway: LiveGateway) -> None:
    async with gateway.socket() as socket:
        await socket.subscribe("q", "query ($id: ID!) { job(id: $id) { id } }", id="nope")
        assert await socket.next("q", "job") is None
        assert await socket.receive() == {"id": "q", "type": "complete"}
        await socket.subscribe("q", 'mutation { cancel(id: "nope") { __typename } }')
        assert await socket.next("q", "cancel") == {"__typename": "NotFound"}
        assert await socket.receive() == {"id": "q", "type": "complete"}


async def test_an_error_of_a_field_is_part_of_the_answer(gateway: LiveGateway) -> None:
    async with gateway.socket() as socket:
        await socket.subscribe("q", "{ jobs(first: -1) { nodes { id } } }")
        answer = await socket.receive()
        [error] = answer["payload"]["errors"]
        assert (answer["type"], answer["payload"]["data"]) == ("next", None)
        assert (error["path"], error["extensions"]["code"]) == (["jobs"], "BAD_USER_INPUT")
        assert await socket.receive() == {"id": "q", "type": "complete"}


@pytest.mark.parametrize(
    ("document", "variables", "operation", "code", "message"),
    [
        ("{ nope", {}, None, "GRAPHQL_PARSE_FAILED", "Syntax Error: Expected Name, found <EOF>."),
        ("{ zzzz }", {}, None, "GRAPHQL_VALIDATION_FAILED", "Cannot query field 'zzzz' on type 'Query'."),
        (
            "subscription { jobEvents { " + "x: type " * 31 + "} }",
            *({}, None, "DOCUMENT_TOO_LARGE"),
            "the document has 31 aliases: at most 30 are allowed",
        ),
        (
            "subscription { a: jobEvents { type } b: jobEvents { type } }",
            *({}, None, "GRAPHQL_VALIDATION_FAILED"),
            "Anonymous Subscription must select only one top level field.",
        ),
        (
            FOLLOW,
            *({"after": 5}, None, "BAD_USER_INPUT"),
            "Variable '$after' has invalid value: String cannot represent a non string value: 5",
        ),
        (
            "query A { __typename } query B { __typename }",
            *({}, None, "GRAPHQL_VALIDATION_FAILED"),
            "operationName must say which of the document's operations is meant",
        ),
        ("query A { __typename }", {}, "B", "BAD_REQUEST", 'Unknown operation named "B".'),
        ("fragment F on Query { __typename }", {}, None, "BAD_REQUEST", "Can't get GraphQL operation type"),
        ("", {}, None, "BAD_REQUEST", "there is no query in the request"),
    ],
)
async def test_an_operation_that_cannot_begin_ends_alone(
    gateway: LiveGateway, document: str, variables: dict[str, Any], operation: str | None, code: str, message: str
) -> None:
    request = {"query": document, "variables": variables, "operationName": operation}
    async with gateway.socket() as socket:
        await socket.subscribe("other", FOLLOW)
        await socket.send({"type": "subscribe", "id": "bad", "payload": request})
        answer = await socket.receive()
        [error] = answer["payload"]
        assert (answer["type"], answer["id"]) == ("error", "bad")
        assert (error["message"], error["extensions"]) == (message, {"code": code})
        # The id can be used again, and the other subscription is still there.
        await socket.subscribe("bad", "{ __typename }")
        assert await socket.next("bad", "__typename") == "Query"
        assert await socket.receive() == {"id": "bad", "type": "complete"}
        await gateway.until_subscribers(1)
    await gateway.until_subscribers(0)


async def test_completing_what_is_not_there_changes_nothing(gateway: LiveGateway) -> None:
    async with gateway.socket() as socket:
        await socket.complete("nope")
        await socket.send({"type": "ping"})
        assert await socket.receive() == {"type": "pong"}


async def test_one_that_is_completed_with_a_payload_that_is_null_ends_alone(gateway: LiveGateway) -> None:
    async with gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW)
        await socket.subscribe("2", FOLLOW)
        await gateway.until_subscribers(2)
        await socket.send({"type": "complete", "id": "1", "payload": None})
        await gateway.until_subscribers(1)
        await gateway.dispatched()
        assert await socket.next("2", "jobEvents") == {"type": "JOB_SCHEDULED"}


async def test_a_hundred_operations_are_under_way_at_a_time_and_more_are_refused_with_a_code(
    gateway: LiveGateway,
) -> None:
    async with gateway.socket() as socket:
        for number in range(1_001):
            await socket.subscribe(str(number), FOLLOW)
        refused = [await socket.receive() for _ in range(901)]
        assert [(message["type"], message["id"]) for message in refused] == [
            ("error", str(n)) for n in range(100, 1_001)
        ]
        error = {
            "message": "100 operations are under way on this connection: complete one, or open another connection",
            "extensions": {"code": "TOO_MANY_OPERATIONS"},
        }
        assert [message["payload"] for message in refused] == [[error]] * 901
        await gateway.until_subscribers(100)
        # Another one finds room once one is completed, and an id that was refused can be used.
        await socket.complete("0")
        await socket.subscribe("100", "{ __typename }")
        assert await socket.next("100", "__typename") == "Query"
    await gateway.until_subscribers(0)
