"""A gateway on a port of this machine, within the loop of a test, and small clients for what it speaks."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import httpx
from pymongo import MongoClient
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from gateway.app import build_app
from gateway.devstack import Servers
from gateway.gateway_process import PING, UNANSWERED, Server, listen, terms_of
from gateway.graphql_http import INIT_WITHIN
from gateway.graphql_sse import HEARTBEAT, MAX_CONNECTIONS
from gateway.settings import Settings
from gateway.urls import GRAPHQL_PATH, graphql_url
from gateway.wiring import Gateway, open_gateway
from gateway.worker_process import worker_config
from jobs.access import ANYBODY
from jobs.events import EventType
from jobs.feed import JobEvent, feed_cursor
from jobs.filters import EventFilter, JobFilter
from resolvers.following import job_events
from resolvers.services import Services
from tests.event_streams import Stream
from tests.installation import offer
from tests.sockets import Socket
from worker.process import run_worker
from worker.tasks import Handler, TaskRegistry, define

HOST: Final = "127.0.0.1"
DEADLINE: Final = 20.0

DISPATCH: Final = """
    mutation ($input: DispatchInput!) {
        dispatch(input: $input) {
            __typename
            ... on Job { id status }
            ... on Problem { code message }
            ... on InvalidInput { issues { path message } }
            ... on IdempotencyConflict { job { id } }
        }
    }
"""

LIST: Final = """
    query ($filter: JobFilter, $orderBy: JobOrder, $first: Int, $after: String, $last: Int, $before: String) {
        jobs(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
            nodes { id input }
            edges { cursor node { id } }
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
            totalCount { value exact }
        }
    }
"""

READ: Final = """
    query ($id: ID!) {
        job(id: $id) {
            id status namespace task product env tags priority input result scheduledAt startedAt completedAt
            recurring cron tz every startAt endDate limit missed overlap nextRunAt executionCount retries retryCount
            retryConfig { initialDelay maxDelay backoffMultiplier jitter retryableErrors nonRetryableErrors }
            timeout lastError errorCode progress progressMessage cancelReason pauseReason idempotencyKey
            createdAt updatedAt revision
        }
    }
"""

_SETTINGS: Final[dict[str, Any]] = {
    "auth": "none",
    "lease_seconds": 15,
    "sweep_seconds": 0.2,
    "renudge_seconds": 0.5,
    "cancel_grace_seconds": 0.5,
}

Answer = dict[str, Any]
"""A JSON object that a gateway has sent."""


class LiveGateway:
    """A gateway that serves, and an HTTP client for it."""

    def __init__(
        self, settings: Settings, gateway: Gateway, server: Server, port: int, http: httpx.AsyncClient
    ) -> None:
        self.gateway = gateway
        self.http = http
        self.port = port
        self._settings = settings
        self._server = server
        self._address = f"{HOST}:{port}"

    @property
    def url(self) -> str:
        return graphql_url(HOST, self.port)

    @property
    def services(self) -> Services:
        return self.gateway.services

    def stop(self) -> None:
        """Have it stop, as a signal would."""
        self._server.stop()

    @property
    def unsent(self) -> list[int]:
        """For each WebSocket that is open here, the bytes that wait in this process for the client to take them."""
        return [connection.transport.get_write_buffer_size() for connection in self.websockets]

    @property
    def websockets(self) -> list[WebSocketsSansIOProtocol]:
        """The WebSockets that are open here, as the server sees them."""
        connections = self._server.server_state.connections
        return [connection for connection in connections if isinstance(connection, WebSocketsSansIOProtocol)]

    async def ask(self, document: str, **variables: object) -> Answer:
        """The answer to an operation, errors and all; it always comes as JSON and with status 200."""
        response = await self.http.post(GRAPHQL_PATH, json={"query": document, "variables": variables})
        assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
        answer: Answer = response.json()
        return answer

    async def data(self, document: str, **variables: object) -> Answer:
        """The data of the answer to an operation in which nothing goes wrong."""
        answer = await self.ask(document, **variables)
        assert "errors" not in answer, answer["errors"]
        data: Answer = answer["data"]
        return data

    async def dispatch(self, **changes: object) -> Answer:
        """What the gateway answers to the dispatch of a job that is in order, but for ``changes``."""
        request = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd", **changes}
        answer: Answer = (await self.data(DISPATCH, input=request))["dispatch"]
        return answer

    async def dispatched(self, **changes: object) -> str:
        """The id of a job that was dispatched."""
        answer = await self.dispatch(**changes)
        assert answer["__typename"] == "Job", answer
        return str(answer["id"])

    async def job(self, job_id: str) -> Answer:
        """All that can be read of a job."""
        job: Answer = (await self.data(READ, id=job_id))["job"]
        return job

    async def list(self, **arguments: object) -> Answer:
        """A page of jobs, with what they have for ``input``."""
        answer: Answer = (await self.data(LIST, **arguments))["jobs"]
        assert [edge["node"]["id"] for edge in answer["edges"]] == [node["id"] for node in answer["nodes"]]
        return answer

    @asynccontextmanager
    async def stream(
        self,
        document: str,
        *,
        accept: str = "text/event-stream",
        last_event_id: str | None = None,
        authorization: str | None = None,
        **variables: object,
    ) -> AsyncIterator[Stream]:
        """An operation that is answered by an event stream."""
        optional = {"last-event-id": last_event_id, "authorization": authorization}
        headers = {"accept": accept} | {name: value for name, value in optional.items() if value is not None}
        request = {"query": document, "variables": variables}
        async with self.http.stream("POST", GRAPHQL_PATH, json=request, headers=headers) as response:
            yield Stream(response)

    async def told(self, job_id: str, type_: EventType) -> JobEvent:
        """Wait until a job has told something of this type, however long ago."""
        wanted = EventFilter((type_,), JobFilter(ids=(job_id,)))
        events = job_events(self.services, ANYBODY, wanted, feed_cursor(0))
        async with asyncio.timeout(DEADLINE), aclosing(events):
            return await anext(events)

    @asynccontextmanager
    async def socket(self, *protocols: str, initialised: bool = True, **options: Any) -> AsyncIterator[Socket]:
        """A WebSocket; ready for operations unless told otherwise. ``options`` are the client's."""
        offered = [Subprotocol(protocol) for protocol in protocols or ("graphql-transport-ws",)]
        url = f"ws://{self._address}{GRAPHQL_PATH}"
        async with connect(url, subprotocols=offered, proxy=None, **options) as connection:
            socket = Socket(connection)
            if initialised:
                await socket.initialise()
            yield socket

    @asynccontextmanager
    async def worker(self, handlers: Mapping[str, Handler], **changes: Any) -> AsyncIterator[None]:
        """A worker with these handlers beside the gateway, but for ``changes`` of its configuration."""
        tasks = TaskRegistry(define(name, handler) for name, handler in handlers.items())
        async with self.worker_of(tasks, **changes):
            yield

    @asynccontextmanager
    async def worker_of(self, registry: TaskRegistry, **changes: Any) -> AsyncIterator[None]:
        """A worker with these tasks beside the gateway."""
        stop, ready = asyncio.Event(), asyncio.Event()
        config = replace(worker_config(self._settings), **changes)
        working = asyncio.create_task(run_worker(config, registry, stop, ready))
        try:
            async with asyncio.timeout(DEADLINE):
                await ready.wait()
            yield
        finally:
            # Told to stop also where the test has failed: a worker that is cancelled leaves its loops behind.
            stop.set()
            await working

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition within this process. Each turn is a request, in which the gateway gets to work."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await self.http.get("/healthz")

    async def until_subscribers(self, count: int) -> None:
        """Wait until so many subscriptions take part in what the hub hands out."""
        await self.until(lambda: len(self.services.hub._subscribers) == count)


