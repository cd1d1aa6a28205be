"""Sweeping: runs whose worker was lost are given to another; the backlog is nudged, as far as Redis has forgotten it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
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
from worker.watch import Watch

logger = logging.getLogger("jobgate.sweeper")

_BATCH: Final = 100


class Sweeper:
    """Expires leases, but only once it has watched the database answer for as long as one: see :class:`worker.watch.Watch`.

    After an outage, workers that live are thereby the first to be heard: their results wait for the database, and handlers
    that are being stopped hold on to their runs.
    """

    def __init__(
        self,
        jobs: JobReader,
        writer: JobWriter,
        signals: Signals,
        *,
        lease: timedelta,
        every: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._writer = writer
        self._signals = signals
        self._clock = clock
        self._watch = Watch(lease.total_seconds())
        self._every = min(every.total_seconds(), self._watch.longest_pause)

    async def run_once(self) -> float:
        """Expire what is over; answer the seconds until the next look. Raises ``StoreUnavailable``."""
        try:
            return await self._sweep()
        except StoreUnavailable:
            self._watch = self._watch.failed()
            raise

    async def _sweep(self) -> float:
        now, expired = await self._jobs.expired(_BATCH)
        self._watch = self._watch.answered(self._clock())
        if now is None or not self._watch.is_long_enough:
            return self._every
        for job in expired:
            if job.run is not None:
                await self._expire(job, job.run, now)
                # Each of these is a look as well: many of them in a row are no gap.
                self._watch = self._watch.answered(self._clock())
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
