"""The two sides of the benchmark of events, a bare Strawberry subscription and a gateway: processes, and ways to feed them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import orjson
import redis.asyncio

from benchmarks.jobgate_side import NOBODY, open_side
from benchmarks.listeners import Subscription
from gateway.children import Child, kept
from gateway.devstack import Servers
from gateway.devstack.ports import choose_port
from jobs.dispatch import DispatchRequest
from jobs.feed import feed_cursor
from resolvers.dispatching import dispatch
from resolvers.services import Services
from storage.client import Database, Driver
from storage.signals import Topic

ALL, EACH = "shop", "toys"
"""The product of events that all subscribers want, and of those that one of them wants."""

_FIELDS: Final = (
    "cursor type at jobId seq status namespace task product env scheduledAt executionCount error actor reason"
)
_LOOK_EVERY: Final = 0.2


class Side(Protocol):
    """One of the two that are measured: a server process with WebSockets, and a way to feed it."""

    name: str
    port: int
    pid: int

    def wanting_all(self) -> Subscription: ...
    def wanting(self, job_id: str) -> Subscription: ...

    async def publish(self, events: Sequence[tuple[str, str]]) -> float:
        """Send events, each of a job and a product; the monotonic time from which they can be on their way."""
        ...


class _Anchor:
    name = "bare strawberry"

    def __init__(self, port: int, pid: int, client: redis.asyncio.Redis) -> None:
        self.port, self.pid = port, pid
        self._client = client
        self._number = 0

    def wanting_all(self) -> Subscription:
        return self.wanting(ALL)

    def wanting(self, job_id: str) -> Subscription:
        query = f"subscription ($channel: String!) {{ jobEvents(channel: $channel) {{ {_FIELDS} }} }}"
        return Subscription(query, {"channel": f"bench:{job_id}"})

    async def publish(self, events: Sequence[tuple[str, str]]) -> float:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        async with self._client.pipeline(transaction=False) as pipe:
            for job_id, product in events:
                self._number += 1
                pipe.publish(f"bench:{product if product == ALL else job_id}", self._event(job_id, product, now))
            sent = time.monotonic()
            await pipe.execute()
        return sent

    def _event(self, job_id: str, product: str, now: str) -> bytes:
        fields = {
            "cursor": feed_cursor(self._number),
            "type": "JOB_QUEUED",
            "at": now,
            "job_id": job_id,
            "seq": self._number,
        }
        origin = {"namespace": "bench", "task": "no_op", "product": product, "env": "prd"}
        rest = {
            "status": "QUEUED",
            "scheduled_at": now,
            "execution_count": 0,
            "error": None,
            "actor": "bench",
            "reason": None,
        }
        return orjson.dumps({**fields, **origin, **rest})


@asynccontextmanager
async def open_anchor(servers: Servers) -> AsyncIterator[Side]:
    port = choose_port(None)
    arguments = ["--port", str(port), "--redis-url", servers.redis_url]
    child = Child("anchor", arguments, os.environ, module="benchmarks.strawberry_anchor")
    async with kept(child), redis.asyncio.Redis.from_url(servers.redis_url) as client:
        yield _Anchor(port, child.pid or 0, client)


class _Jobgate:
    name = "jobgate"

    def __init__(self, port: int, pid: int, services: Services, database: Database, event: dict[str, Any]) -> None:
        self.port, self.pid = port, pid
        self._services = services
        self._events = database["events"]
        self._event = event

    def wanting_all(self) -> Subscription:
        return following({"product": [ALL]})

    def wanting(self, job_id: str) -> Subscription:
        return following({"ids": [job_id]})

    async def publish(self, events: Sequence[tuple[str, str]]) -> float:
        documents = []
        for job_id, product in events:
            number = self._event["_id"] + 1
            self._event = {**self._event, "_id": number, "seq": number, "job_id": job_id, "product": product}
            documents.append(self._event)
        await self._events.insert_many(documents)
        self._services.signals.wake(Topic.FEED)
        return time.monotonic()


def following(jobs: dict[str, Any]) -> Subscription:
    """Of Jobgate: the events of jobs that match a filter."""
    query = f"subscription ($filter: JobEventFilter) {{ jobEvents(filter: $filter) {{ {_FIELDS} }} }}"
    return Subscription(query, {"filter": {"jobs": jobs}})


@asynccontextmanager
async def open_jobgate(servers: Servers, database_name: str) -> AsyncIterator[Side]:
    async with open_gateway(servers, database_name) as (port, pid, services, database):
        await dispatch_one(services, "other")
        # While there is no worker, a gateway relays; this is all that it is ever going to have to relay here.
        async with asyncio.timeout(30):
            while (event := await database["events"].find_one({"_id": 2})) is None:  # noqa: ASYNC110  # another process
                await asyncio.sleep(_LOOK_EVERY)
        yield _Jobgate(port, pid, services, database, event)


@asynccontextmanager
async def open_gateway(servers: Servers, database_name: str) -> AsyncIterator[tuple[int, int, Services, Database]]:
    """A gateway process of its own, and the use cases of another one in this process."""
    port = choose_port(None)
    environment = {
        **os.environ,
        "MONGODB_URL": servers.mongodb_url,
        "REDIS_URL": servers.redis_url,
        "JOBGATE_DATABASE": database_name,
        "JOBGATE_PORT": str(port),
        "JOBGATE_AUTH": "none",
        "JOBGATE_LOG_LEVEL": "warning",
    }
    child = Child("gateway", ["serve"], environment)
    side = open_side(servers.mongodb_url, servers.redis_url, database_name, Driver.MOTOR)
    async with side as (services, database), kept(child):
        yield port, child.pid or 0, services, database


async def dispatch_one(services: Services, product: str) -> None:
    """Dispatch a job of this product; it is committed once this returns."""
    await dispatch(services, NOBODY, DispatchRequest("bench", "no_op", product, "prd", {}))
