"""The relay: events leave the outboxes of jobs for the log, and from there are counted in the statistics.

Leased to one process; fenced by the log's own numbers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
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

_AFTER_OUTAGE: Final = 0.5
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
        self._look_at = 0.0
        """When to look whatever was told: what was not, such as in an election, waits until then."""
        self._leads = False
        self._counting: asyncio.Task[None] | None = None
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
            await self._rest()
            return _PAUSE
        try:
            events = await self._advance()
        except Deposed:
            logger.info("another relay has taken over")
            self._leads = False
            return _PAUSE
        except StoreUnavailable:
            # What has called is forgotten, and to be found by looking.
            self._look_at = 0.0
            raise
        for event in events:
            _log(event)
        now = time.monotonic()
        # What is due by then is not put off until there is news, which would wait for it.
        return min(self._count_beside(now=now, quiet=not events), max(min(self._renew_at, self._look_at) - now, 0.0))

    async def _advance(self) -> list[JobEvent]:
        """What a job has just called for comes first, unless looking has been put off by such for too long."""
        called = await self._outbox.advance_called(self._told)
        now = time.monotonic()
        if called is not None and now < self._look_at + (_PAUSE if called else 0):
            return called
        found = await self._outbox.advance(_BATCH, self._told)
        self._look_at = 0.0 if found else now + _PAUSE
        if not found:
            self._outbox.follow()
        return [*(called or ()), *found]

    async def finish(self) -> None:
        """Move what waits by now, and stop."""
        # First, since the rest may fail, or take longer than there is time: nothing may be left that uses the client.
        await self._outbox.unfollow()
        try:
            while self._leads and (events := await self._outbox.advance(_BATCH, self._told)):
                for event in events:
                    _log(event)
        except Deposed:
            self._leads = False
        await self.stop()

    async def _rest(self) -> None:
        await self._outbox.unfollow()
        with suppress(StoreUnavailable):
            await self._outbox.settle()

    async def stop(self) -> None:
        """End what is under way, and let another process take over at once."""
        leads, self._leads = self._leads, False
        if self._counting is not None:
            await self._counting
        try:
            await self._outbox.unfollow()
            await self._outbox.settle()
        finally:
            if leads:
                await self._lease.release()

    def _told(self) -> None:
        self._uncounted = True
        self._quiet_from = time.monotonic() + _QUIET
        self._signals.wake(Topic.FEED)

    def _count_beside(self, *, now: float, quiet: bool) -> float:
        """Have what is not counted yet be counted, if it is time to; answer the seconds until the next look.

        Beside the relaying: what is to be told next does not wait for it.
        """
        counts = self._counting is not None and not self._counting.done()
        due = self._quiet_from if quiet else self._count_at
        if self._uncounted and not counts and now >= max(due, self._broken_until):
            self._count_at = now + _COUNT_EVERY
            self._uncounted = False
            self._counting = asyncio.create_task(self._count(), name="statistics")
            counts = True
        if not quiet:
            return 0.0
        if counts:
            return _QUIET
        return min(max(due, self._broken_until) - now, _PAUSE) if self._uncounted else _PAUSE

    async def _count(self) -> None:
        try:
            while await self._projection.fold():
                pass
        except StoreUnavailable as error:
            logger.warning("counting: %s", error)
            self._count_again_after(_AFTER_OUTAGE)
        except Exception:
            # A defect of the statistics must not hold up the log, which subscribers wait for.
            logger.exception("counting failed")
            self._count_again_after(_AFTER_DEFECT)

    def _count_again_after(self, seconds: float) -> None:
        self._uncounted = True
        self._broken_until = time.monotonic() + seconds

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
