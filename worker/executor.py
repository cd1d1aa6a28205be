"""Executing one attempt of a run: claim, call the handler, decide, write. Only here do the pure parts meet the world."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import random
from typing import Any, Final

from jobs.cron import CronError
from jobs.decisions import Decision, Failed, Outcome, Released, decide
from jobs.errors import NotWritten, StoreUnavailable, WriteRefused
from jobs.job import Job, JobError, Run
from jobs.json_values import JsonValue
from jobs.lifecycle import Action, JobStatus
from storage.batches import Batcher
from storage.clock import DatabaseClock
from storage.job_updates import Claim, Finish, Progress
from storage.jobs import RunRef
from storage.sealing import NO_KEYS
from storage.secret_inputs import InputSecrets, SecretUnreadable
from storage.signals import Signals, Topic
from storage.transitions import Steered
from worker.context import CancelReason, RunFacts, TaskContext
from worker.handlers import Verdict, call
from worker.running import Attempt, Running
from worker.tasks import TaskDefinition, TaskRegistry
from worker.verdicts import has_succeeded, is_overdue, outcome_of_stop

logger = logging.getLogger("jobgate.executor")

UNREADABLE: Final = "SECRET_UNREADABLE"
"""The code of a run whose input has a secret that this worker cannot open."""

_RETRY_WRITE_AFTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class Terms:
    """How this worker runs things."""

    worker: str
    lease: timedelta
    cancel_grace: timedelta
    """How long a handler may take to obey when it is told to stop; then it is abandoned."""
    whole_input: Callable[[Job], JsonValue] = InputSecrets(NO_KEYS).whole_input
    """Opens what is sealed in the input of a job. Raises :class:`storage.secret_inputs.SecretUnreadable`."""


@dataclass(frozen=True, slots=True)
class Writes:
    """The group-committed writes of attempts."""

    claims: Batcher[Claim, Job | None]
    finishes: Batcher[Finish, bool]
    progress: Batcher[Progress, None]
    find: Callable[[str], Awaitable[Job | None]]
    """Reads a job again, when a caller has changed it during its run."""
    pause: Callable[[Job, CronError], Awaitable[None]]
    """Has a job rest whose schedule can no longer be followed."""


class Executor:
    """Runs what nudges speak of, as far as there is room."""

    def __init__(
        self,
        tasks: TaskRegistry,
        running: Running,
        writes: Writes,
        signals: Signals,
        clock: DatabaseClock,
        terms: Terms,
        *,
        beat: Callable[[], None],
    ) -> None:
        """``beat`` has the leases of all attempts looked at now."""
        self._tasks = tasks
        self._running = running
        self._writes = writes
        self._signals = signals
        self._clock = clock
        self._terms = terms
        self._beat = beat
        self._runs: set[asyncio.Task[None]] = set()
        self._abandoned: set[asyncio.Future[Verdict]] = set()
        self.draining = False
        """No more claims: the worker is shutting down."""

    async def look_at(self, ref: RunRef) -> None:
        """Begin what ``ref`` speaks of if it is still waiting, there is room, and this worker has the handler.

        Returns once that is settled; the run goes on by itself.
        """
        namespace, _, task = ref.handler.partition(".")
        definition = self._tasks.find(namespace, task)
        if definition is None or self.draining or self._running.is_full:
            return
        self._running.reserve()
        try:
            attempt = await self._claim(ref)
        finally:
            self._running.unreserve()
        if attempt is not None:
            run = asyncio.create_task(self._execute(attempt), name=f"run {ref.job_id}:{ref.number}")
            self._runs.add(run)
            run.add_done_callback(self._conclude)

    def _conclude(self, run: asyncio.Task[None]) -> None:
        self._runs.discard(run)
        if not run.cancelled() and (error := run.exception()) is not None:
            # A defect of ours: the run is given to another worker when its lease is over.
            logger.error("%s was not brought to its end", run.get_name(), exc_info=error)

    async def _claim(self, ref: RunRef) -> Attempt | None:
        claim = Claim(ref, self._terms.worker, secrets.token_hex(16), self._terms.lease)
        held_until = time.monotonic() + self._terms.lease.total_seconds()
        cancellations = self._running.cancellations
        try:
            job = await self._writes.claims.submit(claim)
        except NotWritten:
            return None
        except StoreUnavailable as error:
            logger.warning("claiming %s: %s", ref.job_id, error)
            job = await self._read_back(claim, held_until)
        if job is None or job.run is None:
            return None
        attempt = Attempt(job, job.run, claim.token, held_until)
        self._running.add(attempt)
        if self._running.cancellations != cancellations:
            # Was it this one? Whoever looked then did not know of it.
            self._beat()
        self._signals.wake(Topic.OUTBOX)
        return attempt

    async def _read_back(self, claim: Claim, until: float) -> Job | None:
        """The claim may have been written all the same: a run that nobody works on would cost it an attempt."""
        while time.monotonic() < until:
            try:
                job = await self._writes.find(claim.ref.job_id)
            except StoreUnavailable:
                await asyncio.sleep(_RETRY_WRITE_AFTER)
                continue
            return job if job is not None and job.run is not None and job.run.token == claim.token else None
        return None

    async def _execute(self, attempt: Attempt) -> None:
        try:
            # Looked up once more, by what the job says: the nudge is hearsay.
            definition = self._tasks.find(attempt.job.namespace, attempt.job.task)
            if definition is None:
                await self._write(attempt, Released("this worker does not have the handler"))
                return
            outcome = await self._run(definition, attempt)
            if outcome is not None:
                await self._write(attempt, outcome)
        finally:
            self._running.remove(attempt)

    async def _run(self, definition: TaskDefinition, attempt: Attempt) -> Outcome | None:
        """What the handler did, or None when that is no longer ours to say."""
        if attempt.stop_reason is not None:
            return outcome_of_stop(attempt.stop_reason, None, obeyed=True)
        if time.monotonic() > attempt.held_until:
            # Another worker may have the run by now. If none has, nobody is to blame: the handler has not even begun.
            return Released("the claim was answered too late to begin")
        try:
            value = self._terms.whole_input(attempt.job)
        except SecretUnreadable as error:
            # Another attempt would have the same keys.
            return Failed(JobError(UNREADABLE, str(error)), final=True)
        context = self._context(attempt)
        began = time.monotonic()
        handler = call(definition, context, value)
        try:
            await self._wait(handler, attempt)
            overdue = is_overdue(attempt.job.timeout, time.monotonic() - began)
            if handler.done() and not overdue:
                return handler.result()
            reason = attempt.stop_reason or CancelReason.TIMEOUT
            obeyed = handler.done() or await self._stop(handler, context, reason)
            outcome = outcome_of_stop(reason, attempt.job.timeout, obeyed=obeyed)
            return handler.result() if isinstance(outcome, Released) and has_succeeded(handler) else outcome
        finally:
            context.close()

    async def _wait(self, handler: asyncio.Future[Verdict], attempt: Attempt) -> None:
        stopped = asyncio.ensure_future(attempt.stopped())
        timeout = attempt.job.timeout
        either: set[asyncio.Future[Any]] = {handler, stopped}
        try:
            await asyncio.wait(
                either,
                timeout=None if timeout is None else timeout.total_seconds(),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            stopped.cancel()

    async def _stop(self, handler: asyncio.Future[Verdict], context: TaskContext, reason: CancelReason) -> bool:
        """Tell the handler to stop; False when it did not within the grace, and is left to itself."""
        context.cancel(reason)
        if isinstance(handler, asyncio.Task):
            handler.cancel()
        done, _ = await asyncio.wait({handler}, timeout=self._terms.cancel_grace.total_seconds())
        if not done:
            logger.error("run %s ignores its cancellation (%s): abandoned", context.run_key, reason.value)
            self._abandoned.add(handler)
            handler.add_done_callback(self._abandoned.discard)
        return bool(done)

    async def _write(self, attempt: Attempt, outcome: Outcome) -> None:
        """The handler's work is done: its outcome is worth waiting for the database, for as long as that takes."""
        job: Job | None = attempt.job
        while job is not None:
            try:
                decision = self._decide(job, attempt.run, outcome)
                if await self._writes.finishes.submit(Finish(job.id, attempt.token, decision, job.steered)):
                    self._announce(attempt.run, decision)
                    return
                break
            except Steered:
                job = await self._reread(job.id)
            except CronError as error:
                await self._pause(job, error)
                job = await self._reread(job.id)
            except WriteRefused as error:
                if outcome == (refusal := _refused(error)):
                    raise
                outcome = refusal
            except StoreUnavailable as error:
                logger.warning("writing the outcome of %s: %s", attempt.job.id, error)
                await asyncio.sleep(_RETRY_WRITE_AFTER)
        logger.warning("run %s of %s: its result came too late and was discarded", attempt.run.number, attempt.job.id)

    async def _pause(self, job: Job, error: CronError) -> None:
        try:
            await self._writes.pause(job, error)
        except StoreUnavailable as away:
            logger.warning("pausing %s: %s", job.id, away)
            await asyncio.sleep(_RETRY_WRITE_AFTER)

    async def _reread(self, job_id: str) -> Job | None:
        while True:
            try:
                return await self._writes.find(job_id)
            except StoreUnavailable as error:
                logger.warning("reading %s again: %s", job_id, error)
                await asyncio.sleep(_RETRY_WRITE_AFTER)

    def _decide(self, job: Job, run: Run, outcome: Outcome) -> Decision:
        # Chance spreads retries out; nothing secret hangs on it.
        return decide(job, run, outcome, now=self._clock.now(), draw=random())  # noqa: S311

    def _announce(self, run: Run, decision: Decision) -> None:
        self._signals.wake(Topic.OUTBOX)
        if decision.action is Action.RELEASE:
            self._signals.wake(Topic.BACKLOG)
            return
        if run.paced:
            self._signals.wake(Topic.MISSED)
        if decision.status is JobStatus.SCHEDULED:
            self._signals.wake(Topic.SCHEDULED)

    def _context(self, attempt: Attempt) -> TaskContext:
        job, run = attempt.job, attempt.run
        facts = RunFacts(
            job_id=job.id,
            namespace=job.namespace,
            task=job.task,
            product=job.product,
            env=job.env,
            execution=run.number,
            attempt=run.attempt,
            scheduled_for=run.scheduled_for,
            deadline=None if job.timeout is None else self._clock.now() + job.timeout,
        )
        return TaskContext(facts, partial(self._report, job.id, attempt.token))

    async def _report(self, job_id: str, token: str, fraction: float, message: str | None) -> None:
        await self._writes.progress.submit(Progress(job_id, token, fraction, message))
        self._signals.wake(Topic.OUTBOX)


def _refused(error: WriteRefused) -> Failed:
    return Failed(JobError("RESULT_REFUSED", f"the database refused the result: {error}"[:500]), final=True)
