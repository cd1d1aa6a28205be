"""The ASGI application: GraphQL, and whether this process is alive and can work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypedDict

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from gateway.graphql_http import INIT_WITHIN, GraphQLEndpoint
from gateway.graphql_sse import HEARTBEAT, MAX_CONNECTIONS, Streams
from gateway.safe_headers import SafeHeaders
from gateway.urls import GRAPHQL_PATH
from gateway.wiring import Gateway
from jobs.budget import Buckets
from schema.admission import MAX_IN_FLIGHT
from schema.build import build_schema
from schema.faults import INTERNAL

_PREFLIGHT_LIFE: Final = timedelta(hours=2)
"""As long as browsers remember the answer to a preflight at most."""


class State(TypedDict):
    """What a request finds in ``request.state``."""

    gateway: Gateway


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms callers are served."""

    graphiql: bool = False
    introspection: bool = False
    """Whether clients may ask for the schema, and are told what they may have meant."""
    allowed_origins: tuple[str, ...] = ()
    """The pages of other origins that may call."""
    max_in_flight: int = MAX_IN_FLIGHT
    buckets: Buckets = field(default_factory=dict)
    """What every caller may do in the long run."""
    known_documents_only: bool = False
    max_connections: int = MAX_CONNECTIONS
    init_within: timedelta = INIT_WITHIN
    heartbeat: timedelta = HEARTBEAT


def build_app(opening: AbstractAsyncContextManager[Gateway], terms: Terms) -> Starlette:
    """The application on a gateway that it opens when it starts, and closes when it stops.

    ``state.streams`` are the event streams that it serves.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        async with opening as gateway:
            yield {"gateway": gateway}

    streams = Streams(terms.max_connections)
    endpoint = GraphQLEndpoint(
        build_schema(
            terms.max_in_flight,
            introspection=terms.introspection,
            buckets=terms.buckets,
            known_documents_only=terms.known_documents_only,
        ),
        streams,
        graphiql=terms.graphiql,
        allowed_origins=terms.allowed_origins,
        init_within=terms.init_within,
        heartbeat=terms.heartbeat,
    )
    app = Starlette(
        routes=[
            # Both at the very path: a mount would answer it with a redirect, and WebSockets not at all.
            Route(GRAPHQL_PATH, endpoint),
            WebSocketRoute(GRAPHQL_PATH, endpoint),
            Route("/healthz", _alive),
            Route("/readyz", _ready),
        ],
        middleware=[
            Middleware(SafeHeaders),
            *_cross_origin(terms.allowed_origins),
            # Starlette's own stands outside of all others, whose headers have a browser show its page what went wrong.
            Middleware(ServerErrorMiddleware, handler=_defect),
        ],
        lifespan=lifespan,
    )
    app.state.streams = streams
    return app


def _cross_origin(allowed: tuple[str, ...]) -> list[Middleware]:
    """What has browsers let pages of these origins read the answers. Without any there is nothing to say."""
    if not allowed:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
            max_age=int(_PREFLIGHT_LIFE.total_seconds()),
        )
    ]


async def _defect(_: Request, error: Exception) -> JSONResponse:
    """The answer to a request that a defect of ours has ended; the server logs what it was."""
    masked = {"message": "Something went wrong.", "extensions": {"code": INTERNAL}}
    return JSONResponse({"errors": [masked]}, 500)


async def _alive(_: Request) -> JSONResponse:
    return JSONResponse({"status": "alive"})


async def _ready(request: Request) -> JSONResponse:
    """Whether both stores answer: a load balancer sends its requests elsewhere while they do not."""
    gateway: Gateway = request.state.gateway
    complaints = await gateway.unavailable_stores()
    if complaints:
        return JSONResponse({"status": "unavailable", "stores": complaints}, status_code=503)
    return JSONResponse({"status": "ready"})
