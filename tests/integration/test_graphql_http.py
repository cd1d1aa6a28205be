"""GraphQL over HTTP: whatever is sent, the answer is JSON with a code that tells whose fault it is."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from schema.admission import InFlight
from tests.costs import costless
from tests.gateway import LiveGateway, serving, serving_for_all

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON: Final = {"content-type": "application/json"}
PLAIN: Final = "application/json"
RESPONSE: Final = "application/graphql-response+json"
GOOD: Final = b'{"query": "{ __typename }"}'
LIMIT: Final = 1024 * 1024
UNREADABLE: Final = "Unable to parse request body as JSON"
NO_OBJECT: Final = "the body must be a JSON object"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb) as gateway:
        yield gateway


def bad_request(message: str) -> dict[str, Any]:
    return {"errors": [{"message": message, "extensions": {"code": "BAD_REQUEST"}}]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", UNREADABLE, id="nothing"),
        pytest.param(b"{", UNREADABLE, id="half an object"),
        pytest.param(GOOD + b" x", UNREADABLE, id="more than an object"),
        pytest.param(b'{"query": "\xff"}', UNREADABLE, id="invalid UTF-8"),
        pytest.param('{"query": "{ __typename }"}'.encode("utf-16"), UNREADABLE, id="UTF-16"),
        pytest.param(b'{"query": "\xed\xa0\x80"}', UNREADABLE, id="half a character in bytes"),
        pytest.param(rb'{"query": "{ __typename }", "operationName": "\ud800"}', UNREADABLE, id="half a character"),
        pytest.param(b"9" * 5000, UNREADABLE, id="5000 digits"),
        pytest.param(b'{"query": "{ __typename }", "id": ' + b"9" * 5000 + b"}", UNREADABLE, id="5000 digits within"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, UNREADABLE, id="100000 lists deep"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, UNREADABLE, id="100000 objects deep"),
        pytest.param(b'{"query": NaN}', UNREADABLE, id="NaN"),
        pytest.param(b"5", NO_OBJECT, id="number"),
        pytest.param(b"null", NO_OBJECT, id="null"),
        pytest.param(b'"x"', NO_OBJECT, id="text"),
        pytest.param(b"[" + GOOD + b"]", "Batching is not enabled", id="list"),
        pytest.param(b"{}", "No GraphQL query found in the request", id="no query"),
        pytest.param(
            b'{"query": 5}', "The GraphQL operation's `query` must be a string or null, if provided.", id="query 5"
        ),
        pytest.param(
            b'{"query": "{ __typename }", "variables": []}',
            "The GraphQL operation's `variables` must be an object or null, if provided.",
            id="variables in a list",
        ),
        pytest.param(
            b'{"query": "{ __typename }", "operationName": 5}', 'Unknown operation named "5".', id="operationName 5"
        ),
        pytest.param(
            b'{"query": "query A { __typename }", "operationName": "B"}',
            'Unknown operation named "B".',
            id="unknown operation",
        ),
    ],
)
async def test_a_body_that_is_no_operation_is_a_bad_request(gateway: LiveGateway, body: bytes, message: str) -> None:
    response = await gateway.http.post("/graphql", content=body, headers=JSON)
    assert (response.status_code, response.json()) == (400, bad_request(message))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/jsonx"},
    ],
)
async def test_another_content_type_is_refused(gateway: LiveGateway, headers: dict[str, str]) -> None:
    response = await gateway.http.post("/graphql", content=GOOD, headers=headers)
    expected = bad_request("the content type must be application/json")
    assert (response.status_code, response.json()) == (415, expected)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_is_json_however_it_is_written(gateway: LiveGateway, content_type: str) -> None:
    response = await gateway.http.post("/graphql", content=GOOD, headers={"content-type": content_type})
    assert (response.status_code, costless(response.json())) == (200, {"data": {"__typename": "Query"}})


async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413)])
async def test_a_body_has_a_megabyte_at_most(gateway: LiveGateway, chunked: bool, size: int, status: int) -> None:
    body = GOOD + b" " * (size - len(GOOD))
    response = await gateway.http.post("/graphql", content=in_chunks(body) if chunked else body, headers=JSON)
    too_large = bad_request("the body must not be larger than 1048576 bytes")
    assert response.status_code == status
    assert costless(response.json()) == ({"data": {"__typename": "Query"}} if status == 200 else too_large)


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        ("{ jobs {", "GRAPHQL_PARSE_FAILED", "Syntax Error: Expected Name, found <EOF>."),
        (
            "{ " + "__typename " * 2001 + "}",
            "GRAPHQL_PARSE_FAILED",
            "Syntax Error: Document contains more than 2000 tokens. Parsing aborted.",
        ),
        (
            "{ " + "__typename " * 11 + "}",
            "DOCUMENT_TOO_LARGE",
            "the document has 11 root fields: at most 10 are allowed",
        ),
        (
            # Large, and wrong as well: it is not even validated.
            "query ($n: Int) { " + "jobs(first: $n, zzzz: 1) { zzzz } " * 11 + "}",
            "DOCUMENT_TOO_LARGE",
            "the document has 11 root fields: at most 10 are allowed",
        ),
        (
            "{ job(id: 1) { " + "retryConfig { jitter } " * 100 + "} }",
            "DOCUMENT_TOO_LARGE",
            "the document has 99 fields beside one of the same name: at most 50 are allowed",
        ),
        (
            "{ job(id: 1) { " + "... { retryConfig { jitter } } " * 100 + "} }",
            "GRAPHQL_VALIDATION_FAILED",
            "Validation aborted.",
        ),
        ("{ zzzz }", "GRAPHQL_VALIDATION_FAILED", "Cannot query field 'zzzz' on type 'Query'."),
        (
            "query A { __typename } query B { __typename }",
            "GRAPHQL_VALIDATION_FAILED",
            "operationName must say which of the document's operations is meant",
        ),
        (
            "query ($id: ID!) { job(id: $id) { id } }",
            "BAD_USER_INPUT",
            "Variable '$id' has invalid value: Expected a value of non-null type 'ID!' to be provided.",
        ),
    ],
)
async def test_what_graphql_refuses_has_a_code(gateway: LiveGateway, document: str, code: str, message: str) -> None:
    answer = await gateway.ask(document)
    [error] = answer["errors"]
    assert (error["message"], error["extensions"]) == (message, {"code": code})
    # Nothing was carried out, which is not the same as data that came to nothing.
    assert "data" not in answer


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ("{ __typename }", 200),
        ("{ zzzz }", 400),
        ("{ jobs {", 400),
        ("query ($id: ID!) { job(id: $id) { id } }", 400),
        ('{ jobs(after: "nowhere") { nodes { id } } }', 200),
    ],
)
async def test_the_newer_media_type_has_a_status_that_tells_whether_anything_was_carried_out(
    gateway: LiveGateway, document: str, status: int
) -> None:
    answers = []
    for media_type, expected in ((RESPONSE, status), (PLAIN, 200)):
        response = await gateway.http.post("/graphql", json={"query": document}, headers={"accept": media_type})
        assert (response.status_code, response.headers["content-type"]) == (expected, media_type)
        answers.append(response.json())
    assert answers[0] == answers[1]
    assert ("data" in answers[0]) == (status == 200)


async def test_who_is_refused_since_there_is_too_much_to_do_is_told_so_by_the_status(
    servers: Servers, database_name: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InFlight, "enter", lambda _: False)
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        response = await gateway.http.post("/graphql", json={"query": "{ __typename }"}, headers={"accept": RESPONSE})
    assert response.status_code == 503
    assert response.json()["errors"][0]["extensions"] == {"code": "UNAVAILABLE", "retryAfter": 1}


async def test_what_variables_say_counts(gateway: LiveGateway) -> None:
    document = "query ($n: Int!) { jobs(first: $n) { nodes { events(first: $n) { nodes { at } } } } }"
    assert "errors" not in await gateway.ask(document, n=50)
    [error] = (await gateway.ask(document, n=200))["errors"]
    assert error["extensions"] == {"code": "DOCUMENT_TOO_LARGE"}
    assert error["message"] == "the document has 40401 points of cost: at most 25000 are allowed"


async def test_of_several_operations_the_named_one_is_run(gateway: LiveGateway) -> None:
    document = "query A { __typename } query B { jobs { nodes { id } } }"
    response = await gateway.http.post("/graphql", json={"query": document, "operationName": "B"})
    assert costless(response.json()) == {"data": {"jobs": {"nodes": []}}}


@pytest.mark.parametrize(
    "broken",
    [{"status": "secret"}, {"priority": "secret"}, {"created_at": "secret"}],
    ids=["status", "priority", "time"],
)
async def test_what_nobody_expected_is_told_to_the_log_only(
    servers: Servers,
    mongodb: MongoClient[dict[str, Any]],
    database_name: str,
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
    broken: dict[str, str],
) -> None:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        job_id = await gateway.dispatched()
        mongodb[database_name]["jobs"].update_one({"_id": job_id}, {"$set": broken})
        answer = await gateway.ask("query ($id: ID!) { job(id: $id) { status priority createdAt } }", id=job_id)
    [error] = answer["errors"]
    correlation = error["extensions"]["correlationId"]
    assert error["message"] == f"Something went wrong ({correlation})."
    assert error["extensions"] == {"code": "INTERNAL", "correlationId": correlation}
    assert "secret" not in str(answer)
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == f"unexpected error {correlation}"
    assert record.exc_info is not None


async def test_a_client_that_leaves_in_the_middle_of_its_request_is_nothing_to_log(
    gateway: LiveGateway, caplog: pytest.LogCaptureFixture
) -> None:
    fields = ("host: x", "content-type: application/json", "content-length: 99", "expect: 100-continue")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write("\r\n".join(("POST /graphql HTTP/1.1", *fields, "", "{")).encode())
    # Said once the body is waited for.
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.transport.abort()
    for _ in range(3):
        assert (await gateway.http.get("/healthz")).status_code == 200
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


# ---------------------------------------------------------------- methods


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS"])
async def test_another_method_is_refused_with_those_that_are_allowed(gateway: LiveGateway, method: str) -> None:
    response = await gateway.http.request(method, "/graphql")
    expected = bad_request("GraphQL only supports GET and POST requests.")
    assert (response.status_code, response.json(), response.headers["allow"]) == (405, expected, "GET, POST")


async def test_a_query_in_an_address_is_refused(gateway: LiveGateway) -> None:
    response = await gateway.http.get("/graphql", params={"query": "{ __typename }"})
    assert (response.status_code, response.json()) == (400, bad_request("queries are not allowed when using GET"))


async def test_without_graphiql_there_is_no_page(gateway: LiveGateway) -> None:
    response = await gateway.http.get("/graphql", headers={"accept": "text/html"})
    assert (response.status_code, response.json()) == (404, bad_request("Not Found"))


async def test_with_graphiql_a_browser_gets_a_page(servers: Servers, database_name: str, redis_url: str) -> None:
    async with serving(servers.mongodb_url, redis_url, database_name, graphiql=True) as gateway:
        response = await gateway.http.get("/graphql", headers={"accept": "text/html"})
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "<title>" in response.text
    assert "GraphiQL" in response.text


async def test_a_gateway_tells_that_it_is_alive_and_ready(gateway: LiveGateway) -> None:
    alive, ready = await gateway.http.get("/healthz"), await gateway.http.get("/readyz")
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
