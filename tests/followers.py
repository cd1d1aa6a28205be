"""Followers of everything that happens, who cut their own connections at random instants and go on behind the last cursor."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from contextlib import suppress
from random import Random
from typing import Any, Final

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from jobs.feed import feed_cursor, feed_number
from tests.event_streams import Stream

Heard = tuple[int, str, int, str]
"""The number of an event in the log, its job, its number among those of the job, and its type."""

_FOLLOW: Final = "subscription ($after: String) { jobEvents(after: $after) { cursor jobId seq type } }"
_LONGEST: Final = 0.4
_AGAIN: Final = 0.05


class Follower(ABC):
    """Someone with several gateways to choose from."""

    def __init__(self, urls: list[str], random: Random) -> None:
        self._urls = urls
        self._random = random
        self.heard: list[Heard] = []
        self.cuts = 0
        """Connections that it has cut itself."""

    @property
    def position(self) -> int:
        return self.heard[-1][0] if self.heard else 0

    async def follow(self, last: int) -> None:
        """Listen until the event with this number was heard."""
        while self.position < last:
            try:
                async with asyncio.timeout(self._random.uniform(0, _LONGEST)):
                    with suppress(OSError, WebSocketException, httpx.TransportError):
                        await self._listen(self._random.choice(self._urls), feed_cursor(self.position))
                    # The gateway is gone: this one, or both.
                    await asyncio.sleep(_AGAIN)
            except TimeoutError:
                self.cuts += 1

    @abstractmethod
    async def _listen(self, url: str, after: str) -> None:
        """Connect, and take in what comes until the gateway is gone."""

    def _take(self, payload: dict[str, Any]) -> None:
        assert "errors" not in payload, payload
        event = payload["data"]["jobEvents"]
        self.heard.append((feed_number(event["cursor"]), event["jobId"], event["seq"], event["type"]))


class SocketFollower(Follower):
    """Over a WebSocket."""

    async def _listen(self, url: str, after: str) -> None:
        address, protocol = "ws" + url.removeprefix("http"), Subprotocol("graphql-transport-ws")
        async with connect(address, subprotocols=[protocol], proxy=None, max_queue=None) as socket:
            try:
                await socket.send(json.dumps({"type": "connection_init"}))
                payload = {"query": _FOLLOW, "variables": {"after": after}}
                await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
                assert json.loads(await socket.recv()) == {"type": "connection_ack"}
                async for text in socket:
                    message = json.loads(text)
                    assert message["type"] == "next", message
                    self._take(message["payload"])
            finally:
                # No farewell: the gateway finds out by itself.
                socket.transport.abort()


class StreamFollower(Follower):
    """Over an event stream, as an ``EventSource`` does it: the first request again, with the id of the last event."""

    def __init__(self, urls: list[str], random: Random, http: httpx.AsyncClient) -> None:
        super().__init__(urls, random)
        self._http = http

    async def _listen(self, url: str, after: str) -> None:
        request = {"query": _FOLLOW, "variables": {"after": feed_cursor(0)}}
        headers = {"accept": "text/event-stream", "last-event-id": after}
        async with self._http.stream("POST", url, json=request, headers=headers) as response:
            stream = Stream(response)
            while (event := await stream.event()) is not None:
                assert event.name == "next", event
                self._take(event.data)
                assert event.id == feed_cursor(self.position)
