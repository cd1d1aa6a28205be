"""The heartbeat: a thread that renews the leases of this process's attempts, whatever the event loop is doing."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable
from datetime import timedelta

from jobs.errors import StoreUnavailable
from storage.heartbeats import LeaseKeeper
from worker.context import CancelReason
from worker.running import Attempt, Running

logger = logging.getLogger("jobgate.heart")


def why_it_ran_out(silence: float, lease: float) -> CancelReason:
    """Why a lease of so many seconds was not renewed, when the latest beat began ``silence`` seconds ago.

    Between two of them lie a third of the lease, and the quarter that a call may take. While they come, it is the database that
    does not answer in time. Else this process stood still, perhaps for what the handler does: then it counts as lost, for
    a run that brings every worker to a standstill has to end.
    """
    return CancelReason.OUT_OF_REACH if silence < lease * 2 / 3 else CancelReason.LEASE_LOST


class Heart:
    """Beats three times a lease, and at once when it is poked. What it finds lost is stopped.

    When the database does not answer, an attempt whose lease is running out by this process's own clock is stopped as
    well: by then another worker may have been given the run. The event loop sees to that, since the thread may be stuck
    in a call that is not answered.
    """

    def __init__(self, keeper: LeaseKeeper, running: Running, lease: timedelta) -> None:
        self._keeper = keeper
        self._running = running
        self._lease = lease
        self._poked = threading.Event()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fence: asyncio.Task[None] | None = None
        self._every = lease.total_seconds() / 3
        self._beat_at = 0.0
        """When the latest beat began."""
        self._thread = threading.Thread(target=self._beat_for_ever, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._fence = asyncio.create_task(self._fence_for_ever(), name="fence")
        self._thread.start()

    def poke(self) -> None:
        """Beat now: something may have been cancelled."""
        self._poked.set()

    async def stop(self) -> None:
        self._stopping = True
        if self._fence is not None:
            self._fence.cancel()
        self._poked.set()
        await asyncio.to_thread(self._thread.join, 5)
        self._keeper.close()

    def _beat_for_ever(self) -> None:
        pause = self._every
        while not self._stopping:
            self._poked.wait(pause)
            self._poked.clear()
            try:
                pause = self._beat()
            except Exception:
                # The thread must live: without it every lease of this process runs out.
                logger.exception("a heartbeat failed")

    def _beat(self) -> float:
        """Renew once; answer the seconds until the next time."""
        self._beat_at = time.monotonic()
        attempts = {attempt.token: attempt for attempt in self._running}
        if not attempts:
            return self._every
        asked_at = time.monotonic()
        try:
            renewal = self._keeper.renew({token: one.job.id for token, one in attempts.items()})
        except StoreUnavailable as error:
            logger.warning("leases were not renewed: %s", error)
            return self._every / 10
        for token in renewal.held:
            attempts[token].held_until = asked_at + self._lease.total_seconds()
        lost = {token: one for token, one in attempts.items() if token not in renewal.held}
        self._stop([lost.pop(token) for token in renewal.cancelled], CancelReason.CANCELLED)
        self._stop(lost.values(), CancelReason.LEASE_LOST)
        return self._every

    async def _fence_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._every / 10)
            for attempt in self._running:
                if self._is_running_out(attempt):
                    attempt.stop(why_it_ran_out(time.monotonic() - self._beat_at, self._lease.total_seconds()))

    def _is_running_out(self, attempt: Attempt) -> bool:
        margin = self._lease.total_seconds() / 6
        return time.monotonic() > attempt.held_until - margin

    def _stop(self, attempts: Iterable[Attempt], reason: CancelReason) -> None:
        for attempt in attempts:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(attempt.stop, reason)
