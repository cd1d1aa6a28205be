"""GraphQL over WebSocket: Strawberry's handler of ``graphql-transport-ws``, made to survive what clients may send.

Rules: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md – a frame that is not a message of the protocol ends
the connection with 4400; an operation that cannot begin, or that a defect of ours ends, ends with an ``error`` message, and
nothing else does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

from graphql import GraphQLError
from starlette.status import WS_1013_TRY_AGAIN_LATER
from starlette.websockets import WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketDisconnected as AlreadyClosed
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    Message,
    SubscribeMessage,
)

from gateway.credentials import Caller, Unauthenticated, located
from gateway.sessions import is_subscription
from gateway.wiring import Gateway
from jobs.budget import OverBudget
from jobs.errors import StoreUnavailable
from schema.context import Context
from schema.faults import TOO_MANY_OPERATIONS, lapsed, masked
from schema.known_documents import DocumentId
from storage.cancelling import end_task

MAX_OPERATIONS: Final = 100
"""Operations that are under way on one WebSocket at most, subscriptions among them."""

_FORBIDDEN: Final = 4403
"""What the protocol has for a connection that is refused at its initialisation."""

_TOO_MANY_REQUESTS: Final = 4429
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
    """One WebSocket, of one caller from its initialisation on."""

    _caller: Caller | None = None
    _has_lapsed = False
    """What the caller has shown is no longer good."""
    _lapsing: asyncio.Task[None] | None = None

    @property
    def _gateway(self) -> Gateway:
        gateway: Gateway = self._socket.state.gateway
        return gateway

    @property
    def _socket(self) -> WebSocket:
        return cast("SocketAdapter", self.websocket).ws

    async def handle_message(self, message: Message) -> None:
        """Handle one frame: whatever JSON a client has sent."""
        message = _by_document(message)
        complaint = _complaint(cast("object", message))
        if complaint is not None:
            await self.handle_invalid_message(complaint)
            return
        if message.get("payload", ...) is None:
            # The protocol permits a payload that is null; Strawberry does not.
            message = cast("Message", {key: value for key, value in message.items() if key != "payload"})
        await super().handle_message(message)

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Acknowledge the connection once it is known who opens it, and unless they open too many."""
        if not self.connection_init_received:
            shown = authorization_of(message.get("payload") or {}, self._socket.headers.getlist("authorization"))
            try:
                caller = await self._gateway.callers.who(shown)
            except Unauthenticated:
                await self.websocket.close(_FORBIDDEN, "Forbidden")
                return
            except StoreUnavailable as away:
                await self.websocket.close(WS_1013_TRY_AGAIN_LATER, str(away))
                return
            client = self._socket.client
            self.context.principal = located(caller.principal, client.host if client else None)
            self._caller = caller
            self._gateway.sessions.enter(caller, self._lapse)
        try:
            await super().handle_connection_init(message)
        except OverBudget:
            await self.websocket.close(_TOO_MANY_REQUESTS, "Too many requests")

    async def shutdown(self) -> None:
        """Release everything."""
        if self._caller is not None:
            self._gateway.sessions.leave(self._caller, self._lapse)
        await end_task(self._lapsing)
        await super().shutdown()

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Begin an operation, unless there are too many: that is told with a code, which Strawberry would leave out."""
        id_, most = message["id"], self.max_subscriptions_per_connection
        begins = self.connection_acknowledged and id_ not in self.operations
        if begins and self._has_lapsed:
            error = lapsed()
        elif begins and most is not None and len(self.operations) >= most:
            error = GraphQLError(
                f"{most} operations are under way on this connection: complete one, or open another connection",
                extensions={"code": TOO_MANY_OPERATIONS},
            )
        else:
            await super().handle_subscribe(message)
            return
        await self.send_message({"id": id_, "type": "error", "payload": [error.formatted]})

    def _lapse(self) -> None:
        """End what is followed, and begin nothing more. A client that takes nothing must not hold up who calls this."""
        self._has_lapsed = True
        self._lapsing = asyncio.create_task(self._end_subscriptions())

    def _is_followed(self, operation: Operation[Context, None]) -> bool:
        return is_subscription(operation.query, operation.operation_name, self._gateway.documents)

    async def _end_subscriptions(self) -> None:
        # Queries and mutations come to their end by themselves: one that is under way may have been carried out.
        followed = [one for one in self.operations.values() if self._is_followed(one)]
        for operation in followed:
            if operation.task is not None:
                operation.task.cancel()
        with suppress(WebSocketDisconnected):
            for operation in followed:
                # Its client may have completed it while another was told.
                if self.operations.get(operation.id) is operation:
                    await operation.send_initial_errors([lapsed()])

    async def handle_task_exception(self, error: Exception) -> None:
        """Log what nobody foresaw. That a client is gone when it is to be told something is nothing of that kind."""
        if not isinstance(error, WebSocketDisconnected):
            await super().handle_task_exception(error)

    async def _send_result_stream(self, operation: Operation[Context, None], result_source: Any) -> None:
        try:
            await self._tell(operation, result_source)
        except WebSocketDisconnected:
            raise
        except Exception as defect:
            # Not of a resolver: of what every operation passes through. Strawberry would say that it is complete.
            await operation.send_initial_errors([masked(defect)])

    async def _tell(self, operation: Operation[Context, None], result_source: Any) -> None:
        began = False
        async for result in result_source:
            if not began and _never_began(result.data, result.errors):
                await operation.send_initial_errors(result.errors)
                return
            began = True
            await operation.send_next(result)


def authorization_of(payload: Mapping[str, object], headers: Sequence[str]) -> Sequence[str]:
    """What a client shows: in its first message, where browsers can say it, or else in the headers of the handshake."""
    given = [value for name, value in payload.items() if name.lower() == "authorization"]
    # What is no text is shown all the same, and is refused, rather than passed over in favour of the headers.
    return [value if isinstance(value, str) else "" for value in given] or headers


def _never_began(data: object, errors: list[GraphQLError] | None) -> bool:
    """No resolver was called: the document, the variables or the operation's name were wrong."""
    return data is None and bool(errors) and all(error.path is None for error in errors or ())


def _by_document(message: Message) -> Message:
    """One that names a registered document, in the form of one that brings its own."""
    match cast("object", message):
        case {"payload": {"documentId": str(id_), **payload}, "type": "subscribe", **rest} if (
            payload.get("query") is None
        ):
            named = {**rest, "type": "subscribe", "payload": {**payload, "query": DocumentId(id_)}}
            return cast("Message", named)
    return message


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
    if payload.get("documentId") is not None:
        return "give a query or a documentId, not both"
    if not isinstance(payload.get("variables"), dict | None):
        return "variables must be an object"
    if not isinstance(payload.get("operationName"), str | None):
        return "operationName must be a string"
    return None
