"""GraphQL over server-sent events: the distinct connections mode of the protocol ``graphql-sse``, one stream per operation.

Rules: https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md – what is wrong with the HTTP request is answered by
its status; whatever GraphQL says, errors included, by ``next`` events and ``complete``. A stream that ends without
``complete`` was cut, and the client may go on behind the last ``id`` that it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send
from strawberry.types import ExecutionResult

from gateway.answers import answer_of
from gateway.credentials import Caller
from gateway.sessions import Sessions, is_subscription
from schema.context import Context
from schema.faults import lapsed
from storage.cancelling import end_task
from storage.known_documents import KnownDocuments

HEARTBEAT: Final = timedelta(seconds=15)
"""How often a stream says that it is there, so that nothing on the way takes it for dead."""

MAX_CONNECTIONS: Final = 10_000
"""Event streams and WebSockets that one gateway serves at a time."""

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # Told once and to one client; a proxy that compressed or collected it would hold events back.
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]

# Lines end in LF alone: urql looks for two of them between events.
_COMPLETE: Final = "event: complete\ndata: \n\n"
_COMMENT: Final = ": still here\n\n"


class Streams:
    """What is open at one gateway for longer than an answer takes: event streams, and WebSockets beside them."""

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self._most = most
        self._open: set[asyncio.Event] = set()
        self._closed = False

    @property
    def are_enough(self) -> bool:
        """Whether one more would be too many: each may hold a buffer of events, and all of them share what the gateway has."""
        return len(self._open) >= self._most

    def enter(self, ending: asyncio.Event) -> None:
        self._open.add(ending)
        if self._closed:
            ending.set()

    def leave(self, ending: asyncio.Event) -> None:
        self._open.discard(ending)

    def close(self) -> None:
        """End all of them, and those that are yet to come: a gateway that stops waits for its answers."""
        self._closed = True
        for ending in self._open:
            ending.set()


@dataclass(frozen=True, slots=True)
class Opened:
    """What was asked to open an event stream, and by whom."""

    caller: Caller
    sessions: Sessions
    query: str | None
    operation_name: str | None
    documents: KnownDocuments

    @property
    def is_followed(self) -> bool:
        """Whether it is a subscription."""
        return is_subscription(self.query, self.operation_name, self.documents)


class EventStream:
    """The answer to one operation, as an ASGI application."""

    def __init__(
        self,
        results: AsyncGenerator[ExecutionResult, None],
        context: Context,
        encode: Callable[[object], str],
        streams: Streams,
        heartbeat: timedelta,
        opened: Opened,
    ) -> None:
        self._opened = opened
        self._has_lapsed = False
        self._results = results
        self._context = context
        self._encode = encode
        self._streams = streams
        self._heartbeat = heartbeat.total_seconds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until all is told, the client is gone, its caller is no longer known, or the gateway stops.

        Whichever it is, everything is released.
        """
        ending = asyncio.Event()

        def lapse() -> None:
            # What else is asked comes to its end by itself, and is told: it may have been done already.
            if self._opened.is_followed:
                self._has_lapsed = True
                ending.set()

        self._streams.enter(ending)
        self._opened.sessions.enter(self._opened.caller, lapse)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            writing = asyncio.create_task(self._write(send))
            others: list[asyncio.Task[Any]] = [
                asyncio.create_task(self._beat(send)),
                asyncio.create_task(_gone(receive)),
                asyncio.create_task(ending.wait()),
            ]
            try:
                await asyncio.wait({writing, *others}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (*others, writing):
                    await end_task(task)
            if not writing.cancelled():
                writing.result()
            elif self._has_lapsed:
                await send(_body(self._next(ExecutionResult(data=None, errors=[lapsed()])) + _COMPLETE))
            await send(_body("", more=False))
        finally:
            self._opened.sessions.leave(self._opened.caller, lapse)
            self._streams.leave(ending)

    async def _write(self, send: Send) -> None:
        async with aclosing(self._results):
            async for result in self._results:
                await send(_body(self._next(result)))
        await send(_body(_COMPLETE))

    def _next(self, result: ExecutionResult) -> str:
        """The event for one result. One without data has no ``id``: the client goes on behind what it was given before."""
        cursor = self._context.cursor if result.data is not None else None
        id_ = "" if cursor is None else f"id: {cursor}\n"
        return f"{id_}event: next\ndata: {self._encode(answer_of(result))}\n\n"

    async def _beat(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            await send(_body(_COMMENT))


def _body(text: str, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": more}


async def _gone(receive: Receive) -> None:
    """Wait until the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
