"""A worker, put together: what it opens, which loops it runs, and how it goes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

from arq.connections import ArqRedis

from jobs.access import EVERYWHERE
from jobs.dispatch import TaskTerms
from jobs.errors import StoreUnavailable
from jobs.retention import KEEP_ALL, RetentionPolicy
from jobs.webhooks import PATIENT, DeliveryTerms
from storage.batches import Batcher
from storage.bulk import BulkWriter
from storage.catching_up import CatchingUp
from storage.client import Database, Driver, check_server, close_client, open_client, open_database
from storage.clock import DatabaseClock
from storage.deliveries import Deliveries
from storage.delivery_plan import DeliveryPlan
from storage.heartbeats import LeaseKeeper
from storage.indexes import create_indexes
from storage.jobs import JobReader
from storage.leases import Lease
from storage.operations import Operations
from storage.outbox import Outbox
from storage.projection import Projection
from storage.redis import close_redis, open_redis
from storage.registry import WORKER_ALIVE, Registry, TaskCard, WorkerCard
from storage.retention import Retention
from storage.sealing import Sealer
from storage.secret_inputs import InputSecrets
from storage.signals import Signals, Topic
from storage.transitions import JobWriter
from storage.wakeups import Wakeups
from storage.webhooks import Webhooks
from worker.bulk import BulkRunner
from worker.catch_up import CatchUp
from worker.context import CancelReason
from worker.deliverer import LEASE as PLANNER_LEASE
from worker.deliverer import Deliverer, Planner
from worker.executor import Executor, Terms, Writes
from worker.guarded_http import GuardedHttp
from worker.heart import Heart
from worker.loops import Loop
from worker.poller import Poller
from worker.promoter import Promoter
from worker.pruner import LEASE as PRUNE_LEASE
from worker.pruner import Pruner
from worker.rechecker import Rechecker
from worker.relay import LEASE as RELAY_LEASE
from worker.relay import Relay
from worker.running import Running
from worker.sweeper import Feeder, Sweeper
from worker.tasks import TaskDefinition, TaskRegistry
from worker.unschedulable import pause_unschedulable

logger = logging.getLogger("jobgate.worker")

_SYNCHRONISE_EVERY: Final = 10.0
_WRITE_WITHIN: Final = 5.0
_LEAVE_WITHIN: Final = 2.0


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker needs to know."""

    mongodb_url: str
    redis_url: str
    database: str
    driver: Driver
    concurrency: int
    lease: timedelta
    drain: timedelta
    """How long runs may go on once the worker was told to stop."""
    cancel_grace: timedelta
    max_outstanding: int
    sweep_every: timedelta
    renudge_after: timedelta
    input_indexes: tuple[str, ...] = ()
    """The paths within the input of jobs that have an index."""
    secret_keys: tuple[bytes, ...] = field(default=(), repr=False)
    """What the secrets of webhooks and of inputs are opened with."""
    allow_private: bool = False
    """Whether webhooks may lead to private and loopback addresses."""
    delivery: DeliveryTerms = PATIENT
    retention: RetentionPolicy = KEEP_ALL
    prune_every: timedelta = timedelta(minutes=1)
    poll_every: timedelta = timedelta(milliseconds=20)
    """How often nudges are looked for that nothing was heard of; also how soon a slot that became free is used."""


