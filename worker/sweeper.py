"""Sweeping: runs whose worker was lost are given to another; the backlog is nudged, as far as Redis has forgotten it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from jobs.cron import CronError
from jobs.decisions import LeaseExpired, decide
from jobs.errors import StoreUnavailable, WriteRefused
from jobs.job import Job, Run
from jobs.times import to_milliseconds
from storage.jobs import JobReader
from storage.signals import Signals, Topic
from storage.transitions import JobWriter
from worker.unschedulable import pause_unschedulable

logger = logging.getLogger("jobgate.sweeper")

_BATCH: Final = 100


class Sweeper:
    """Expires leases. Patient after an outage of the database: workers that live must be able to renew theirs first."""

    def __init__(
        self, jobs: JobReader, writer: JobWriter, signals: Signals, *, lease: timedelta, every: timedelta
    ) -> None:
        self._jobs = jobs
        self._writer = writer
        self._signals = signals
        self._lease = lease.total_seconds()
        self._every = every.total_seconds()
        # This process may be the first to see the database again: one heartbeat's time for those that still work.
        self._patient_until = time.monotonic() + self._lease / 3

    async def run_once(self) -> float:
        """Expire what is over; answer the seconds until the next look."""
        patience = self._patient_until - time.monotonic()
        if patience > 0:
            return min(patience, self._every)
        try:
            return await self._sweep()
        except StoreUnavailable:
            self._patient_until = time.monotonic() + self._lease
            raise

    async def _sweep(self) -> float:
        now, expired = await self._jobs.expired(_BATCH)
        for job in expired:
            if now is not None and job.run is not None:
                await self._expire(job, job.run, now)
        if expired:
            self._signals.wake(Topic.OUTBOX, Topic.BACKLOG, Topic.SCHEDULED)
        return 0.0 if len(expired) == _BATCH else self._every

    async def _expire(self, job: Job, run: Run, now: datetime) -> None:
        try:
            decision = decide(job, run, LeaseExpired(), now=now, draw=0.0)
        except CronError as error:
            # Once it is to pause, its end hangs no longer on what comes after it: the next look finds it so.
            await pause_unschedulable(self._writer, job, error)
            return
        try:
            if await self._writer.expire(job, decision):
                logger.warning("job %s: worker %s was lost", job.id, run.worker)
        except WriteRefused as error:
            # One that cannot be written holds up none of the others.
            logger.error("job %s: worker %s was lost, but %s", job.id, run.worker, error)


class Feeder:
    """Keeps a bounded number of nudges in Redis, the most urgent runs first; the rest of the backlog stays in MongoDB.

    It feeds what its own worker can run: jobs whose task nobody offers would be nudged in vain, ahead of all others.
    """

    def __init__(
        self,
        jobs: JobReader,
        writer: JobWriter,
        signals: Signals,
        tasks: Sequence[tuple[str, str]],
        *,
        max_outstanding: int,
        renudge_after: timedelta,
        every: timedelta,
    ) -> None:
        self._jobs = jobs
        self._writer = writer
        self._signals = signals
        self._tasks = tasks
        self._max_outstanding = max_outstanding
        self._patience_ms = to_milliseconds(renudge_after)
        self._every = every.total_seconds()

    async def run_once(self) -> float:
        """Fill up; answer the seconds until the next look."""
        outstanding = await self._signals.measure()
        if outstanding is None:
            return self._every
        room = self._max_outstanding - outstanding
        if room < self._max_outstanding // 4:
            return _WHILE_DRAINING
        refs = await self._jobs.backlog(self._tasks, room, patience_ms=self._patience_ms)
        await self._writer.mark_nudged(refs)
        self._signals.nudge(refs)
        return _WHILE_DRAINING if len(refs) == room else self._every


_WHILE_DRAINING: Final = 0.02
