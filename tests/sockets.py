"""A client for WebSockets: what is sent to a gateway there, and what it says."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.costs import costless

DEADLINE: Final = 20.0


class Socket:
    """A client of the protocol ``graphql-transport-ws``."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: object) -> None:
        await self.connection.send(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """The next message, whatever it is."""
        async with asyncio.timeout(DEADLINE):
            message: dict[str, Any] = json.loads(await self.connection.recv(decode=True))
        return message

    async def initialise(self, **payload: object) -> None:
        await self.send({"type": "connection_init", "payload": payload} if payload else {"type": "connection_init"})
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(self, id_: str, document: str, **variables: object) -> None:
        payload = {"query": document, "variables": variables}
        await self.send({"type": "subscribe", "id": id_, "payload": payload})

    async def complete(self, id_: str) -> None:
        await self.send({"type": "complete", "id": id_})

    async def next(self, id_: str, field: str) -> Any:
        """What the next message says of ``field``: it has to be a ``next`` of the operation, without errors."""
        message = await self.receive()
        assert (message["type"], message["id"], list(costless(message["payload"]))) == ("next", id_, ["data"]), message
        return message["payload"]["data"][field]

    async def closed(self) -> tuple[int | None, str | None]:
        """The code and the reason with which the other side closes, the next thing that it does."""
        async with asyncio.timeout(DEADLINE):
            try:
                message = await self.connection.recv()
            except ConnectionClosed:
                return self.connection.close_code, self.connection.close_reason
        raise AssertionError(f"the connection was not closed: {message!r}")

    async def closed_at_last(self) -> tuple[int | None, str | None]:
        """The code and the reason with which the other side closes, whatever it says before that."""
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionClosed):
                while True:
                    await self.connection.recv()
        return self.connection.close_code, self.connection.close_reason

    def vanish(self) -> None:
        """Be gone, as after a crash or when the network is lost: nothing is said any more."""
        self.connection.transport.abort()
