"""Credentials of ``http.request``: sent where they may be, for whom they are, and told by nobody."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from jobs.events import EventType
from jobs.input_schemas import schema_issues
from tests.gateway import serving as serving_gateway
from tests.programs import said
from tests.receivers import Reply, Server, answering, serving
from tests.secrecy import secret
from worker.builtin import builtin_tasks
from worker.context import RunFacts, TaskContext
from worker.guarded_http import MAX_BODY
from worker.http_credentials import Credentials, read_credentials
from worker.http_request import http_request_task
from worker.tasks import TaskError, TaskRegistry

BEARER: Final = secret("t0ken-of-the-company", "a credential of http.request")
DEADLINE: Final = 20.0


@pytest.fixture
async def context() -> TaskContext:
    async def report(_: float, __: str | None) -> None: ...

    due = datetime(2026, 3, 1, tzinfo=UTC)
    return TaskContext(RunFacts("job_1", "http", "request", "shop", "prd", 1, 1, due, None), report)


def credentials(server: Server, **changes: Any) -> Credentials:
    """One by the name ``billing``, which may be sent to the server."""
    entry = {"origins": [server.url("")], "bearer": BEARER, **changes}
    return read_credentials(json.dumps({"billing": entry}), allow_http=True)


async def call(context: TaskContext, known: Credentials, **given: Any) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE):
        handler = http_request_task(True, credentials=known).handler
        answer: dict[str, Any] = await handler(context, {"credential": "billing", **given})
    return answer


async def failure(context: TaskContext, known: Credentials, **given: Any) -> tuple[str, str]:
    with pytest.raises(TaskError) as failed:
        await call(context, known, **given)
    return failed.value.code, failed.value.message


def quoting(status: str = "200 OK", content_type: str = "text/plain") -> Reply:
    """Answers what a server for trying things out does: with what it was sent."""
    slashed = json.dumps({"got": f"Bearer {BEARER}", BEARER: 1}).replace("-", "\\u002d").encode()
    body = slashed if "json" in content_type else f"got Bearer {BEARER}".encode()
    return answering(status, body, content_type, X_Got=f"Bearer {BEARER}")


async def test_it_is_sent_to_its_origin_whatever_header_the_input_has(context: TaskContext) -> None:
    async with serving(answering("200 OK")) as server:
        await call(context, credentials(server), url=server.url("/a"))
        known = credentials(server, bearer=None, header={"name": "X-Api-Key", "value": BEARER})
        await call(context, known, url=server.url("/a"), headers={"x-api-key": "mine"})
    [(_, first, _), (_, second, _)] = server.requests
    assert first["authorization"] == f"Bearer {BEARER}"
    assert second["x-api-key"] == BEARER


async def test_it_is_not_sent_elsewhere(context: TaskContext) -> None:
    async with serving(answering("200 OK")) as server, serving(answering("200 OK")) as other:
        for url in (other.url(), server.url(host="localhost"), f"https://127.0.0.1:{server.port}/"):
            code, message = await failure(context, credentials(server), url=url)
            assert (code, message.startswith("the credential 'billing' may not be sent to http")) == (
                "CREDENTIAL_REFUSED",
                True,
            )
    assert (server.connections, other.connections) == (0, 0)


async def test_no_redirect_takes_it_along(context: TaskContext) -> None:
    async with serving(answering("200 OK")) as other, serving(answering("302 Found", Location=other.url())) as server:
        assert (await call(context, credentials(server), url=server.url()))["status"] == 302
    assert other.connections == 0


async def test_one_for_others_is_as_if_it_were_not_there(context: TaskContext) -> None:
    async with serving(answering("200 OK")) as server:
        for known in ({}, credentials(server, products=["blog"]), credentials(server, envs=["dev"])):
            told = await failure(context, known, url=server.url())
            assert told == ("CREDENTIAL_UNKNOWN", "this worker has no credential 'billing' for shop/prd")
        await call(context, credentials(server, products=["shop"], envs=["prd"]), url=server.url())
    assert server.connections == 1


@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
async def test_an_answer_that_quotes_it_is_masked(context: TaskContext, content_type: str) -> None:
    async with serving(quoting(content_type=content_type)) as server:
        answer = await call(context, credentials(server), url=server.url())
    assert BEARER not in repr(answer)
    assert "[secret]" in repr(answer)


async def test_a_failure_that_quotes_it_is_masked(context: TaskContext) -> None:
    async with serving(quoting("401 Unauthorized")) as server:
        told = await failure(context, credentials(server), url=server.url())
    assert told == ("HTTP_401", "GET 127.0.0.1 answered 401: got [secret]")


SLASHED: Final = "ab/cd+efgh/ij=="
ESCAPED: Final = [rb"ab\/cd+efgh\/ij==", rb"ab/cd\u002Befgh/ij\u003d\u003D", rb"ab\u002fcd\u002befgh\/ij=="]


@pytest.mark.parametrize("spelt", ESCAPED)
@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
async def test_no_error_and_no_text_tells_it_as_json_escapes_it(
    context: TaskContext, spelt: bytes, content_type: str
) -> None:
    said = b'{"error":"bad token %s"' % spelt
    async with serving(answering("401 Unauthorized", said + b"}", content_type)) as server:
        known = credentials(server, bearer=SLASHED)
        told = await failure(context, known, url=server.url())
        assert told == ("HTTP_401", 'GET 127.0.0.1 answered 401: {"error":"bad token [secret]"}')
    # Without its end it is not JSON, and answered as text.
    async with serving(answering("200 OK", said, content_type)) as server:
        answer = await call(context, credentials(server, bearer=SLASHED), url=server.url())
    assert answer["body"] == '{"error":"bad token [secret]"'


@pytest.mark.parametrize("spelt", [SLASHED.encode(), *ESCAPED])
async def test_where_an_answer_is_cut_no_beginning_of_it_is_left(context: TaskContext, spelt: bytes) -> None:
    for left in (1, 3, len(spelt) - 1):
        before = b"x" * (MAX_BODY - left)
        async with serving(answering("200 OK", before + spelt)) as server:
            answer = await call(context, credentials(server, bearer=SLASHED), url=server.url())
        assert (answer["body"], answer["truncated"]) == (before.decode(), True)


async def test_nothing_that_is_kept_tells_it(
    servers: Servers, database_name: str, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # As in a worker: the library would tell the header that the answer quotes.
    caplog.set_level(logging.WARNING, "httpcore")
    async with (
        serving(quoting("500 Internal Server Error")) as server,
        serving_gateway(servers.mongodb_url, redis_url, database_name) as gateway,
        gateway.worker_of(TaskRegistry(builtin_tasks(True, credentials(server)))),
    ):
        given = {"url": server.url(), "credential": "billing"}
        retry = {"initialDelay": 20, "maxDelay": 20}
        job_id = await gateway.dispatched(namespace="http", task="request", input=given, retries=1, retryConfig=retry)
        await gateway.told(job_id, EventType.JOB_FAILED)
        database = gateway.gateway.database
        kept = [repr(one) for name in await database.list_collection_names() async for one in database[name].find({})]
        assert [one for one in kept if BEARER in one] == []
        assert (await gateway.job(job_id))["errorCode"] == "HTTP_500"
    assert [headers["authorization"] for _, headers, _ in server.requests] == [f"Bearer {BEARER}"] * 2
    assert BEARER not in caplog.text


@pytest.mark.parametrize("name", ["Authorization", "authorization", "COOKIE", "Proxy-Authorization"])
async def test_a_header_that_proves_who_calls_is_not_dispatched(
    servers: Servers, database_name: str, redis_url: str, name: str
) -> None:
    async with (
        serving_gateway(servers.mongodb_url, redis_url, database_name) as gateway,
        gateway.worker_of(TaskRegistry(builtin_tasks(True))),
    ):
        given = {"url": "http://127.0.0.1:1", "headers": {name: BEARER}}
        answer = await gateway.dispatch(namespace="http", task="request", input=given)
        [issue] = answer["issues"]
        assert issue["path"] == ["input", "input", "headers"]
        assert issue["message"] == "must not be a header that proves who calls: name a credential instead"
        assert BEARER not in repr(answer)
        assert await gateway.gateway.database["jobs"].count_documents({}) == 0


URL_PROBLEM: Final = "must not be a URL with a user or password: name a credential instead"


async def test_a_url_with_a_password_is_not_dispatched(
    servers: Servers, database_name: str, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        serving_gateway(servers.mongodb_url, redis_url, database_name) as gateway,
        gateway.worker_of(TaskRegistry(builtin_tasks(True))),
    ):
        given = {"url": f"https://ann:{BEARER}@api.example.com/"}
        answer = await gateway.dispatch(namespace="http", task="request", input=given)
        assert answer["issues"] == [{"path": ["input", "input", "url"], "message": URL_PROBLEM}]
        assert await gateway.gateway.database["jobs"].count_documents({}) == 0
    assert BEARER not in caplog.text


def problems(url: object) -> list[str]:
    text = http_request_task(True).input_schema
    assert text is not None
    return [issue.message for issue in schema_issues(text, {"url": url}, ())]


@pytest.mark.parametrize(
    "url", ["https://ann:pw@h/", "HTTP://token@h", "//u:p@h", "u:p@h", "https:/u:p@h", "ftp://u:p@h"]
)
def test_a_password_is_found_in_any_url(url: str) -> None:
    assert problems(url) == [URL_PROBLEM]


@pytest.mark.parametrize(
    "url", ["https://ann:ab/cd@h/", "https://ann:1a?b@h/", "https://ann:a@b#@h", "https://u:p\n@h"]
)
def test_a_password_is_found_that_is_not_escaped(url: str) -> None:
    assert problems(url) == [URL_PROBLEM]


@pytest.mark.parametrize(
    "url", ["https://h/p@q", "http://h:80/@q", "http://[::a]:8/@q", "https://h?a@b:c", "https://h#@", 1]
)
def test_an_at_sign_elsewhere_is_no_password(url: object) -> None:
    assert problems(url) == []


async def test_a_worker_does_not_start_with_a_file_that_is_of_no_use(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps({"billing": {"origins": ["http://api.example.com"], "bearer": BEARER}}))
    stores = {"MONGODB_URL": "mongodb://127.0.0.1:1", "REDIS_URL": "redis://127.0.0.1:1"}
    status, out, err = await said("worker", JOBGATE_HTTP_CREDENTIALS=str(file), **stores)
    assert (status, out) == (1, "")
    assert f"jobgate: the credentials in {file}: billing.origins: 'http://api.example.com' must begin with https" in err
    assert BEARER not in err
