"""Operations that name a registered document instead of bringing one."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from schema.build import build_schema
from schema.known_documents import MAX_TEXT, problem_of
from storage.client import Database
from storage.known_documents import KnownDocuments, document_id
from tests.gateway import LiveGateway, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

READ: Final = "query Read($first: Int) { jobs(first: $first) { nodes { id } } }"
FOLLOW: Final = "subscription Follow { jobEvents { type } }"
INTROSPECT: Final = "query Look { __schema { queryType { name } } }"
BY_ID: Final = {text: document_id(text) for text in (READ, FOLLOW, INTROSPECT)}
UNKNOWN: Final = document_id("{ unknown }")
RESPONSE: Final = "application/graphql-response+json"
STREAM: Final = "text/event-stream"
BOTH: Final = "give a query or a documentId, not both"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    name = "test_known_documents"
    async with serving(servers.mongodb_url, servers.redis_url, name) as gateway:
        await gateway.gateway.documents.register(dict.fromkeys(BY_ID, "name"))
        yield gateway
    mongodb.drop_database(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    """A gateway that answers nothing else, on which GraphiQL is."""
    name = "test_known_documents_only"
    changes: dict[str, Any] = {"known_documents_only": True, "graphiql": True}
    async with serving(servers.mongodb_url, servers.redis_url, name, **changes) as gateway:
        await gateway.gateway.documents.register(dict.fromkeys(BY_ID, "name"))
        yield gateway
    mongodb.drop_database(name)


async def ask(gateway: LiveGateway, accept: str = RESPONSE, **request: object) -> httpx.Response:
    return await gateway.http.post("/graphql", json=request, headers={"accept": accept})


def code(answer: dict[str, Any]) -> str:
    [error] = answer["errors"]
    assert "data" not in answer
    return str(error["extensions"]["code"])


@pytest.mark.parametrize("prefix", ["", "sha256:"])
async def test_a_document_is_named_by_its_hash(gateway: LiveGateway, prefix: str) -> None:
    response = await ask(gateway, query=None, documentId=prefix + BY_ID[READ], variables={"first": 3})
    assert response.status_code == 200
    assert response.json()["data"] == {"jobs": {"nodes": []}}
    assert response.json()["extensions"]["cost"]["estimated"] == 1 + 3


@pytest.mark.parametrize("id_", [UNKNOWN, "nope", "", "md5:" + UNKNOWN])
async def test_one_that_nobody_has_registered_is_not_found(gateway: LiveGateway, id_: str) -> None:
    response = await ask(gateway, documentId=id_)
    assert (response.status_code, code(response.json())) == (400, "DOCUMENT_NOT_FOUND")
    assert (await ask(gateway, "application/json", documentId=id_)).status_code == 200


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"query": READ, "documentId": BY_ID[READ]}, BOTH),
        ({"documentId": 5}, "documentId must be a string"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    gateway: LiveGateway, request_: dict[str, Any], message: str
) -> None:
    response = await ask(gateway, **request_)
    assert (response.status_code, code(response.json())) == (400, "BAD_REQUEST")
    assert response.json()["errors"][0]["message"] == message


async def test_a_stream_is_asked_for_by_an_id_also_in_an_address(gateway: LiveGateway) -> None:
    headers = {"accept": STREAM}
    for method, how in (("POST", "json"), ("GET", "params")):
        request: dict[str, Any] = {how: {"documentId": BY_ID[FOLLOW]}}
        async with gateway.http.stream(method, "/graphql", headers=headers, **request):
            await gateway.until_subscribers(1)
        await gateway.until_subscribers(0)
    unknown = (await ask(gateway, STREAM, documentId=UNKNOWN)).text
    assert "DOCUMENT_NOT_FOUND" in unknown
    assert unknown.endswith("event: complete\ndata: \n\n")


async def test_an_operation_on_a_socket_names_one_too(gateway: LiveGateway) -> None:
    async with gateway.socket() as socket:
        payload: dict[str, Any] = {"query": None, "documentId": BY_ID[READ], "variables": {"first": 3}}
        await socket.send({"type": "subscribe", "id": "1", "payload": payload})
        assert await socket.next("1", "jobs") == {"nodes": []}
        assert (await socket.receive())["type"] == "complete"
        await socket.send({"type": "subscribe", "id": "2", "payload": {"documentId": UNKNOWN}})
        message = await socket.receive()
        assert (message["type"], code({"errors": message["payload"]})) == ("error", "DOCUMENT_NOT_FOUND")
        await socket.send({"type": "subscribe", "id": "3", "payload": payload | {"query": READ}})
        assert await socket.closed() == (4400, BOTH)


async def test_introspection_is_not_to_be_had_by_registering_it(gateway: LiveGateway) -> None:
    answer = (await ask(gateway, documentId=BY_ID[INTROSPECT])).json()
    assert list(answer) == ["errors"]
    assert answer["errors"][0]["message"].startswith("GraphQL introspection has been disabled")


async def test_where_only_known_documents_are_answered_no_other_is(strict: LiveGateway) -> None:
    response = await ask(strict, query=READ)
    assert (response.status_code, code(response.json())) == (403, "DOCUMENT_REQUIRED")
    assert "data" in (await ask(strict, documentId=BY_ID[READ])).json()
    assert "DOCUMENT_REQUIRED" in (await ask(strict, STREAM, query=FOLLOW)).text
    async with strict.socket() as socket:
        await socket.subscribe("1", READ)
        message = await socket.receive()
        assert (message["type"], code({"errors": message["payload"]})) == ("error", "DOCUMENT_REQUIRED")
    # Nothing at all is something else.
    assert code((await ask(strict)).json()) == "BAD_REQUEST"


@pytest.mark.asyncio(loop_scope="function")
async def test_a_document_stays_as_it_was_registered(database: Database) -> None:
    known = KnownDocuments(database)
    await known.register({"{ a }": "first"})
    [before] = await known.all()
    await known.register({"{ a }": "second", "{ $b }": "$name"})
    assert sorted(one.name for one in await known.all()) == ["$name", "first"]
    assert before in await known.all()
    assert abs(before.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert await KnownDocuments(database).find(document_id("{ $b }")) == "{ $b }"


@pytest.mark.asyncio(loop_scope="function")
async def test_those_that_were_asked_for_lately_are_remembered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.known_documents._REMEMBERED", 2)
    known = KnownDocuments(database)
    ids = {text: document_id(text) for text in ("a", "b", "c")}
    assert await known.find(ids["a"]) is None
    await known.register(dict.fromkeys(ids, ""))
    for text in "abac":
        assert await known.find(ids[text]) == text
    await database["documents"].delete_many({})
    assert [await known.find(ids[text]) for text in "abc"] == ["a", None, "c"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (READ, None),
        ("{ __typename }" + " " * (MAX_TEXT - 14), None),
        ("{ __typename }" + " " * (MAX_TEXT - 13), "65537 characters, more than the 65536 allowed"),
        ("{ jobs {", "Syntax Error: Expected Name, found <EOF>."),
        (
            "{ jobs { nodes { id " + "id " * 2_000 + "} } }",
            "Syntax Error: Document contains more than 2000 tokens. Parsing aborted.",
        ),
        ("fragment F on Job { id }", "there is no operation in it"),
        (
            "{ jobs(first: 200) { nodes { events(first: 200) { nodes { at } } } } }",
            "the document has 40401 points of cost: at most 25000 are allowed",
        ),
        ("{ nope }", "Cannot query field 'nope' on type 'Query'. Did you mean 'node'?"),
    ],
    ids=["good", "long", "too long", "no document", "many tokens", "no operation", "dear", "not of the schema"],
)
async def test_a_document_is_registered_only_if_it_could_be_answered(text: str, problem: str | None) -> None:
    assert problem_of(text, build_schema()._schema) == problem
