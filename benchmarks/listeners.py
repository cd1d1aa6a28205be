"""A process full of WebSocket clients that note when each event arrives, and do as little else as can be done.

A client library would take longer over a message than the server that is measured. These count frames: the first one of a
connection acknowledges it, each later one is an event. They offer compression as browsers do, and decompress nothing.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import struct
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final

import click
import uvloop

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_AT_ONCE: Final = 50
"""Connections that are opened together."""

_LOOK_EVERY: Final = 0.002


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one listener asks for."""

    query: str
    variables: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """What one listener got, and when by the machine's monotonic and wall clocks; the text only where it was not compressed."""

    monotonic: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    text: list[bytes] = field(default_factory=list)


class Listeners:
    """The process with the clients, as the one that measures sees it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    async def until(self, events: int, seconds: float = 120) -> None:
        """Wait until so many events have arrived since the last :meth:`taken`, at all listeners together."""
        arrived = await self._ask("until", events, seconds)
        if arrived < events:
            raise click.ClickException(f"{arrived} of {events} events arrived within {seconds:g} s")

    async def taken(self) -> list[Heard]:
        """What each listener has got since this was last asked."""
        heard: list[Heard] = await self._ask("take")
        return heard

    async def _ask(self, *request: Any) -> Any:
        await asyncio.to_thread(self._pipe.send, request)
        return await asyncio.to_thread(self._pipe.recv)


@asynccontextmanager
async def listening(
    port: int, subscriptions: Sequence[Subscription], *, compressed: bool = True
) -> AsyncIterator[Listeners]:
    """One listener for each subscription, in a process of their own; all are acknowledged."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_run, args=(theirs, port, list(subscriptions), compressed), daemon=True
    )
    process.start()
    try:
        await asyncio.to_thread(ours.recv)
        yield Listeners(ours)
    finally:
        process.terminate()
        await asyncio.to_thread(process.join)


def _run(pipe: Connection, port: int, subscriptions: list[Subscription], compressed: bool) -> None:
    uvloop.run(_serve(pipe, port, subscriptions, compressed))


async def _serve(pipe: Connection, port: int, subscriptions: list[Subscription], compressed: bool) -> None:
    loop = asyncio.get_running_loop()
    listeners = [_Listener(port, subscription, compressed) for subscription in subscriptions]
    for start in range(0, len(listeners), _AT_ONCE):
        some = listeners[start : start + _AT_ONCE]
        await asyncio.gather(*(loop.create_connection(lambda one=one: one, "127.0.0.1", port) for one in some))  # type: ignore[misc]  # bound at once
        await asyncio.gather(*(one.acknowledged for one in some))
    pipe.send(None)
    while True:
        request = await asyncio.to_thread(pipe.recv)
        match request:
            case ("until", int(events), float(seconds) | int(seconds)):
                pipe.send(await _until(listeners, events, seconds))
            case ("take",):
                pipe.send([one.heard for one in listeners])
                for one in listeners:
                    one.heard = Heard()


async def _until(listeners: Sequence[_Listener], events: int, seconds: float) -> int:
    end = time.monotonic() + seconds
    while (arrived := sum(len(one.heard.wall) for one in listeners)) < events and time.monotonic() < end:  # noqa: ASYNC110  # looked at from outside
        await asyncio.sleep(_LOOK_EVERY)
    return arrived


class _Listener(asyncio.Protocol):
    def __init__(self, port: int, subscription: Subscription, compressed: bool) -> None:
        self.heard = Heard()
        self.acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._port = port
        self._subscription = subscription
        self._compressed = compressed
        self._buffer = b""
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # that of a stream
        extension = (
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" if self._compressed else ""
        )
        self._transport.write(
            f"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{extension}"
            "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            _, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self._upgraded, self._buffer = True, rest
            self._say({"type": "connection_init"})
        offset = 0
        while (frame := _frame_at(self._buffer, offset)) is not None:
            kind, start, offset = frame
            self._take(kind, self._buffer[start:offset])
        self._buffer = self._buffer[offset:]

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == _PING:
            self._send(_PONG, payload)
        elif kind == _TEXT and not self.acknowledged.done():
            self.acknowledged.set_result(None)
            asked = {"query": self._subscription.query, "variables": self._subscription.variables}
            self._say({"type": "subscribe", "id": "1", "payload": asked})
        elif kind == _TEXT:
            self.heard.monotonic.append(time.monotonic())
            self.heard.wall.append(time.time())
            if not self._compressed:
                self.heard.text.append(payload)
        elif kind == _CLOSE:
            raise ConnectionError(f"the server closed the connection: {payload!r}")

    def _say(self, message: object) -> None:
        self._send(_TEXT, json.dumps(message).encode())

    def _send(self, kind: int, payload: bytes) -> None:
        # Masked, as clients have to, with a mask that changes nothing.
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        self._transport.write(bytes([0x80 | kind]) + size + bytes(4) + payload)


def _frame_at(buffer: bytes, offset: int) -> tuple[int, int, int] | None:
    """The kind of the frame that begins there, and where its payload begins and ends; None while it is not all there."""
    if len(buffer) < offset + 2:
        return None
    size, start = buffer[offset + 1], offset + 2
    if size >= 126:
        length = 2 if size == 126 else 8
        size, start = int.from_bytes(buffer[start : start + length], "big"), start + length
    end = start + size
    return (buffer[offset] & 0x0F, start, end) if len(buffer) >= end else None
