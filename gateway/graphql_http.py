"""GraphQL over HTTP: Strawberry's endpoint, with what it leaves open decided."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final

import orjson
from cross_web import AsyncHTTPRequestAdapter, HTTPException
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLRequestData
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from gateway.graphql_ws import TransportHandler
from gateway.wiring import Gateway
from resolvers.services import Principal
from schema.build import Schema
from schema.context import Context
from schema.faults import BAD_REQUEST

INIT_WITHIN: Final = timedelta(seconds=10)
"""How long a new WebSocket may take to say ``connection_init``."""

_METHODS: Final = ("GET", "POST")

# Until callers prove who they are, all of them are the same one.
_ANYBODY: Final = Principal("anonymous")


class GraphQLEndpoint(GraphQL[Context, None]):
    """Answers JSON whatever happens, and speaks one WebSocket protocol: ``graphql-transport-ws``."""

    graphql_transport_ws_handler_class = TransportHandler

    def __init__(self, schema: Schema, *, graphiql: bool) -> None:
        super().__init__(
            schema,
            graphql_ide="graphiql" if graphiql else None,
            # A query in an address is cached and logged on its way, and needs no preflight.
            allow_queries_via_get=False,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            connection_init_wait_timeout=INIT_WITHIN,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one WebSocket."""
        if scope["type"] == "websocket":
            await self.run(WebSocket(scope, receive, send))
            return
        request = Request(scope, receive)
        try:
            response = await self.run(request)
        except HTTPException as refusal:
            response = _refusal(refusal.status_code, refusal.reason)
        except StarletteHTTPException as refusal:
            response = _refusal(refusal.status_code, refusal.detail)
        await response(scope, receive, send)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        """What resolvers are given."""
        gateway: Gateway = request.state.gateway
        return Context(gateway.services, _ANYBODY)

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData | list[GraphQLRequestData]:
        """The operation that a request asks for. Raises ``HTTPException``."""
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        if request.method == "POST" and media_type != "application/json":
            raise HTTPException(415, "the content type must be application/json")
        return await super().parse_http_body(request)

    def parse_json(self, data: str | bytes) -> Any:
        """A JSON object or list. Raises ``HTTPException``."""
        parsed = super().parse_json(data)
        if not isinstance(parsed, dict | list):
            raise HTTPException(400, "the body must be a JSON object")
        return parsed

    def decode_json(self, data: str | bytes) -> object:
        """Raises ``JSONDecodeError`` for everything that is not JSON, or too deep, or holds a number of many digits."""
        try:
            return json.loads(data, parse_constant=_refuse_constant)
        except json.JSONDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from None

    def encode_json(self, data: object) -> str:
        # As text: bytes would go out as binary frames on WebSockets, where the protocol has text only.
        return orjson.dumps(data).decode()


def _refuse_constant(name: str) -> object:
    """NaN and the infinities, which Python would read and JSON does not have."""
    raise ValueError(f"{name} is not JSON")


def _refusal(status: int, reason: str) -> JSONResponse:
    headers = {"Allow": ", ".join(_METHODS)} if status == 405 else None
    error = {"message": reason, "extensions": {"code": BAD_REQUEST}}
    return JSONResponse({"errors": [error]}, status, headers)
