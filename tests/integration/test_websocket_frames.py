"""What a WebSocket is made of, below the messages of any protocol: frames, and text in them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from tests.gateway import LiveGateway, serving_for_all

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("nothing_is_logged")]

FOLLOW: Final = "subscription { jobEvents { type } }"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb) as gateway:
        yield gateway


def frame(head: int, content: bytes = b"") -> bytes:
    """A frame as a client sends it, under a mask that changes nothing."""
    return bytes([head, 0x80 | len(content)]) + bytes(4) + content


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(b"\x81\x02{}", 1002, id="no mask"),
        pytest.param(frame(0x83), 1002, id="reserved opcode"),
        pytest.param(frame(0x81 | 0x20, b"{}"), 1002, id="reserved bit"),
        pytest.param(frame(0x81, b"\xc3("), 1007, id="no UTF-8"),
        pytest.param(frame(0x01, b"\xc3") + frame(0x80, b"("), 1007, id="no UTF-8 in two frames"),
        pytest.param(frame(0x81, b"\xff") * 3, 1007, id="no UTF-8 three times"),
        pytest.param(frame(0x81, b"\xff") + frame(0x88, b"\x03\xe8"), 1000, id="no UTF-8 and a farewell"),
        pytest.param(frame(0x82, b"\xff"), 4400, id="binary"),
    ],
)
async def test_bytes_that_are_no_frame_or_no_text_end_the_connection(
    gateway: LiveGateway, sent: bytes, code: int
) -> None:
    async with gateway.socket(compression=None) as socket:
        await socket.subscribe("1", FOLLOW)
        await gateway.until_subscribers(1)
        socket.connection.transport.write(sent)
        assert (await socket.closed())[0] == code
        await gateway.until_subscribers(0)


async def test_a_character_may_be_divided_between_two_frames(gateway: LiveGateway) -> None:
    async with gateway.socket(compression=None) as socket:
        start, end = '{"type": "ping", "payload": {"a": "é"}}'.encode().split(b"\xa9")
        socket.connection.transport.write(frame(0x01, start) + frame(0x80, b"\xa9" + end))
        assert await socket.receive() == {"type": "pong"}


async def test_a_message_has_a_megabyte_at_most(gateway: LiveGateway) -> None:
    async with gateway.socket() as socket:
        message = '{"type": "ping", "payload": {"a": "%s"}}'
        longest = message % ("x" * (1024 * 1024 - len(message) + 2))
        await socket.connection.send(longest)
        assert await socket.receive() == {"type": "pong"}
        await socket.connection.send(longest + " ")
        assert (await socket.closed())[0] == 1009


HANDSHAKE: Final = """GET /graphql{query} HTTP/1.1
Host: 127.0.0.1
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Version: 13
Sec-WebSocket-Protocol: graphql-transport-ws
X-Long: {header}

"""


@pytest.mark.parametrize(
    ("query", "header", "status"), [("", "", 101), ("?" + "x" * 9_000, "", 414), ("", "x" * 9_000, 431)]
)
async def test_a_handshake_of_any_length_is_answered(
    gateway: LiveGateway, query: str, header: str, status: int
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(HANDSHAKE.format(query=query, header=header).replace("\n", "\r\n").encode())
    async with asyncio.timeout(20):
        assert (await reader.readline()).split()[1] == str(status).encode()
        if status != 101:
            await reader.read()
            await gateway.until(lambda: gateway.websockets == [])
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_request_that_asks_for_a_websocket_and_cannot_open_one_is_answered(
    gateway: LiveGateway, method: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    sent = HANDSHAKE.format(query="", header="x").replace("GET", method, 1).replace("X-Long: x", "Content-Length: 2")
    writer.write(sent.replace("\n", "\r\n").encode() + b"{}")
    async with asyncio.timeout(20):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert f"content-length: {len(body)}".encode() in head
    assert body == b"a WebSocket is opened by a GET"
    await gateway.until(lambda: gateway.websockets == [])
    writer.close()
    await writer.wait_closed()
