"""The anchor: a bare Strawberry subscription with the same payload over the same transport, fed by Redis pub/sub.

No log, no cursor, no filter but a channel's name, and no limit to what may wait for a subscriber. As fast as it can be made
within that: one Redis subscription and one parse an event for all subscribers.
"""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import click
import orjson
import redis.asyncio
import strawberry
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from gateway.children import say_ready

_subscribers: defaultdict[str, set[asyncio.Queue[JobEvent]]] = defaultdict(set)


@strawberry.type
class JobEvent:
    """What the benchmark selects of Jobgate's event."""

    cursor: str
    type: str
    at: datetime
    job_id: strawberry.ID
    seq: int
    status: str
    namespace: str
    task: str
    product: str
    env: str
    scheduled_at: datetime
    execution_count: int
    error: str | None
    actor: str | None
    reason: str | None


@strawberry.type
class Query:
    """There has to be one."""

    nothing: int = 0


@strawberry.type
class Subscription:
    """What is measured."""

    @strawberry.subscription
    async def job_events(self, channel: str) -> AsyncGenerator[JobEvent, None]:
        queue: asyncio.Queue[JobEvent] = asyncio.Queue()
        _subscribers[channel].add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            _subscribers[channel].discard(queue)


class Endpoint(GraphQL[Any, Any]):
    """Strawberry's, with the quicker JSON."""

    def encode_json(self, data: object) -> str:
        return orjson.dumps(data).decode()


async def _read(url: str) -> None:
    async with redis.asyncio.Redis.from_url(url) as client, client.pubsub() as channels:
        await channels.psubscribe("bench:*")
        async for message in channels.listen():
            if message["type"] == "pmessage":
                event = _parsed(message["data"])
                for queue in _subscribers[message["channel"].decode()]:
                    queue.put_nowait(event)


def _parsed(data: bytes) -> JobEvent:
    fields = orjson.loads(data)
    for name in ("at", "scheduled_at"):
        fields[name] = datetime.fromisoformat(fields[name])
    return JobEvent(**fields)


class _Server(uvicorn.Server):
    """Tells when it has started."""

    def __init__(self, config: uvicorn.Config, ready_fd: int | None) -> None:
        super().__init__(config)
        self._ready_fd = ready_fd

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        say_ready(self._ready_fd)


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--redis-url", required=True)
@click.option("--ready-fd", type=int)
def main(port: int, redis_url: str, ready_fd: int | None) -> None:
    """Serve until SIGTERM."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        reading = asyncio.create_task(_read(redis_url))
        yield
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading

    schema = strawberry.Schema(query=Query, subscription=Subscription, extensions=[ParserCache, ValidationCache])
    endpoint: Any = Endpoint(schema, subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL])
    app = Starlette(routes=[WebSocketRoute("/graphql", endpoint)], lifespan=lifespan)
    config = uvicorn.Config(app, port=port, log_level="error", ws="websockets-sansio")
    uvloop.run(_Server(config, ready_fd).serve())


if __name__ == "__main__":
    main()