def inputs(page: Answer) -> str:
    """What the jobs of a page have for ``input``, one letter each."""
    return "".join(node["input"] for node in page["nodes"])


@asynccontextmanager
async def serving(
    mongodb_url: str,
    redis_url: str,
    database: str,
    *,
    init_within: timedelta = INIT_WITHIN,
    heartbeat: timedelta = HEARTBEAT,
    ping: timedelta = PING,
    unanswered: timedelta = UNANSWERED,
    max_connections: int = MAX_CONNECTIONS,
    **changes: Any,
) -> AsyncIterator[LiveGateway]:
    """A gateway on a free port, as ``jobgate serve`` would run it, but for ``changes`` of the settings.

    Some worker has once offered it the task ``demo.echo``.
    """
    settings = Settings(
        mongodb_url=mongodb_url,
        redis_url=redis_url,
        database=database,
        host=HOST,
        port=0,
        **{**_SETTINGS, **changes},
    )
    with listen(settings.host, settings.port, unanswered) as listener:
        port = listener.getsockname()[1]
        async with open_gateway(settings) as gateway:
            await offer(gateway.database, "demo.echo")
            terms = replace(
                terms_of(settings), init_within=init_within, heartbeat=heartbeat, max_connections=max_connections
            )
            app = build_app(nullcontext(gateway), terms)
            started = asyncio.Event()
            server = Server(app, started.set, ping, settings.proxies)
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve([listener]))
                try:
                    async with asyncio.timeout(DEADLINE):
                        await started.wait()
                    address = f"http://{HOST}:{port}"
                    async with httpx.AsyncClient(base_url=address, timeout=DEADLINE, trust_env=False) as http:
                        yield LiveGateway(settings, gateway, server, port, http)
                finally:
                    server.should_exit = True


@asynccontextmanager
async def serving_for_all(
    servers: Servers, mongodb: MongoClient[dict[str, Any]], **changes: Any
) -> AsyncIterator[LiveGateway]:
    """A gateway for all tests of a module, none of which leaves anything in Redis: that is not cleaned up."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    async with serving(servers.mongodb_url, servers.redis_url, name, **changes) as gateway:
        yield gateway
    mongodb.drop_database(name)
