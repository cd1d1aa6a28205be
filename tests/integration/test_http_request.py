"""The task ``http.request`` against a real server on loopback, friendly and hostile."""

import asyncio
import json
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpcore
import pytest

from jobs.addresses import AddressRefused, parse_url
from jobs.json_values import check_json
from tests.receivers import (
    Reply,
    Server,
    answering,
    break_off,
    drip,
    hang_up,
    never_end,
    say_nothing,
    serving,
    speak_something_else,
)
from worker.context import RunFacts, TaskContext
from worker.guarded_http import MAX_BODY, GuardedHttp, Request, Unreachable, resolve
from worker.http_request import http_request_task
from worker.tasks import TaskError

Head = tuple[str, dict[str, str]]
DEADLINE = 20.0
SOON = timedelta(seconds=5)


@pytest.fixture
async def context() -> TaskContext:
    async def report(_: float, __: str | None) -> None: ...

    due = datetime(2026, 3, 1, tzinfo=UTC)
    return TaskContext(RunFacts("job_1", "http", "request", "shop", "prd", 1, 1, due, None), report)


async def call(context: TaskContext, allow_private: bool = True, **given: Any) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE):
        answer: dict[str, Any] = await http_request_task(allow_private).handler(context, given)
    check_json(answer)
    return answer


async def failure(context: TaskContext, allow_private: bool = True, **given: Any) -> tuple[str, str]:
    with pytest.raises(TaskError) as failed:
        await call(context, allow_private, **given)
    return failed.value.code, failed.value.message


async def test_a_json_answer_is_parsed(context: TaskContext) -> None:
    body = json.dumps({"ok": [1, None, "é"]}).encode()
    async with serving(answering("200 OK", body, "application/json", X_Cost="3")) as server:
        answer = await call(context, url=server.url("/a?b=c"))
    assert (answer["status"], answer["json"], answer["truncated"]) == (200, {"ok": [1, None, "é"]}, False)
    assert answer["headers"] == {"content-type": "application/json", "content-length": str(len(body)), "x-cost": "3"}
    assert 0 <= answer["durationMs"] < DEADLINE * 1000
    assert "body" not in answer
    [(first, headers, _)] = server.requests
    assert first == "GET /a?b=c HTTP/1.1"
    assert headers == {"host": f"127.0.0.1:{server.port}", "user-agent": "jobgate", "accept": "*/*"}


async def test_any_other_answer_is_text(context: TaskContext) -> None:
    async with serving(answering("200 OK", "grüße\n\x00".encode())) as server:
        answer = await call(context, url=server.url())
    assert (answer["body"], "json" in answer) == ("grüße\n\N{REPLACEMENT CHARACTER}", False)


async def test_text_in_latin_1_is_read_as_such(context: TaskContext) -> None:
    async with serving(answering("200 OK", b"gr\xfc\xdfe", "text/plain; charset=ISO-8859-1")) as server:
        assert (await call(context, url=server.url()))["body"] == "grüße"


NOT_STORABLE = {
    "cut off": b'{"a": ',
    "not a number": b"[NaN]",
    "nested too deep for a job": b"[" * 40 + b"]" * 40,
    "nested too deep for the parser": b"[" * 50_000,
    "half a character": rb'"\ud800"',
    "more digits than an integer may have": b"1" * 5000,
    "empty": b"",
}


@pytest.mark.parametrize("what", NOT_STORABLE)
async def test_what_cannot_be_stored_as_json_is_answered_as_text(context: TaskContext, what: str) -> None:
    async with serving(answering("200 OK", NOT_STORABLE[what], "application/json")) as server:
        answer = await call(context, url=server.url())
    assert (answer["body"], "json" in answer) == (NOT_STORABLE[what].decode(), False)


async def test_any_body_fits_into_a_result(context: TaskContext) -> None:
    many = {f"X-{number}": "é" * 2000 for number in range(20)}
    async with serving(answering("200 OK", b"\x00" * MAX_BODY, **many)) as server:
        answer = await call(context, url=server.url())
    assert (len(answer["body"]), answer["truncated"]) == (MAX_BODY, False)
    assert list(answer["headers"]) == ["content-type", "content-length", *(f"x-{number}" for number in range(8))]


