"""What a WebSocket is made of, below the messages of any protocol: frames, and text in them."""

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


async def test_a_frame_has_a_megabyte_at_most(gateway: LiveGateway) -> None:
    async with gateway.socket() as socket:
        await socket.send({"type": "ping", "payload": {"a": "x" * 1024 * 1024}})
        assert (await socket.closed())[0] == 1009