async def run_worker(config: WorkerConfig, tasks: TaskRegistry, stop: asyncio.Event, ready: asyncio.Event) -> None:
    """Work until ``stop`` is set, then drain and return. Sets ``ready`` once nudges are taken.

    Raises ``StoreUnavailable`` and ``UnsupportedStore`` at the start only.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_database(config))
        redis = await stack.enter_async_context(_redis(config, patient=False))
        patient_redis = await stack.enter_async_context(_redis(config, patient=True))
        worker = _Worker(config, tasks, database, redis, patient_redis)
        await worker.start()
        ready.set()
        await stop.wait()
        await worker.stop()


@asynccontextmanager
async def _database(config: WorkerConfig) -> AsyncIterator[Database]:
    client = open_client(config.mongodb_url, config.driver)
    try:
        await check_server(client)
        database = open_database(client, config.database)
        await create_indexes(database, config.input_indexes)
        yield database
    finally:
        await close_client(client)


@asynccontextmanager
async def _redis(config: WorkerConfig, *, patient: bool) -> AsyncIterator[ArqRedis]:
    redis = await open_redis(config.redis_url, config.database, patient=patient)
    try:
        yield redis
    finally:
        await close_redis(redis)


class _Worker:
    """The parts of one worker and the order in which they come and go."""

    def __init__(
        self, config: WorkerConfig, tasks: TaskRegistry, database: Database, redis: ArqRedis, patient_redis: ArqRedis
    ) -> None:
        self._config = config
        self._tasks = tasks
        host = socket.gethostname()
        name = f"{host}:{os.getpid()}:{os.urandom(4).hex()}"
        offered = tuple(definition.name for definition in tasks.definitions())
        self._card = WorkerCard(name, host, os.getpid(), config.concurrency, offered)
        self._registry = Registry(database)
        self._clock = DatabaseClock(database)
        self._running = Running(config.concurrency)
        self._signals = Signals(redis, config.database)
        self._wakeups = Wakeups(redis, config.database, _TOPICS)
        self._heart = Heart(LeaseKeeper(config.mongodb_url, config.database, config.lease), self._running, config.lease)
        self._executor = self._new_executor(JobReader(database), JobWriter(database))
        wait = partial(self._wakeups.wait, Topic.NUDGES, config.poll_every.total_seconds())
        self._poller = Poller(patient_redis, config.database, self._executor, self._running, wait)
        lease = Lease(database, "relay", self._card.id, RELAY_LEASE)
        outbox = Outbox(database, partial(self._wakeups.wake, Topic.OUTBOX))
        self._relay = Relay(outbox, Projection(database), lease, self._signals, _always)
        self._pruner = self._new_pruner(database)
        operations = Operations(database, self._card.id)
        self._bulk = BulkRunner(operations, BulkWriter(database, operations), self._signals, self._clock)
        webhooks = Webhooks(database, Sealer(config.secret_keys))
        deliveries = Deliveries(database, webhooks)
        lease = Lease(database, "deliveries", self._card.id, PLANNER_LEASE)
        self._planner = Planner(DeliveryPlan(database, webhooks), lease, self._signals, self._clock, _always)
        http = GuardedHttp(allow_private=config.allow_private)
        self._deliverer = Deliverer(
            *(deliveries, webhooks, http, self._signals, self._clock), wanted=_always, terms=config.delivery
        )
        self._loops = self._new_loops(database, JobReader(database), JobWriter(database))

    async def start(self) -> None:
        await self._clock.synchronise()
        await self._registry.offer([_card(definition) for definition in self._tasks.definitions()])
        await self._registry.sign_in(self._card, 0)
        self._heart.start()
        self._wakeups.start()
        for loop in self._loops:
            loop.start()
        self._poller.start()
        logger.info("worker %s is ready: %s tasks, %s at a time", *self._described())

    async def stop(self) -> None:
        """Take nothing more, let runs end within the budget, release the others, and sign out."""
        self._executor.draining = True
        self._poller.pause()
        # While runs end: what is being delivered may take as long, and is not to come on top of it.
        delivered = asyncio.create_task(self._deliverer.stop(), name="last deliveries")
        if not await self._running.wait_until_idle(self._config.drain.total_seconds()):
            self._running.stop_all(CancelReason.SHUTDOWN)
            await self._running.wait_until_idle(self._config.cancel_grace.total_seconds() + _WRITE_WITHIN)
        await self._poller.stop()
        await asyncio.gather(*(loop.stop() for loop in self._loops))
        await self._take_leave()
        await delivered
        await self._wakeups.close()
        await self._signals.close()
        await self._heart.stop()
        logger.info("worker %s has stopped", self._card.id)

    async def _take_leave(self) -> None:
        """Tell the last events and sign out. Without a database others find out by themselves, a little later."""
        try:
            async with asyncio.timeout(_LEAVE_WITHIN):
                await self._relay.finish()
                await self._pruner.stop()
                await self._bulk.stop()
                await self._planner.stop()
                await self._registry.sign_out(self._card)
        except (StoreUnavailable, TimeoutError) as error:
            logger.warning("worker %s goes without signing out: %s", self._card.id, error)

    def _described(self) -> tuple[str, int, int]:
        return self._card.id, len(self._tasks.definitions()), self._config.concurrency

    def _new_executor(self, jobs: JobReader, writer: JobWriter) -> Executor:
        writes = Writes(
            claims=Batcher(writer.claim_many),
            finishes=Batcher(writer.finish_many),
            progress=Batcher(writer.report_progress_many),
            find=partial(jobs.find, EVERYWHERE),
            pause=partial(pause_unschedulable, writer),
        )
        secrets = InputSecrets(Sealer(self._config.secret_keys))
        terms = Terms(self._card.id, self._config.lease, self._config.cancel_grace, secrets.whole_input)
        return Executor(self._tasks, self._running, writes, self._signals, self._clock, terms, beat=self._heart.poke)

    def _new_pruner(self, database: Database) -> Pruner:
        config = self._config
        lease = Lease(database, "prune", self._card.id, PRUNE_LEASE)
        return Pruner(Retention(database), config.retention, lease, self._signals, every=config.prune_every)

    def _new_loops(self, database: Database, jobs: JobReader, writer: JobWriter) -> list[Loop]:
        config, signals = self._config, self._signals
        tasks = [(definition.namespace, definition.task) for definition in self._tasks.definitions()]
        promoter = Promoter(jobs, writer, signals, self._clock, max_outstanding=config.max_outstanding)
        catch_up = CatchUp(CatchingUp(database, tasks), promoter)
        sweeper = Sweeper(jobs, writer, signals, lease=config.lease, every=config.sweep_every)
        feeder = Feeder(
            jobs,
            writer,
            signals,
            tasks,
            max_outstanding=config.max_outstanding,
            renudge_after=config.renudge_after,
            every=config.sweep_every,
        )
        return [
            Loop("promoter", promoter.run_once, partial(self._wakeups.wait, Topic.SCHEDULED)),
            Loop("catch-up", catch_up.run_once, partial(self._wakeups.wait, Topic.MISSED)),
            Loop("sweeper", sweeper.run_once),
            Loop("feeder", feeder.run_once, partial(self._wakeups.wait, Topic.BACKLOG)),
            Loop("bulk", self._bulk.run_once, partial(self._wakeups.wait, Topic.OPERATIONS)),
            Loop("pruner", self._pruner.run_once),
            Loop("rechecker", Rechecker(jobs, writer, signals, self._clock).run_once),
            Loop("relay", self._relay.run_once, partial(self._wakeups.wait, Topic.OUTBOX)),
            Loop("planner", self._planner.run_once, partial(self._wakeups.wait, Topic.FEED)),
            Loop("deliverer", self._deliverer.run_once, partial(self._wakeups.wait, Topic.DELIVERIES)),
            Loop("registry", self._keep_alive),
            Loop("clock", self._synchronise),
            Loop("cancellations", self._nothing, self._poke_when_cancelled),
        ]

    async def _keep_alive(self) -> float:
        await self._registry.sign_in(self._card, len(self._running))
        return WORKER_ALIVE.total_seconds() / 3

    async def _synchronise(self) -> float:
        await self._clock.synchronise()
        return _SYNCHRONISE_EVERY

    async def _nothing(self) -> float:
        return _SYNCHRONISE_EVERY

    async def _poke_when_cancelled(self, timeout: float) -> None:
        if await self._wakeups.wait(Topic.CANCELLED, timeout):
            self._running.cancellations += 1
            self._heart.poke()


_TOPICS: Final = (
    *(Topic.NUDGES, Topic.OUTBOX, Topic.SCHEDULED, Topic.MISSED, Topic.BACKLOG),
    *(Topic.CANCELLED, Topic.OPERATIONS, Topic.FEED, Topic.DELIVERIES),
)


async def _always() -> bool:
    return True


def _card(definition: TaskDefinition) -> TaskCard:
    terms = TaskTerms(definition.retries, definition.timeout, definition.input_schema)
    return TaskCard(definition.namespace, definition.task, definition.description, terms)