async def test_a_repeated_header_is_joined(context: TaskContext) -> None:
    async with serving(answering("200 OK", b"", Set_Cookie="a=1", set_cookie="b=2")) as server:
        assert (await call(context, url=server.url()))["headers"]["set-cookie"] == "a=1, b=2"


async def test_json_is_sent(context: TaskContext) -> None:
    async with serving(answering("201 Created")) as server:
        await call(context, url=server.url(), method="POST", json={"a": "é"}, headers={"X-Shop": "one"})
    [(first, headers, body)] = server.requests
    assert (first, headers["content-type"], headers["x-shop"]) == (("POST / HTTP/1.1", "application/json", "one"))
    assert json.loads(body) == {"a": "é"}


async def test_text_is_sent_under_the_type_that_is_given(context: TaskContext) -> None:
    async with serving(answering("204 No Content")) as server:
        await call(context, url=server.url(), method="PUT", body="a,b\n", headers={"Content-Type": "text/csv"})
    [(first, headers, body)] = server.requests
    assert (first, headers["content-type"], body) == ("PUT / HTTP/1.1", "text/csv", b"a,b\n")


async def test_an_error_status_fails_with_its_number(context: TaskContext) -> None:
    async with serving(answering("404 Not Found", b"no such thing\n")) as server:
        error = await failure(context, url=server.url("/secret?token=1"))
    assert error == ("HTTP_404", "GET 127.0.0.1 answered 404: no such thing")


async def test_an_error_status_that_was_expected_is_answered(context: TaskContext) -> None:
    async with serving(answering("404 Not Found")) as server:
        assert (await call(context, url=server.url(), expectStatus=[404, 410]))["status"] == 404


async def test_a_redirect_is_answered_and_not_followed(context: TaskContext) -> None:
    async with (
        serving(answering("200 OK")) as inner,
        serving(answering("302 Found", Location=inner.url("/metadata"))) as server,
    ):
        answer = await call(context, url=server.url())
    assert (answer["status"], answer["headers"]["location"]) == (302, inner.url("/metadata"))
    assert inner.connections == 0


async def test_an_endless_body_is_cut(context: TaskContext) -> None:
    async with serving(never_end) as server:
        answer = await call(context, url=server.url())
        assert (len(answer["body"]), answer["truncated"]) == (MAX_BODY, True)
        async with asyncio.timeout(DEADLINE):
            await server.gone.wait()


@pytest.mark.parametrize("slowness", [say_nothing, drip])
async def test_a_slow_answer_times_out_and_the_connection_is_closed(context: TaskContext, slowness: Reply) -> None:
    async with serving(slowness) as server:
        # Long enough for a busy machine to connect: there has to be something to close.
        error = await failure(context, url=server.url(), timeoutMs=2000)
        assert error == ("HTTP_TIMEOUT", "no answer from '127.0.0.1' in 2 s")
        async with asyncio.timeout(DEADLINE):
            await server.gone.wait()


@pytest.mark.parametrize("reply", [hang_up, break_off, speak_something_else])
async def test_a_connection_that_breaks_says_that_something_was_sent(context: TaskContext, reply: Reply) -> None:
    async with serving(reply) as server:
        code, message = await failure(context, url=server.url())
    assert (code, message.split(":")[0]) == ("HTTP_CONNECTION_LOST", "the connection to '127.0.0.1' broke")


async def test_nobody_listening_is_unreachable(context: TaskContext) -> None:
    # Taken, so that nobody else takes it meanwhile.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        code, message = await failure(context, url=f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert (code, message.split(":")[0]) == ("HTTP_UNREACHABLE", "cannot connect to '127.0.0.1'")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1", "[::ffff:127.0.0.1]", "127\u30020\u30020\u30021"],
)
async def test_loopback_is_refused_however_it_is_spelt(context: TaskContext, host: str) -> None:
    async with serving(answering("200 OK")) as server:
        code, _ = await failure(context, allow_private=False, url=server.url(host=host))
    assert (code, server.connections) == ("ADDRESS_REFUSED", 0)


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "0.0.0.0", "224.0.0.1"])  # noqa: S104  # nothing is bound
async def test_metadata_services_and_the_like_are_refused_even_where_private_addresses_are_allowed(
    context: TaskContext, host: str
) -> None:
    code, _ = await failure(context, url=f"http://{host}/latest/meta-data/")
    assert code == "ADDRESS_REFUSED"


