"""What a gateway process holds: opened in order, closed in reverse."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

from uuid_utils import uuid7

from gateway.callers import Callers, open_callers
from gateway.sessions import Sessions
from gateway.settings import Settings, auth_ways, store_urls
from gateway.standing_in import StandIn
from jobs.budget import Budgets
from jobs.errors import StoreUnavailable
from jobs.webhooks import PATIENT
from resolvers.services import Services, services_on
from storage.budgets import SharedBudgets
from storage.client import Database, check_server, close_client, open_client, open_database, ping_database
from storage.delivery_plan import DeliveryPlan
from storage.indexes import create_indexes
from storage.known_documents import KnownDocuments
from storage.leases import Lease
from storage.outbox import Outbox
from storage.projection import Projection
from storage.redis import close_redis, connect_redis, ping_redis
from storage.sealing import Sealer
from storage.signals import Signals, Topic
from storage.wakeups import Wakeups
from worker.bulk import BulkRunner
from worker.deliverer import LEASE as PLANNER_LEASE
from worker.deliverer import Deliverer, Planner
from worker.guarded_http import GuardedHttp
from worker.loops import Loop
from worker.relay import LEASE as RELAY_LEASE
from worker.relay import Relay
from worker.sweeper import Sweeper

_SYNCHRONISE_EVERY: Final = 10.0
_TOPICS: Final = (Topic.FEED, Topic.OUTBOX, Topic.OPERATIONS, Topic.DELIVERIES)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The services of one gateway process, and the stores behind them."""

    services: Services
    database: Database
    redis: Any
    callers: Callers
    sessions: Sessions
    budgets: Budgets
    documents: KnownDocuments

    async def unavailable_stores(self) -> dict[str, str]:
        """The stores that do not answer at the moment, each with the reason."""
        checks = {"mongodb": ping_database(self.database), "redis": ping_redis(self.redis)}
        complaints = {}
        for store, check in checks.items():
            try:
                await check
            except StoreUnavailable as error:
                complaints[store] = str(error)
        return complaints


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Everything that a gateway needs. MongoDB has to answer; Redis may be away.

    Raises ``SettingsError``, ``StoreUnavailable``, ``UnsupportedStore``.
    """
    mongodb_url, redis_url = store_urls(settings)
    # Told before anything is waited for.
    auth_ways(settings)
    async with AsyncExitStack() as stack:
        client = open_client(mongodb_url, settings.driver)
        stack.push_async_callback(close_client, client)
        await check_server(client)
        database = open_database(client, settings.database)
        await create_indexes(database, settings.input_index_paths)
        redis = connect_redis(redis_url, settings.database)
        stack.push_async_callback(close_redis, redis)
        signals = Signals(redis, settings.database)
        stack.push_async_callback(signals.close)
        wakeups = Wakeups(redis, settings.database, _TOPICS)
        wakeups.start()
        stack.push_async_callback(wakeups.close)
        name = f"gateway:{os.getpid()}:{uuid7().hex}"
        services = services_on(
            *(database, signals, wakeups, name),
            max_outstanding=settings.max_outstanding,
            sealer=Sealer(settings.sealing_keys),
            allow_private=settings.allow_private_addresses,
            audit_reads=settings.audit_reads,
        )
        await services.clock.synchronise()
        await services.hub.start()
        stack.push_async_callback(services.hub.close)
        await stack.enter_async_context(_loops(database, services, wakeups, name, settings))
        callers = await stack.enter_async_context(open_callers(settings, database, services.clock))
        sessions = await stack.enter_async_context(_sessions(callers, services))
        budgets = SharedBudgets(redis, settings.database, settings.buckets)
        yield Gateway(services, database, redis, callers, sessions, budgets, KnownDocuments(database))


@asynccontextmanager
async def _sessions(callers: Callers, services: Services) -> AsyncIterator[Sessions]:
    sessions = Sessions(callers.keys, services.clock)
    loop = Loop("callers", sessions.run_once)
    loop.start()
    try:
        yield sessions
    finally:
        await loop.stop()
        with suppress(StoreUnavailable):
            await sessions.run_once()


@asynccontextmanager
async def _loops(
    database: Database, services: Services, wakeups: Wakeups, name: str, settings: Settings
) -> AsyncIterator[None]:
    """The clock, bulk operations, the sweeper, and what a gateway does only while there is no worker that would: the relay
    and deliveries (see :class:`gateway.standing_in.StandIn`).

    No handler can hold up a gateway: it sweeps also where handlers keep the loops of all workers to themselves.
    """

    async def synchronise() -> float:
        await services.clock.synchronise()
        return _SYNCHRONISE_EVERY

    lease = Lease(database, "relay", name, RELAY_LEASE)
    is_wanted = StandIn(services.registry, lease).is_wanted
    outbox = Outbox(database, partial(wakeups.wake, Topic.OUTBOX))
    relay = Relay(outbox, Projection(database), lease, services.signals, is_wanted)
    sweeper = Sweeper(
        services.jobs,
        services.writer,
        services.signals,
        lease=timedelta(seconds=settings.lease_seconds),
        every=timedelta(seconds=settings.sweep_seconds),
    )
    planner = Planner(
        DeliveryPlan(database, services.webhooks),
        Lease(database, "deliveries", name, PLANNER_LEASE),
        *(services.signals, services.clock, is_wanted),
    )
    deliverer = Deliverer(
        *(services.deliveries, services.webhooks, GuardedHttp(allow_private=settings.allow_private_addresses)),
        *(services.signals, services.clock, is_wanted),
        terms=PATIENT,
    )
    runner = BulkRunner(services.operations, services.bulk, services.signals, services.clock)
    loops = [
        Loop("clock", synchronise),
        Loop("sweeper", sweeper.run_once),
        Loop("relay", relay.run_once, partial(wakeups.wait, Topic.OUTBOX)),
        Loop("bulk", runner.run_once, partial(wakeups.wait, Topic.OPERATIONS)),
        Loop("planner", planner.run_once),
        Loop("deliverer", deliverer.run_once, partial(wakeups.wait, Topic.DELIVERIES)),
    ]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            await loop.stop()
        for steps in services.going_on:
            # As if this process had died here: their operations go on elsewhere.
            steps.cancel()
        await asyncio.gather(*services.going_on, return_exceptions=True)
        with suppress(StoreUnavailable):
            await runner.stop()
            await relay.stop()
            await planner.stop()
            await deliverer.stop()
