"""The relay: events leave the outboxes of jobs for the log. Leased to one process; fenced by the log's own numbers."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from jobs.events import EventType
from jobs.feed import JobEvent
from storage.leases import Lease
from storage.outbox import Deposed, Outbox
from storage.signals import Signals, Topic

logger = logging.getLogger("jobgate.relay")
events_logger = logging.getLogger("jobgate.events")

LEASE: Final = timedelta(seconds=3)
"""How long events wait at most when the process that relays them was killed."""

_RENEW_EVERY: Final = LEASE.total_seconds() / 3
_BATCH: Final = 200
_PAUSE: Final = 1.0
_FAILURES: Final = (EventType.JOB_RETRYING, EventType.JOB_FAILED)


class Relay:
    """One candidate for the relay. ``wanted`` tells whether this process should relay at all at the moment."""

    def __init__(self, outbox: Outbox, lease: Lease, signals: Signals, wanted: Callable[[], Awaitable[bool]]) -> None:
        self._outbox = outbox
        self._lease = lease
        self._signals = signals
        self._wanted = wanted
        self._renew_at = 0.0
        self._leads = False

    async def run_once(self) -> float:
        """Move what waits, if this process holds the lease; answer the seconds until the next look."""
        if time.monotonic() >= self._renew_at:
            await self._renew()
        if not self._leads:
            return _PAUSE
        try:
            events = await self._outbox.relay(_BATCH)
        except Deposed:
            logger.info("another relay has taken over")
            self._leads = False
            return _PAUSE
        if not events:
            return _PAUSE
        self._signals.wake(Topic.FEED)
        for event in events:
            _log(event)
        return 0.0

    async def stop(self) -> None:
        """Let another process take over at once."""
        if self._leads:
            self._leads = False
            await self._lease.release()

    async def _renew(self) -> None:
        renew_at = time.monotonic() + _RENEW_EVERY
        if not await self._wanted():
            await self.stop()
        else:
            self._leads = await self._lease.acquire()
        self._renew_at = renew_at if self._leads else time.monotonic() + _PAUSE


def _log(event: JobEvent) -> None:
    """One line an event: the relay sees each of them once, whoever made it."""
    job = event.snapshot
    told = f" – {event.reason}" if event.reason else ""
    failure = f" [{job.error.code}] {job.error.message:.200}" if job.error and event.type in _FAILURES else ""
    task = f"{job.namespace}.{job.task}"
    events_logger.info("%-15s %s %s run %s%s%s", event.type, event.job_id, task, job.execution_count, told, failure)
