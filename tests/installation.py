"""A whole installation within one test: the use cases of a gateway, workers, and everything that was told of any job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from jobs.access import EVERYWHERE, Principal, Scope
from jobs.dispatch import TaskTerms
from jobs.errors import CursorExpired
from jobs.events import EventType
from jobs.feed import JobEvent
from jobs.filters import EventFilter
from jobs.job import Execution, Job
from jobs.promotion import promote
from resolvers.dispatching import dispatch
from resolvers.reading import read_history
from resolvers.services import Services, services_on
from resolvers.steering import cancel
from storage.client import Database, Driver
from storage.job_updates import Claim, first_nudge
from storage.outbox import Outbox
from storage.redis import close_redis, open_redis
from storage.registry import Registry, TaskCard
from storage.signals import Signals, Topic
from storage.wakeups import Wakeups
from tests.factories import make_request
from worker.process import WorkerConfig, run_worker
from worker.tasks import Handler, TaskRegistry, define

ANN = Principal("ann", frozenset(Scope), EVERYWHERE)
DEADLINE = 20.0
_LEASE = timedelta(seconds=15)
"""No store that is slow for once makes it expire: where that is what a test is about, it says so."""


class Installation:
    """Dispatch, steer, run workers, and wait for what is told."""

    def __init__(self, services: Services, config: WorkerConfig) -> None:
        self.services = services
        self.config = config
        self.told: list[JobEvent] = []
        self._news = asyncio.Condition()
        self._workers: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

    async def dispatch(self, task: str = "demo.echo", **changes: Any) -> Job:
        namespace, _, name = task.partition(".")
        return await dispatch(self.services, ANN, make_request(namespace=namespace, task=name, **changes))

    async def cancel(self, job: Job, reason: str | None = None) -> Job:
        return await cancel(self.services, ANN, job.id, reason)

    async def job(self, job: Job) -> Job:
        found = await self.services.jobs.find(EVERYWHERE, job.id)
        assert found is not None
        return found

    async def runs(self, job: Job) -> list[Execution]:
        history = await read_history(self.services, ANN, job.id, 100, None)
        assert history is not None
        return list(history.page.items)

    async def worker(self, handlers: dict[str, Handler], **changes: Any) -> asyncio.Event:
        """Start a worker with these handlers and wait until it is ready; setting the answer stops it."""
        registry = TaskRegistry(define(name, handler) for name, handler in handlers.items())
        stop, ready = asyncio.Event(), asyncio.Event()
        working = asyncio.create_task(run_worker(replace(self.config, **changes), registry, stop, ready))
        became_ready = asyncio.create_task(ready.wait())
        await asyncio.wait({working, became_ready}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        self._workers.append((stop, working))
        return stop

    async def stop_workers(self) -> None:
        for stop, _ in self._workers:
            stop.set()
        await asyncio.gather(*(working for _, working in self._workers))
        self._workers.clear()

    async def until(self, job: Job, *types: EventType, times: int = 1) -> list[JobEvent]:
        """Wait until the job has told one of ``types`` so many times; answer all that it told."""
        return await self.until_told(
            lambda: sum(event.job_id == job.id and event.type in types for event in self.told) >= times, job
        )

    async def until_told(self, condition: Callable[[], bool], job: Job | None = None) -> list[JobEvent]:
        async with asyncio.timeout(DEADLINE), self._news:
            await self._news.wait_for(condition)
        return [event for event in self.told if job is None or event.job_id == job.id]

    async def listen(self) -> None:
        async with self.services.hub.subscribe(EVERYWHERE, EventFilter(), self.services.hub.position) as subscriber:
            while True:
                event = await subscriber.next()
                async with self._news:
                    self.told.append(event)
                    self._news.notify_all()


@asynccontextmanager
async def installed(database: Database, mongodb_url: str, redis_url: str) -> AsyncIterator[Installation]:
    """An installation with all tasks of the name ``demo.*`` that a test may think of, and no worker yet."""
    redis = await open_redis(redis_url, database.name)
    wakeups = Wakeups(redis, database.name, [Topic.FEED])
    services = services_on(database, Signals(redis, database.name), wakeups, "test")
    await services.clock.synchronise()
    wakeups.start()
    await services.hub.start()
    installation = Installation(services, _config(mongodb_url, redis_url, database.name))
    listening = asyncio.create_task(installation.listen())
    try:
        yield installation
    finally:
        await installation.stop_workers()
        for going_on in (listening, *services.going_on):
            going_on.cancel()
        await asyncio.gather(*services.going_on, return_exceptions=True)
        # A test of pruning may have removed what the listener was yet to hear.
        with suppress(asyncio.CancelledError, CursorExpired):
            await listening
        await services.hub.close()
        await services.signals.close()
        await wakeups.close()
        await close_redis(redis)


async def offer(database: Database, *tasks: str) -> None:
    """Make tasks known to dispatch without a worker that offers them."""
    names = [task.partition(".") for task in tasks]
    await Registry(database).offer([TaskCard(namespace, name, None, TaskTerms()) for namespace, _, name in names])


async def running_job(installation: Installation, token: str, **changes: Any) -> Job:
    """A job whose run somebody has claimed under ``token``; nobody works on it."""
    job = await installation.dispatch(**changes)
    if job.run is None:
        assert job.next_run_at is not None
        await installation.services.writer.promote_many([(job, promote(job, job.next_run_at))], nudged=1)
        job = await installation.job(job)
    assert job.run is not None
    await installation.services.writer.claim_many([Claim(first_nudge(job, job.run), "w1", token, _LEASE)])
    return await installation.job(job)


async def relayed(installation: Installation, database: Database, jobs: int) -> list[JobEvent]:
    """Dispatch so many jobs and wait until all their events have been handed out."""
    before = len(installation.told)
    for _ in range(jobs):
        await installation.dispatch()
    await Outbox(database).relay(jobs)
    installation.services.signals.wake(Topic.FEED)
    await installation.until_told(lambda: len(installation.told) == before + 2 * jobs)
    return installation.told[before:]


def _config(mongodb_url: str, redis_url: str, database: str) -> WorkerConfig:
    return WorkerConfig(
        mongodb_url=mongodb_url,
        redis_url=redis_url,
        database=database,
        driver=Driver.MOTOR,
        concurrency=20,
        lease=_LEASE,
        drain=timedelta(seconds=5),
        cancel_grace=timedelta(seconds=0.3),
        max_outstanding=200,
        sweep_every=timedelta(seconds=0.2),
        renudge_after=timedelta(seconds=0.5),
    )
