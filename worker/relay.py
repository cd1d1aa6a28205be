"""The relay: events leave the outboxes of jobs for the log, and from there are counted in the statistics.

Leased to one process; fenced by the log's own numbers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from jobs.errors import StoreUnavailable
from jobs.events import EventType
from jobs.feed import JobEvent
from storage.leases import Lease
from storage.outbox import Deposed, Outbox
from storage.projection import Projection
from storage.signals import Signals, Topic

logger = logging.getLogger("jobgate.relay")
events_logger = logging.getLogger("jobgate.events")

LEASE: Final = timedelta(seconds=3)
"""How long events wait at most when the process that relays them was killed."""

_RENEW_EVERY: Final = LEASE.total_seconds() / 3
_BATCH: Final = 200
_PAUSE: Final = 1.0
_COUNT_EVERY: Final = 0.2
"""Under load, so many seconds of events are counted together."""

_QUIET: Final = 0.05
"""Otherwise events are counted after so many seconds without news: what a job does next often comes sooner, and would wait."""

_AFTER_DEFECT: Final = 5.0

_FAILURES: Final = (EventType.JOB_RETRYING, EventType.JOB_FAILED)


class Relay:
    """One candidate for the relay. ``wanted`` tells whether this process should relay at all at the moment."""

    def __init__(
        self,
        outbox: Outbox,
        projection: Projection,
        lease: Lease,
        signals: Signals,
        wanted: Callable[[], Awaitable[bool]],
    ) -> None:
        self._outbox = outbox
        self._projection = projection
        self._lease = lease
        self._signals = signals
        self._wanted = wanted
        self._renew_at = 0.0
        self._leads = False
        self._uncounted = True
        """Whether the log may hold events that the statistics do not: at first, those that another relay left."""
        self._count_at = 0.0
        self._quiet_from = 0.0
        self._broken_until = 0.0

    async def run_once(self) -> float:
        """Move what waits, if this process holds the lease; answer the seconds until the next look."""
        if time.monotonic() >= self._renew_at:
            await self._renew()
        if not self._leads:
            return _PAUSE
        try:
            events = await self._outbox.relay(_BATCH, self._told)
        except Deposed:
            logger.info("another relay has taken over")
            self._leads = False
            return _PAUSE
        for event in events:
            _log(event)
        wait = self._quiet_from - time.monotonic()
        if self._uncounted and not events and wait > 0:
            return wait
        counted = await self._count(urgent=not events)
        return 0.0 if events or (counted and self._uncounted) else _PAUSE

    async def stop(self) -> None:
        """Let another process take over at once."""
        if self._leads:
            self._leads = False
            await self._lease.release()

    def _told(self) -> None:
        self._uncounted = True
        self._quiet_from = time.monotonic() + _QUIET
        self._signals.wake(Topic.FEED)

    async def _count(self, *, urgent: bool) -> bool:
        """Fold what is not counted yet, if it is time to; False when that failed, of late or just now."""
        now = time.monotonic()
        if now < self._broken_until:
            return False
        if self._uncounted and (urgent or now >= self._count_at):
            self._count_at = now + _COUNT_EVERY
            try:
                self._uncounted = await self._projection.fold()
            except StoreUnavailable:
                raise
            except Exception:
                # A defect of the statistics must not hold up the log, which subscribers wait for.
                logger.exception("counting failed")
                self._broken_until = now + _AFTER_DEFECT
                return False
        return True

    async def _renew(self) -> None:
        renew_at = time.monotonic() + _RENEW_EVERY
        if not await self._wanted():
            await self.stop()
        else:
            led, self._leads = self._leads, await self._lease.acquire()
            if self._leads and not led:
                self._uncounted = True
                self._outbox.begin()
        self._renew_at = renew_at if self._leads else time.monotonic() + _PAUSE


def _log(event: JobEvent) -> None:
    """One line an event: the relay sees each of them once, whoever made it."""
    job = event.snapshot
    told = f" – {event.reason}" if event.reason else ""
    failure = f" [{job.error.code}] {job.error.message:.200}" if job.error and event.type in _FAILURES else ""
    task = f"{job.namespace}.{job.task}"
    events_logger.info("%-15s %s %s run %s%s%s", event.type, event.job_id, task, job.execution_count, told, failure)
