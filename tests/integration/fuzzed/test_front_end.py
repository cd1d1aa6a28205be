"""Whatever is sent to a gateway, it answers as GraphQL has it, logs no fault of its own, and goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import h11
import hypothesis
import pytest
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.fuzz_runs import HANDFULS, Overheard, check_answer, check_errors, fuzzed, goes_on
from tests.fuzzed_sockets import Session, Step, in_fragments, sessions
from tests.fuzzing import HttpRequest, filled, http_requests
from tests.gateway import LiveGateway

DEADLINE: Final = 20.0
FAREWELL: Final = b'{"type": "farewell"}'

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60 + HANDFULS)]


async def all_beside_each_other(checks: Iterable[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for check in checks:
            group.create_task(check)


# ---------------------------------------------------------------- HTTP


async def answer_to(gateway: LiveGateway, request: HttpRequest, sent: bytes) -> tuple[h11.Response | None, bytes]:
    """The head and the body of the answer. There may be none to a request that the gateway cannot tell the end of."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        async with asyncio.timeout(DEADLINE):
            writer.write(sent)
            if request.is_unsure:
                writer.write_eof()
            return await read_answer(reader, is_head=request.method == b"HEAD")
    except (ConnectionError, h11.RemoteProtocolError):
        # It hangs up on a client that does.
        assert request.is_unsure
        return None, b""
    finally:
        writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader, *, is_head: bool) -> tuple[h11.Response | None, bytes]:
    """An answer; of an event stream its head only. Raises ``h11.RemoteProtocolError`` for what is no answer, or half of one."""
    client = h11.Connection(h11.CLIENT)
    # h11 wants to know what it reads the answer to.
    client.send(h11.Request(method="HEAD" if is_head else "GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    head: h11.Response | None = None
    body = b""
    while True:
        match client.next_event():
            case h11.NEED_DATA:
                client.receive_data(await reader.read(65_536))
            case h11.Response() as response:
                head = response
                if b"text/event-stream" in dict(response.headers).get(b"content-type", b""):
                    return response, b""
            case h11.Data() as part:
                body += part.data
            case h11.EndOfMessage() | h11.ConnectionClosed():
                return head, body


async def check_request(gateway: LiveGateway, request: HttpRequest, known: dict[str, str], heard: Overheard) -> None:
    head, body = await answer_to(gateway, request, request.encoded(known))
    heard.tally["requests"] += 1
    if head is None:
        assert request.is_unsure
        return
    heard.tally[f"status {head.status_code}"] += 1
    assert head.status_code < 500
    kind = dict(head.headers).get(b"content-type", b"")
    if body and b"json" in kind and not request.target.endswith(b"z"):
        check_answer(json.loads(body), heard)


@fuzzed()
@hypothesis.given(requests=st.lists(http_requests(), min_size=1, max_size=8))
async def test_requests(
    requests: list[HttpRequest], gateway: LiveGateway, known: dict[str, str], overheard: Overheard
) -> None:
    await all_beside_each_other([check_request(gateway, request, known, overheard) for request in requests])
    await goes_on(gateway)
    overheard.check()


# ---------------------------------------------------------------- WebSockets


class Clients:
    """The connections of one session."""

    def __init__(self, gateway: LiveGateway, session: Session, stack: AsyncExitStack) -> None:
        self._url = f"ws://127.0.0.1:{gateway.port}/graphql"
        self._protocols = [Subprotocol(name) for name in session.protocols]
        self._stack = stack
        self.open: dict[int, ClientConnection] = {}
        self.broken: set[int] = set()

    async def act(self, step: Step, content: bytes) -> None:
        connection = self.open.get(step.connection)
        if connection is None:
            # Without compression, so that what goes below the frames means what it says.
            opening = connect(
                self._url, subprotocols=self._protocols or None, proxy=None, compression=None, max_size=None
            )
            connection = self.open[step.connection] = await self._stack.enter_async_context(opening)
        if step.kind in ("text", "binary"):
            with suppress(ConnectionClosed):
                await connection.send(content, text=step.kind == "text")
        elif step.kind == "vanish":
            connection.transport.abort()
            self.broken.add(step.connection)
        elif not connection.transport.is_closing():
            connection.transport.write(in_fragments(content) if step.kind == "fragments" else content)
            if step.kind == "broken":
                self.broken.add(step.connection)

    async def leave(self, which: int) -> list[Any]:
        """Everything that was said to this client until it has gone."""
        connection, said = self.open[which], []
        with suppress(ConnectionClosed, OSError):
            if which in self.broken:
                connection.transport.write_eof()
            else:
                await connection.send(FAREWELL, text=True)
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionClosed):
                while True:
                    said.append(json.loads(await connection.recv(decode=True)))
        return said


def check_message(message: Any, heard: Overheard) -> None:
    """It is one that a server may send."""
    assert isinstance(message, dict)
    heard.tally[f"message {message['type']}"] += 1
    match message["type"]:
        case "next":
            check_answer(message["payload"], heard)
        case "error":
            check_errors(message["payload"], heard)
        case kind:
            assert kind in ("connection_ack", "ping", "pong", "complete")


async def check_session(gateway: LiveGateway, session: Session, known: dict[str, str], heard: Overheard) -> None:
    async with AsyncExitStack() as stack:
        clients = Clients(gateway, session, stack)
        try:
            for step in session.steps:
                heard.tally[f"step {step.kind}"] += 1
                await clients.act(step, filled(step.content, known))
        except InvalidStatus as refusal:
            heard.tally[f"refused with {refusal.response.status_code}"] += 1
            if refusal.response.status_code >= 500:
                raise
        # So that what was begun can end before the clients leave.
        await goes_on(gateway)
        for which, connection in clients.open.items():
            for message in await clients.leave(which):
                check_message(message, heard)
            close = connection.protocol.close_rcvd
            heard.tally[f"closed with {close and close.code}"] += 1
            assert close is not None or which in clients.broken
            assert close is None or close.code != 1011


@fuzzed()
@hypothesis.given(several=st.lists(sessions(), min_size=1, max_size=4))
async def test_sessions(
    several: list[Session], gateway: LiveGateway, known: dict[str, str], overheard: Overheard
) -> None:
    await all_beside_each_other([check_session(gateway, session, known, overheard) for session in several])
    await goes_on(gateway)
    overheard.check()
