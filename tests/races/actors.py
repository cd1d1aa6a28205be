"""Who races for a job: workers, promoters, sweepers and callers, made of the product's own code behind a door."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

from jobs.access import EVERYWHERE
from jobs.bulk import BulkRequest
from jobs.decisions import LeaseExpired, decide
from jobs.errors import JobNotFound
from jobs.filters import JobFilter
from jobs.lifecycle import Action
from jobs.refusals import TransitionRefused
from jobs.schedule import ScheduleSpec
from resolvers import steering
from resolvers.bulk import begin_bulk
from resolvers.services import Services
from storage.batches import Batcher
from storage.client import Database
from storage.heartbeats import LeaseKeeper
from storage.job_updates import Progress
from storage.jobs import JobReader
from storage.transitions import JobWriter
from tests.installation import ANN
from tests.races.turns import DEADLINE, Actor, Door, TurnTaking
from worker.context import TaskContext
from worker.executor import Executor, Terms, Writes
from worker.promoter import Promoter
from worker.running import Attempt, Running
from worker.tasks import TaskError, TaskRegistry, define
from worker.unschedulable import pause_unschedulable

TASKS: Final = [("demo", "echo")]
FIRST: Final = "token of the first worker"
LEASE: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Stage:
    """What all actors share: the database, the senders and the clock of a process; and the keeper of leases."""

    database: Database
    services: Services
    keeper: LeaseKeeper

    def seen_through(self, door: Door, job_id: str) -> Services:
        """The services of somebody who waits for their turn."""
        database = TurnTaking(self.database, door, job_id)
        # Many orders are played at a time, each as if by a process of its own.
        return replace(self.services, jobs=JobReader(database), writer=JobWriter(database), going_on=set())

    def worker(self, fails: bool = False) -> Actor:
        """Looks for what waits, runs it, and writes what came of it. Nobody tells it when it has lost the run."""

        async def work(door: Door, job_id: str) -> str:
            seat = _Seat(self.seen_through(door, job_id), door, fails)
            for ref in await seat.services.jobs.backlog(TASKS, 10, patience_ms=-5000):
                await seat.executor.look_at(ref)
                await seat.running.wait_until_idle(DEADLINE)
            return seat.told()

        return work

    def first_worker(self, *, fails: bool = False, before: Actor | None = None) -> Actor:
        """The worker that has the run from the beginning: only what is left for it to do, ``before`` that something else."""

        async def go_on(door: Door, job_id: str) -> str:
            seat = _Seat(self.seen_through(door, job_id), door, fails)
            job = await self.services.jobs.find(EVERYWHERE, job_id)
            assert job is not None
            assert job.run is not None
            attempt = Attempt(job, job.run, FIRST, time.monotonic() + LEASE.total_seconds())
            said = "" if before is None else f"{await before(door, job_id)}, "
            seat.running.add(attempt)
            await seat.executor._execute(attempt)
            return said + seat.told()

        return go_on

    def promoter(self) -> Actor:
        async def look(door: Door, job_id: str) -> str:
            services, before = self.seen_through(door, job_id), door.changes
            await Promoter(
                services.jobs, services.writer, services.signals, services.clock, max_outstanding=9
            ).run_once()
            return "moved" if door.changes > before else "-"

        return look

    def sweeper(self) -> Actor:
        """One look, by a sweeper that has watched long enough."""

        async def sweep(door: Door, job_id: str) -> str:
            services = self.seen_through(door, job_id)
            now, expired = await services.jobs.expired(10)
            for job in expired:
                assert now is not None
                assert job.run is not None
                lost = decide(job, job.run, LeaseExpired(), now=now, draw=0.0)
                return "expired" if await services.writer.expire(job, lost) else "too late"
            return "-"

        return sweep

    def heart(self) -> Actor:
        """One beat of the first worker's heart. What it reads when it was not the run's any more changes nothing: one step."""

        async def beat(door: Door, job_id: str) -> str:
            await door.turn("renew")
            renewal = await asyncio.to_thread(self.keeper.renew, {FIRST: job_id})
            door.note_change(renewal.held)
            return "held" if renewal.held else "cancelled" if renewal.cancelled else "lost"

        return beat

    def progress(self) -> Actor:
        async def report(door: Door, job_id: str) -> str:
            writer = self.seen_through(door, job_id).writer
            before = door.changes
            await writer.report_progress_many([Progress(job_id, FIRST, 0.5, None)])
            return "told" if door.changes > before else "-"

        return report

    def cancel(self) -> Actor:
        return self._caller(lambda services, job_id: steering.cancel(services, ANN, job_id, "why"))

    def pause(self) -> Actor:
        return self._caller(lambda services, job_id: steering.pause(services, ANN, job_id, "why"))

    def resume(self) -> Actor:
        return self._caller(lambda services, job_id: steering.resume(services, ANN, job_id))

    def retry(self, delay_ms: int = 0) -> Actor:
        return self._caller(lambda services, job_id: steering.retry(services, ANN, job_id, delay_ms))

    def delete(self) -> Actor:
        return self._caller(lambda services, job_id: steering.delete(services, ANN, job_id))

    def reschedule(self, **changes: Any) -> Actor:
        """To an hour from now, unless told otherwise."""

        def call(services: Services, job_id: str) -> Awaitable[Any]:
            later = services.clock.now() + timedelta(hours=1)
            spec = ScheduleSpec(**(changes or {"start_at": later}))
            return steering.reschedule(services, ANN, job_id, spec)

        return self._caller(call)

    def bulk(self, action: Action) -> Actor:
        """All of it is two steps: what matches is read as of one instant, and each batch is changed in one transaction."""

        async def change_many(door: Door, job_id: str) -> str:
            request = BulkRequest(action, JobFilter(ids=(job_id,)))
            bulk = _StepByStep(self.services, door)
            operation = await begin_bulk(replace(self.services, bulk=bulk, going_on=set()), ANN, request)  # type: ignore[arg-type]  # its two calls
            door.note_change(operation.count)
            return f"{operation.count} of {operation.matched}"

        return change_many

    def _caller(self, call: Callable[[Services, str], Awaitable[Any]]) -> Actor:
        async def ask(door: Door, job_id: str) -> str:
            before = door.changes
            try:
                await call(self.seen_through(door, job_id), job_id)
            except TransitionRefused:
                return "refused"
            except JobNotFound:
                return "gone"
            return "ok" if door.changes > before else "same"

        return ask


class _StepByStep:
    """The bulk writer behind a door."""

    def __init__(self, services: Services, door: Door) -> None:
        self._bulk, self._door = services.bulk, door

    async def begin(self, *args: Any, **options: Any) -> Any:
        await self._door.turn("snapshot")
        return await self._bulk.begin(*args, **options)

    async def advance(self, *args: Any) -> Any:
        await self._door.turn("transaction")
        return await self._bulk.advance(*args)


def in_turn(*actors: Actor) -> Actor:
    """One after the other, as one actor."""

    async def act(door: Door, job_id: str) -> str:
        return ", ".join([await actor(door, job_id) for actor in actors])

    return act


class _Seat:
    """A worker's parts, behind its door. What its handler does, which is one step as well, is the number of the attempt."""

    def __init__(self, services: Services, door: Door, fails: bool) -> None:
        self.services, self.running = services, Running(1)
        self._ledger: list[tuple[int, int]] = []

        async def handler(context: TaskContext, _: Any) -> int:
            await door.turn("effect")
            self._ledger.append((context.execution, context.attempt))
            if fails:
                raise TaskError("OOPS")
            return context.attempt

        writer = services.writer
        writes = Writes(
            claims=Batcher(writer.claim_many),
            finishes=Batcher(writer.finish_many),
            progress=Batcher(writer.report_progress_many),
            find=partial(services.jobs.find, EVERYWHERE),
            pause=partial(pause_unschedulable, writer),
        )
        self.executor = Executor(
            TaskRegistry([define("demo.echo", handler)]),
            self.running,
            writes,
            services.signals,
            services.clock,
            Terms("w2", LEASE, timedelta(seconds=1)),
            beat=lambda: None,
        )

    def told(self) -> str:
        """Which attempts it has made, of which runs."""
        return " ".join(f"did {run}.{attempt}" for run, attempt in self._ledger) or "-"
