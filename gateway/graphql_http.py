"""GraphQL over HTTP: Strawberry's endpoint, with what it leaves open decided."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final, cast

import orjson
from cross_web import AsyncHTTPRequestAdapter, HTTPException, StarletteRequestAdapter
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.status import WS_1013_TRY_AGAIN_LATER
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData, GraphQLRequestProtocol
from strawberry.schema.exceptions import InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult, SubscriptionExecutionResult
from strawberry.types.graphql import OperationType
from strawberry.types.unset import UnsetType

from gateway.accepted import RESPONSE, Accepted
from gateway.answers import answer_of, status_of, unauthenticated, unavailable
from gateway.credentials import NOBODY, Caller, Unauthenticated, located
from gateway.graphql_sse import HEARTBEAT, EventStream, Opened, Streams
from gateway.graphql_ws import MAX_OPERATIONS, SocketAdapter, TransportHandler
from gateway.page_policy import content_policy
from gateway.refusals import ENOUGH, StreamOnly, TooManyConnections, TooManyRequests, refused, retry_after
from gateway.strict_json import read_json
from gateway.wiring import Gateway
from jobs.budget import Kind, OverBudget
from jobs.errors import StoreUnavailable
from schema.build import Schema
from schema.context import Context
from schema.known_documents import DocumentId

INIT_WITHIN: Final = timedelta(seconds=10)
"""How long a new WebSocket may take to say ``connection_init``."""

MAX_REQUEST: Final = 1024 * 1024
"""Bytes of one request, or of one WebSocket message: an input of 256 KB with room for its escapes."""


class RequestAdapter(StarletteRequestAdapter):
    """A request as Strawberry sees it."""

    @property
    def content_type(self) -> str | None:
        """In small letters: media types know no case, Strawberry does."""
        given = super().content_type
        return None if given is None else given.lower()


class GraphQLEndpoint(GraphQL[Context, None]):
    """Answers JSON whatever happens, or event streams to those who ask for them.

    It speaks one WebSocket protocol: ``graphql-transport-ws``.
    """

    request_adapter_class = RequestAdapter
    websocket_adapter_class = SocketAdapter
    graphql_transport_ws_handler_class = TransportHandler

    def __init__(
        self,
        schema: Schema,
        streams: Streams,
        *,
        graphiql: bool,
        allowed_origins: tuple[str, ...] = (),
        init_within: timedelta = INIT_WITHIN,
        heartbeat: timedelta = HEARTBEAT,
    ) -> None:
        super().__init__(
            schema,
            graphql_ide="graphiql" if graphiql else None,
            # A query in an address is cached and logged on its way, and needs no preflight.
            allow_queries_via_get=False,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            connection_init_wait_timeout=init_within,
            max_subscriptions_per_connection=MAX_OPERATIONS,
            # Browsers let any page open a WebSocket: whether it may, only we can tell.
            allowed_origins=allowed_origins,
        )
        self._streams = streams
        self._heartbeat = heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one WebSocket."""
        if scope["type"] == "websocket":
            await self._serve(WebSocket(scope, receive, send))
            return
        request = Request(scope, _limited(receive))
        try:
            request.state.caller = await self._caller(request)
            response = await self.run(request)
        except ClientDisconnect:
            # Gone before the request was complete: nobody is there to be answered.
            return
        except Unauthenticated as refusal:
            response = unauthenticated(refusal, Accepted(request.headers.getlist("accept")))
        except StoreUnavailable as away:
            # Of the resolvers', none comes here: those are told beside the data.
            response = unavailable(away)
        except HTTPException as refusal:
            response = refused(refusal)
        except StarletteHTTPException as refusal:
            response = refused(HTTPException(refusal.status_code, refusal.detail))
        await response(scope, receive, send)

    async def render_graphql_ide(self, request: Request) -> HTMLResponse:
        """The page of GraphiQL, which may do what stands in it and no more."""
        page = self.graphql_ide_html
        return HTMLResponse(page, headers={"Content-Security-Policy": content_policy(page)})

    async def _serve(self, websocket: WebSocket) -> None:
        # What pages of other origins are told is the same as ever, and comes first.
        if self._streams.are_enough and self._check_websocket_origin(websocket):
            # Not by a status, of which browsers do not tell: what this code says, clients know to try again after.
            await self.create_websocket_response(websocket, await self.pick_websocket_subprotocol(websocket))
            # Strawberry's annotation leaves out the views that have a context.
            await SocketAdapter(cast("Any", self), websocket, websocket).close(WS_1013_TRY_AGAIN_LATER, ENOUGH)
            return
        # Nobody waits for it: the server itself closes the WebSockets of a gateway that stops.
        ending = asyncio.Event()
        self._streams.enter(ending)
        try:
            await self.run(websocket)
        finally:
            self._streams.leave(ending)

    async def _caller(self, request: Request) -> Caller:
        """Who asks; nobody has to say so for the page of GraphiQL. Raises :class:`Unauthenticated`, ``StoreUnavailable``."""
        if self.should_render_graphql_ide(RequestAdapter(request)):
            return Caller(NOBODY)
        gateway: Gateway = request.state.gateway
        return await gateway.callers.who(request.headers.getlist("authorization"))

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        """What resolvers are given. Who opens a WebSocket says who they are afterwards."""
        gateway: Gateway = request.state.gateway
        if not isinstance(request, Request):
            return Context(gateway.services, NOBODY, budgets=gateway.budgets, documents=gateway.documents)
        caller: Caller = request.state.caller
        principal = located(caller.principal, request.client.host if request.client else None)
        context = Context(gateway.services, principal, budgets=gateway.budgets, documents=gateway.documents)
        context.last_event_id = request.headers.get("last-event-id")
        request.state.context = context
        return context

    async def on_ws_connect(self, context: Context) -> UnsetType | dict[str, object] | None:
        """Let a WebSocket be acknowledged. Raises ``OverBudget``."""
        await context.budgets.take(context.principal.credential, {Kind.CONNECTIONS: 1})
        return await super().on_ws_connect(context)

    async def execute_operation(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        request_data: GraphQLRequestData | list[GraphQLRequestData],
        context: Context,
        root_value: None,
        sub_response: Response,
    ) -> ExecutionResult | list[ExecutionResult] | SubscriptionExecutionResult:
        """Answer at once or as a stream, as the operation and the request will have it. Raises ``HTTPException``."""
        asked = cast("GraphQLRequestData", request_data)  # a list of them was refused when it was read
        accepted = Accepted(request.headers.getlist("accept"))
        sub_response.media_type = accepted.json
        if not accepted.only_stream:
            try:
                return await self.execute_single(request, request_adapter, sub_response, context, root_value, asked)
            except StreamOnly:
                if not accepted.stream:
                    raise
        if self._streams.are_enough:
            raise TooManyConnections
        try:
            await context.budgets.take(context.principal.credential, {Kind.CONNECTIONS: 1})
        except OverBudget as error:
            raise TooManyRequests(error) from None
        gateway: Gateway = request.state.gateway
        request.state.opened = Opened(
            request.state.caller, gateway.sessions, asked.query, asked.operation_name, gateway.documents
        )
        results = await self.schema.stream(
            asked.query,
            variable_values=asked.variables,
            context_value=context,
            operation_name=asked.operation_name,
            # An EventSource can only ask by an address, which is cached and logged on its way: it may ask for this alone.
            allowed_operation_types=OperationType if request.method == "POST" else (OperationType.SUBSCRIPTION,),
        )
        return cast("SubscriptionExecutionResult", results)

    async def execute_single(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        sub_response: Response,
        context: Context,
        root_value: None,
        request_data: GraphQLRequestData,
    ) -> ExecutionResult:
        """Answer a query or a mutation. Raises ``HTTPException``, :class:`StreamOnly` for a subscription."""
        try:
            return await super().execute_single(
                request, request_adapter, sub_response, context, root_value, request_data
            )
        except HTTPException as refusal:
            match refusal.__cause__:
                case InvalidOperationTypeError(operation_type=OperationType.SUBSCRIPTION):
                    raise StreamOnly from None
            raise

    def create_response(
        self, response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse], sub_response: Response
    ) -> Response:
        """The answer in the media type that was asked for: in the newer one, its status tells what it is."""
        response = super().create_response(response_data, sub_response)
        if sub_response.media_type == RESPONSE:
            response.headers["Content-Type"] = RESPONSE
            # A list of requests was refused when it was read.
            answer = cast("GraphQLHTTPResponse", response_data)
            response.status_code = status_of(answer)
            if response.status_code == 429:
                errors = cast("list[dict[str, Any]]", answer["errors"])
                response.headers.update(retry_after(errors[0]["extensions"]["retryAfter"]))
        return response

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        """The answer to be encoded."""
        return answer_of(result)

    async def _create_streaming_response(
        self, request: Request, result: Any, protocol: GraphQLRequestProtocol, sub_response: Response
    ) -> Any:
        state = request.state
        return EventStream(result, state.context, self.encode_json, self._streams, self._heartbeat, state.opened)

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData | list[GraphQLRequestData]:
        """The operation that a request asks for. Raises ``HTTPException``."""
        media_type = (request.content_type or "").partition(";")[0].strip()
        if request.method == "POST" and media_type != "application/json":
            raise HTTPException(415, "the content type must be application/json")
        asked = await super().parse_http_body(request)
        if request.method == "GET":
            given = self.parse_query_params(request.query_params)
        else:
            body = await request.get_body()
            # Few do: the others are not to be read twice.
            given = self.parse_json(body) if b"documentId" in body else {}
        if isinstance(asked, GraphQLRequestData) and given.get("documentId") is not None:
            asked.query = _named(asked.query, given["documentId"])
        return asked

    def parse_json(self, data: str | bytes) -> Any:
        """A JSON object or list. Raises ``HTTPException``."""
        parsed = super().parse_json(data)
        if not isinstance(parsed, dict | list):
            raise HTTPException(400, "the body must be a JSON object")
        return parsed

    def decode_json(self, data: str | bytes) -> object:
        """Raises ``JSONDecodeError`` for all that is not JSON in UTF-8, is too deep, or holds a number of too many digits."""
        return read_json(data)

    def encode_json(self, data: object) -> str:
        # As text: bytes would go out as binary frames on WebSockets, where the protocol has text only.
        return orjson.dumps(data).decode()


def _named(query: str | None, document_id: object) -> DocumentId:
    """Raises ``HTTPException``."""
    if query is not None:
        raise HTTPException(400, "give a query or a documentId, not both")
    if not isinstance(document_id, str):
        raise HTTPException(400, "documentId must be a string")
    return DocumentId(document_id)


def _limited(receive: Receive) -> Receive:
    """Counts a body as it comes, since a chunked one does not tell its length. Raises Starlette's ``HTTPException``."""
    taken = 0

    async def receive_counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_REQUEST:
            raise StarletteHTTPException(413, f"the body must not be larger than {MAX_REQUEST} bytes")
        return message

    return receive_counted