async def test_proxies_from_the_environment_are_not_used(context: TaskContext, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answering("200 OK", b"proxy")) as proxy, serving(answering("200 OK", b"server")) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        assert (await call(context, url=server.url()))["body"] == "server"
    assert proxy.connections == 0


class Names:
    """A name server that gives one answer after the other."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self.answers.pop(0)


class Elsewhere(httpcore.AsyncNetworkBackend):
    """A network on which every address leads to one port of this machine, or nowhere; it notes what was called."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port
        self.called: list[str] = []

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.called.append(host)
        if self.port is None:
            raise httpcore.ConnectError("no route")
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port)


def request_to(server: Server) -> Request:
    return Request("GET", parse_url(server.url(host="rebinding.example")), {})


async def test_a_name_is_resolved_once_and_what_was_checked_is_called() -> None:
    """A name that is public when it is checked and loopback when it is called would get past a check of names."""
    names, network = Names(["8.8.8.8"], ["127.0.0.1"]), Elsewhere()
    async with serving(answering("200 OK")) as server:
        http = GuardedHttp(allow_private=False, resolve=names, network=network)
        with pytest.raises(Unreachable, match="no route"):
            await http.send(request_to(server), SOON)
    assert (names.asked, network.called) == ([("rebinding.example", server.port)], ["8.8.8.8"])
    assert server.connections == 0


async def test_a_name_that_changes_between_requests_is_checked_each_time() -> None:
    names = Names(["8.8.8.8"], ["127.0.0.1"])
    http = GuardedHttp(allow_private=False, resolve=names, network=Elsewhere())
    async with serving(answering("200 OK")) as server:
        with pytest.raises(Unreachable):
            await http.send(request_to(server), SOON)
        with pytest.raises(AddressRefused):
            await http.send(request_to(server), SOON)


async def test_nothing_is_sent_where_a_connection_leads_to_another_address_than_was_asked_for() -> None:
    async with serving(answering("200 OK")) as server:
        network = Elsewhere(server.port)
        http = GuardedHttp(allow_private=False, resolve=Names(["8.8.8.8"]), network=network)
        with pytest.raises(AddressRefused):
            await http.send(request_to(server), SOON)
        async with asyncio.timeout(DEADLINE):
            await server.gone.wait()
    assert (network.called, server.connections, server.requests) == (["8.8.8.8"], 1, [])


async def test_no_more_than_four_addresses_of_a_name_are_tried() -> None:
    network = Elsewhere()
    http = GuardedHttp(allow_private=False, resolve=Names([f"8.8.8.{number}" for number in range(9)]), network=network)
    async with serving(answering("200 OK")) as server:
        with pytest.raises(Unreachable):
            await http.send(request_to(server), SOON)
    assert network.called == ["8.8.8.0", "8.8.8.1", "8.8.8.2", "8.8.8.3"]


async def test_one_inner_address_among_the_answers_refuses_the_name(context: TaskContext) -> None:
    async with serving(answering("200 OK")) as server:
        http = http_request_task(False, Names(["8.8.8.8", "127.0.0.1"])).handler
        with pytest.raises(TaskError) as failed:
            await http(context, {"url": server.url(host="half.example")})
    assert (failed.value.code, server.connections) == ("ADDRESS_REFUSED", 0)


async def test_the_next_address_is_tried_and_the_server_is_called_by_its_name(context: TaskContext) -> None:
    async with serving(answering("200 OK")) as server:
        http = http_request_task(True, Names(["127.0.0.2", "127.0.0.1"])).handler
        assert (await http(context, {"url": server.url(host="Shop.example")}))["status"] == 200
    [(_, headers, _)] = server.requests
    assert headers["host"] == f"shop.example:{server.port}"


