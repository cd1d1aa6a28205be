"""Watching jobs: one GraphQL subscription over a WebSocket, in the protocol ``graphql-transport-ws``."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from examples.shop.client import JsonObject, Refused

TERMINAL: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})

_PROTOCOL: Final = Subprotocol("graphql-transport-ws")

_SUBSCRIPTION: Final = """
subscription Watch($tag: String!, $after: String) {
  jobEvents(filter: { jobs: { tags: [$tag] } }, after: $after) { cursor jobId seq type status }
}"""


class JobFeed:
    """The events of all jobs that carry a tag, in the order in which they arrived."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._events: defaultdict[str, list[JsonObject]] = defaultdict(list)
        self.arrived: list[JsonObject] = []
        """All of them."""

    def of(self, job_id: str) -> list[JsonObject]:
        """The events of one job that have arrived so far."""
        return self._events[job_id]

    def is_over(self, job_id: str) -> bool:
        """Whether the last event of the job says that it will not run again."""
        events = self.of(job_id)
        return bool(events) and events[-1]["status"] in TERMINAL

    @property
    def size(self) -> int:
        return len(self.arrived)

    async def follow_until(self, done: Callable[[], bool]) -> None:
        """Take in events until there is nothing more to wait for. Raises :class:`Refused` when they end before that."""
        while not done():
            self._take(await self._event())

    async def subscribe(self, tag: str, after: str | None) -> None:
        await self._send("connection_init")
        await self._receive("connection_ack")
        await self._send(
            "subscribe", id="watch", payload={"query": _SUBSCRIPTION, "variables": {"tag": tag, "after": after}}
        )

    def _take(self, event: JsonObject) -> None:
        self.arrived.append(event)
        self._events[event["jobId"]].append(event)

    async def _event(self) -> JsonObject:
        payload = (await self._receive("next"))["payload"]
        if payload.get("errors"):
            raise Refused(f"the subscription failed: {payload['errors']}")
        event: JsonObject = payload["data"]["jobEvents"]
        return event

    async def _receive(self, wanted: str) -> JsonObject:
        while True:
            message: JsonObject = json.loads(await self._socket.recv())
            if message["type"] == wanted:
                return message
            if message["type"] == "ping":
                await self._send("pong")
            elif message["type"] != "pong":
                raise Refused(f"the subscription ended: {message}")

    async def _send(self, kind: str, **more: Any) -> None:
        await self._socket.send(json.dumps({"type": kind, **more}))


@asynccontextmanager
async def open_feed(url: str, tag: str, after: str | None = None) -> AsyncIterator[JobFeed]:
    """Subscribe at the gateway whose HTTP address is ``url``: to all that comes, or came, behind the cursor ``after``."""
    address = "ws" + url.removeprefix("http")
    # No bound on what waits to be read: events go on arriving while the scenarios are being dispatched.
    async with connect(address, subprotocols=[_PROTOCOL], max_queue=None) as socket:
        feed = JobFeed(socket)
        await feed.subscribe(tag, after)
        yield feed
