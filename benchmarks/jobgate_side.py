"""Jobgate's side: jobs dispatched through its own use case, run by its own worker, in this process as the anchor is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from jobs.access import EVERYWHERE, Principal, Scope
from jobs.dispatch import DispatchRequest, TaskTerms
from resolvers.dispatching import dispatch
from resolvers.services import Services, services_on
from storage.client import Database, Driver, close_client, open_client, open_database
from storage.indexes import create_indexes
from storage.redis import close_redis, open_redis
from storage.registry import Registry, TaskCard
from storage.signals import Signals, Topic
from storage.wakeups import Wakeups
from worker.process import WorkerConfig, run_worker
from worker.tasks import TaskRegistry, define

NOBODY = Principal("bench", frozenset(Scope), EVERYWHERE)


@asynccontextmanager
async def open_side(
    mongodb_url: str, redis_url: str, name: str, driver: Driver
) -> AsyncIterator[tuple[Services, Database]]:
    """The use cases of a gateway on an empty database."""
    client = open_client(mongodb_url, driver)
    database = open_database(client, name)
    await create_indexes(database)
    await Registry(database).offer([TaskCard("bench", "no_op", None, TaskTerms())])
    redis = await open_redis(redis_url, name)
    signals = Signals(redis, name)
    services = services_on(database, signals, Wakeups(redis, name, [Topic.FEED]), "bench")
    await services.clock.synchronise()
    try:
        yield services, database
    finally:
        await signals.close()
        await close_redis(redis)
        await close_client(client)


async def dispatch_many(services: Services, jobs: int, at_once: int = 100) -> float:
    """Dispatch so many no-op jobs, ``at_once`` at a time; answer how many a second were acknowledged."""
    began = time.perf_counter()
    for start in range(0, jobs, at_once):
        await asyncio.gather(*(_dispatch_one(services) for _ in range(min(at_once, jobs - start))))
    return jobs / (time.perf_counter() - began)


async def _dispatch_one(services: Services) -> None:
    request = DispatchRequest("bench", "no_op", "shop", "prd", {"sent": time.time()})
    await dispatch(services, NOBODY, request)


@asynccontextmanager
async def no_op_worker(config: WorkerConfig, starts: list[tuple[float, float]]) -> AsyncIterator[None]:
    """A worker whose only task notes when it started and when it was sent."""

    async def no_op(_: Any, value: Any) -> None:
        starts.append((time.time(), value["sent"]))

    stop, ready = asyncio.Event(), asyncio.Event()
    working = asyncio.create_task(run_worker(config, TaskRegistry([define("bench.no_op", no_op)]), stop, ready))
    await ready.wait()
    yield
    stop.set()
    await working


async def until(database: Database, jobs: int, seconds: float = 300) -> None:
    """Wait until so many jobs are completed: committed, not only started."""
    async with asyncio.timeout(seconds):
        while await database["jobs"].count_documents({"status": "completed"}) < jobs:  # noqa: ASYNC110  # looked at from outside
            await asyncio.sleep(0.05)


def worker_config(mongodb_url: str, redis_url: str, name: str, driver: Driver, concurrency: int) -> WorkerConfig:
    return WorkerConfig(
        mongodb_url=mongodb_url,
        redis_url=redis_url,
        database=name,
        driver=driver,
        concurrency=concurrency,
        lease=timedelta(seconds=15),
        drain=timedelta(seconds=5),
        cancel_grace=timedelta(seconds=1),
        max_outstanding=400,
        sweep_every=timedelta(seconds=2),
        renudge_after=timedelta(seconds=5),
    )
