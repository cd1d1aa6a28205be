"""GraphQL over WebSocket: Strawberry's handler of ``graphql-transport-ws``, made to survive what clients may send.

Rules: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md – a frame that is not a message of the protocol ends
the connection with 4400; an operation that cannot begin ends with an ``error`` message, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, cast

from graphql import GraphQLError
from starlette.websockets import WebSocketDisconnect
from starlette.websockets import WebSocketDisconnected as AlreadyClosed
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation
from strawberry.subscriptions.protocols.graphql_transport_ws.types import Message, SubscribeMessage

from schema.context import Context
from schema.faults import TOO_MANY_OPERATIONS

MAX_OPERATIONS: Final = 100
"""Operations that are under way on one WebSocket at most, subscriptions among them."""

_LONGEST_REASON: Final = 123
"""Bytes that fit into the frame that closes a WebSocket, beside its code."""


class SocketAdapter(ASGIWebSocketAdapter):
    """A WebSocket as Strawberry sees it."""

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Send a message. Raises ``WebSocketDisconnected`` once the client is gone, or this side has begun to close."""
        try:
            await super().send_json(message)
        except AlreadyClosed as error:
            # Other operations may be waiting for a client that reads slowly while this connection is given up.
            raise WebSocketDisconnected from error

    async def close(self, code: int, reason: str) -> None:
        """Close it for a reason that may be long: it can hold what the client has sent. Who is gone needs none."""
        with suppress(WebSocketDisconnect, AlreadyClosed):
            await super().close(code, reason.encode()[:_LONGEST_REASON].decode(errors="ignore"))


class TransportHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """One WebSocket."""

    async def handle_message(self, message: Message) -> None:
        """Handle one frame: whatever JSON a client has sent."""
        complaint = _complaint(cast("object", message))
        if complaint is not None:
            await self.handle_invalid_message(complaint)
            return
        if message.get("payload", ...) is None:
            # The protocol permits a payload that is null; Strawberry does not.
            message = cast("Message", {key: value for key, value in message.items() if key != "payload"})
        await super().handle_message(message)

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Begin an operation, unless there are too many: that is told with a code, which Strawberry would leave out."""
        id_, most = message["id"], self.max_subscriptions_per_connection
        if not self.connection_acknowledged or id_ in self.operations or most is None or len(self.operations) < most:
            await super().handle_subscribe(message)
            return
        error = GraphQLError(
            f"{most} operations are under way on this connection: complete one, or open another connection",
            extensions={"code": TOO_MANY_OPERATIONS},
        )
        await self.send_message({"id": id_, "type": "error", "payload": [error.formatted]})

    async def handle_task_exception(self, error: Exception) -> None:
        """Log what nobody foresaw. That a client is gone when it is to be told something is nothing of that kind."""
        if not isinstance(error, WebSocketDisconnected):
            await super().handle_task_exception(error)

    async def _send_result_stream(self, operation: Operation[Context, None], result_source: Any) -> None:
        began = False
        async for result in result_source:
            if not began and _never_began(result.data, result.errors):
                await operation.send_initial_errors(result.errors)
                return
            began = True
            await operation.send_next(result)


def _never_began(data: object, errors: list[GraphQLError] | None) -> bool:
    """No resolver was called: the document, the variables or the operation's name were wrong."""
    return data is None and bool(errors) and all(error.path is None for error in errors or ())


def _complaint(frame: object) -> str | None:
    """What is wrong with the form of a frame; None when nothing is."""
    match frame:
        case {"type": "connection_init" | "ping" | "pong", **rest}:
            return _payload_complaint(rest)
        case {"type": "complete", "id": str(id_)} if id_:
            return None
        case {"type": "subscribe", "id": str(id_), "payload": {"query": str(), **rest}} if id_:
            return _operation_complaint(rest)
        case {"type": "complete" | "subscribe" as kind}:
            return f"{kind} lacks its id or its payload, or one of them is not of the right type"
        case {"type": str(kind)}:
            return f"{kind[:40]!r} is not a message of the protocol"
    return "a message is a JSON object with a type"


def _payload_complaint(rest: Mapping[object, object]) -> str | None:
    return None if isinstance(rest.get("payload"), dict | None) else "the payload must be an object"


def _operation_complaint(payload: Mapping[object, object]) -> str | None:
    if not isinstance(payload.get("variables"), dict | None):
        return "variables must be an object"
    if not isinstance(payload.get("operationName"), str | None):
        return "operationName must be a string"
    return None
