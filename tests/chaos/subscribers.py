"""Subscribers that are cut off at random, and go on behind the last cursor that they have."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from jobs.feed import feed_number

_SUBSCRIBE: Final = """
    subscription ($after: String) { jobEvents(after: $after) { cursor jobId seq type status } }
"""
_PROTOCOL: Final = Subprotocol("graphql-transport-ws")
_LIFE: Final = (0.5, 6.0)
_AGAIN: Final = 0.2
_SILENCE: Final = 20.0


class Ended(Exception):
    """The gateway has ended the subscription; what it said."""


@dataclass(slots=True)
class Subscriber:
    """One follower of everything that happens."""

    urls: list[str]
    random: Random
    heard: list[dict[str, Any]] = field(default_factory=list)
    connections: int = 0
    refusals: list[str] = field(default_factory=list)
    patient: bool = False
    """Whether it stays connected from now on."""

    @property
    def position(self) -> int:
        """The number of the last event that it has heard."""
        return feed_number(self.heard[-1]["cursor"]) if self.heard else 0

    async def follow(self) -> None:
        """Subscribe again and again."""
        while True:
            with suppress(OSError, WebSocketException, TimeoutError):
                try:
                    await self._once()
                except Ended as end:
                    self.refusals.append(str(end))
            await asyncio.sleep(_AGAIN)

    async def _once(self) -> None:
        address = "ws" + self.random.choice(self.urls).removeprefix("http")
        life = None if self.patient else self.random.uniform(*_LIFE)
        async with connect(
            address, subprotocols=[_PROTOCOL], max_queue=None, open_timeout=5, close_timeout=1
        ) as socket:
            try:
                async with asyncio.timeout(life):
                    await self._listen(socket)
            finally:
                # No farewell: the gateway finds out by itself.
                socket.transport.abort()

    async def _listen(self, socket: ClientConnection) -> None:
        after = self.heard[-1]["cursor"] if self.heard else None
        await _send(socket, "connection_init")
        await _receive(socket, "connection_ack")
        self.connections += 1
        await _send(socket, "subscribe", id="all", payload={"query": _SUBSCRIBE, "variables": {"after": after}})
        while True:
            payload = (await _receive(socket, "next"))["payload"]
            if payload.get("errors"):
                raise Ended(json.dumps(payload["errors"]))
            self.heard.append(payload["data"]["jobEvents"])


async def _send(socket: ClientConnection, kind: str, **more: Any) -> None:
    await socket.send(json.dumps({"type": kind, **more}))


async def _receive(socket: ClientConnection, wanted: str) -> dict[str, Any]:
    while True:
        async with asyncio.timeout(_SILENCE):
            message: dict[str, Any] = json.loads(await socket.recv())
        if message["type"] == wanted:
            return message
        if message["type"] == "ping":
            await _send(socket, "pong")
        elif message["type"] != "pong":
            raise Ended(json.dumps(message))
