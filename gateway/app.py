"""The ASGI application: GraphQL, and whether this process is alive and can work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Final, TypedDict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from gateway.graphql_http import INIT_WITHIN, GraphQLEndpoint
from gateway.graphql_sse import HEARTBEAT, MAX_CONNECTIONS, Streams
from gateway.wiring import Gateway
from schema.admission import MAX_IN_FLIGHT
from schema.build import build_schema

GRAPHQL_PATH: Final = "/graphql"


class State(TypedDict):
    """What a request finds in ``request.state``."""

    gateway: Gateway


def build_app(
    opening: AbstractAsyncContextManager[Gateway],
    *,
    graphiql: bool,
    init_within: timedelta = INIT_WITHIN,
    heartbeat: timedelta = HEARTBEAT,
    max_in_flight: int = MAX_IN_FLIGHT,
    max_connections: int = MAX_CONNECTIONS,
) -> Starlette:
    """The application on a gateway that it opens when it starts, and closes when it stops.

    ``state.streams`` are the event streams that it serves.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        async with opening as gateway:
            yield {"gateway": gateway}

    streams = Streams(max_connections)
    schema = build_schema(max_in_flight)
    endpoint = GraphQLEndpoint(schema, streams, graphiql=graphiql, init_within=init_within, heartbeat=heartbeat)
    app = Starlette(
        routes=[
            # Both at the very path: a mount would answer it with a redirect, and WebSockets not at all.
            Route(GRAPHQL_PATH, endpoint),
            WebSocketRoute(GRAPHQL_PATH, endpoint),
            Route("/healthz", _alive),
            Route("/readyz", _ready),
        ],
        lifespan=lifespan,
    )
    app.state.streams = streams
    return app


async def _alive(_: Request) -> JSONResponse:
    return JSONResponse({"status": "alive"})


async def _ready(request: Request) -> JSONResponse:
    """Whether both stores answer: a load balancer sends its requests elsewhere while they do not."""
    gateway: Gateway = request.state.gateway
    complaints = await gateway.unavailable_stores()
    if complaints:
        return JSONResponse({"status": "unavailable", "stores": complaints}, status_code=503)
    return JSONResponse({"status": "ready"})