async def test_tls_asks_for_the_name_not_for_the_address(context: TaskContext) -> None:
    greeting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def overhear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting.set_result(await reader.read(4096))
        writer.close()

    async with await asyncio.start_server(overhear, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TaskError) as failed:
            await http_request_task(True, Names(["127.0.0.1"])).handler(
                context, {"url": f"https://shop.example:{port}/"}
            )
    assert failed.value.code == "HTTP_UNREACHABLE"
    assert b"shop.example" in greeting.result()


async def test_a_name_without_an_address_is_unreachable(context: TaskContext) -> None:
    with pytest.raises(TaskError, match="it has no address") as failed:
        await http_request_task(True, Names([])).handler(context, {"url": "http://nowhere.example/"})
    assert failed.value.code == "HTTP_UNREACHABLE"


async def test_a_name_that_cannot_be_one_is_unreachable(context: TaskContext) -> None:
    code, message = await failure(context, url=f"http://{'a' * 64}.example/")
    assert (code, message.split(":")[0]) == ("HTTP_UNREACHABLE", f"cannot resolve '{'a' * 64}.example'")


INVALID: list[tuple[Any, str]] = [
    ([], "the input must be an object"),
    ({}, "url must be a string"),
    ({"url": 1}, "url must be a string"),
    ({"url": "ftp://x.example"}, "url must begin with http:// or https://"),
    ({"url": "https://xn--ss.de"}, "url is not a URL: it cannot be decoded"),
    ({"url": "http://u:p@x.example"}, "url must not hold a user or password"),
    ({"method": "get"}, "method must be one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    ({"method": ["GET"]}, "method must be one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    ({"headers": {"Authorization": "Bearer x"}}, "headers.Authorization proves who calls: name a credential instead"),
    ({"headers": {"COOKIE": "a=1"}}, "headers.COOKIE proves who calls: name a credential instead"),
    (
        {"headers": {"proxy-Authorization": "x"}},
        "headers.proxy-Authorization proves who calls: name a credential instead",
    ),
    ({"credential": ["billing"]}, "credential must be a string"),
    ({"timeout": 3}, "'timeout' is not one of body, credential, expectStatus, headers, json, method, timeoutMs, url"),
    ({"timeoutMs": 0}, "timeoutMs must be a number from 1 to 600000"),
    ({"timeoutMs": True}, "timeoutMs must be a number from 1 to 600000"),
    ({"body": "a", "json": 1}, "body and json cannot both be given"),
    ({"body": 1}, "body must be a string"),
    ({"headers": []}, "headers must be an object"),
    ({"headers": {"a b": "c"}}, "headers has 'a b', which is not the name of a header"),
    ({"headers": {"Host": "x"}}, "headers.Host is set by the worker"),
    ({"headers": {"Transfer-Encoding": "chunked"}}, "headers.Transfer-Encoding is set by the worker"),
    ({"headers": {"X": "a\r\nY: b"}}, "headers.X must be one line of text"),
    ({"headers": {"X": " a"}}, "headers.X must be one line of text"),
    ({"headers": {"X": 1}}, "headers.X must be one line of text"),
    ({"headers": {"X": "日本"}}, "headers.X must be one line of text"),
    ({"expectStatus": 404}, "expectStatus must be a list of statuses such as 404"),
    ({"expectStatus": ["404"]}, "expectStatus must be a list of statuses such as 404"),
]


@pytest.mark.parametrize(("given", "complaint"), INVALID, ids=lambda value: str(value)[:40])
async def test_an_input_that_is_wrong_names_the_field(context: TaskContext, given: Any, complaint: str) -> None:
    value = {"url": "http://127.0.0.1:1/", **given} if isinstance(given, dict) and given else given
    with pytest.raises(TaskError) as failed:
        await http_request_task(True).handler(context, value)
    assert (failed.value.code, failed.value.message) == ("INVALID_INPUT", complaint)


async def test_the_system_resolves_a_name_to_each_address_once() -> None:
    assert await resolve("127.0.0.1", 80) == ["127.0.0.1"]
