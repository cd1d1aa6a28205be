"""Rechecking: what this release would have stored as the next instants of cron jobs, compared with what is stored.

A new release of the zone database, of croniter or of Jobgate may read a cron otherwise than the one that computed them.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Final

from jobs.access import EVERYWHERE
from jobs.cron import CronError
from jobs.errors import StoreUnavailable
from jobs.job import Job
from jobs.recheck import recheck
from storage.clock import DatabaseClock
from storage.jobs import JobReader, Planned
from storage.signals import Signals, Topic
from storage.transitions import JobWriter
from worker.unschedulable import pause_unschedulable

logger = logging.getLogger("jobgate.recheck")

BATCH: Final = 500
_BETWEEN_BATCHES: Final = 0.05
"""So that the walk leaves the database to those who wait for it."""
_TRIES: Final = 10


class Rechecker:
    """Walks all cron jobs once, from the oldest to the newest. Any number of processes may do it at once."""

    def __init__(
        self, jobs: JobReader, writer: JobWriter, signals: Signals, clock: DatabaseClock, *, batch: int = BATCH
    ) -> None:
        self._jobs = jobs
        self._writer = writer
        self._signals = signals
        self._clock = clock
        self._batch = batch
        self._behind: Planned | None = None
        self._checked = self._moved = 0

    async def run_once(self) -> float | None:
        """Check one batch; answer the seconds until the next, or None when there is none.

        Raises ``StoreUnavailable``. The next call goes on with the job that this one was at; behind it, when it was the job
        itself that failed: one that is broken must not stand in the way of the others.
        """
        batch = await self._jobs.planned_by_cron(self._behind, self._batch)
        now = self._clock.now()
        ahead = [one for one in batch if one.next_run_at is not None and one.next_run_at > now]
        jobs = await self._jobs.find_many(EVERYWHERE, [one.job_id for one in ahead])
        for one in ahead:
            if one.job_id in jobs:
                await self._pass(one, jobs[one.job_id], now)
            # The cron of a job may take half a millisecond to be understood, and the runs of this worker share the loop.
            await asyncio.sleep(0)
        if len(batch) == self._batch:
            self._behind = batch[-1]
            return _BETWEEN_BATCHES
        logger.info("%s cron jobs checked against today's rules, %s moved", self._checked, self._moved)
        return None

    async def _pass(self, planned: Planned, job: Job, now: datetime) -> None:
        before, self._behind = self._behind, planned
        try:
            await self._check(job, now)
        except StoreUnavailable:
            self._behind = before
            raise
        self._checked += 1

    async def _check(self, job: Job, now: datetime) -> None:
        try:
            if await self._correct(job, now):
                self._moved += 1
                self._signals.wake(Topic.OUTBOX, Topic.SCHEDULED)
        except CronError as error:
            # A run that was promised still takes place: whoever ends it finds the same, and pauses the job then.
            if job.run is None:
                await pause_unschedulable(self._writer, job, error)
                self._signals.wake(Topic.OUTBOX)

    async def _correct(self, job: Job, now: datetime) -> bool:
        """Move the next instant where that is wrong. A job that changes meanwhile, if only by its progress, is read again."""
        for _ in range(_TRIES):
            correction = recheck(job, now)
            if correction is None:
                return False
            if await self._writer.correct(job, correction) is not None:
                logger.warning("job %s: %s", job.id, correction.reason)
                return True
            found = await self._jobs.find(EVERYWHERE, job.id)
            if found is None:
                return False
            job = found
        raise StoreUnavailable("MongoDB", f"job {job.id} kept changing")
