"""The attempts that this process is running, and how each of them may be stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from jobs.job import Job, Run
from worker.context import CancelReason


class Attempt:
    """One claimed attempt of a run, from its claim until its outcome has been written."""

    def __init__(self, job: Job, run: Run, token: str, held_until: float) -> None:
        self.job = job
        self.run = run
        self.token = token
        self.held_until = held_until
        """By this process's monotonic clock: without a renewal by then, another worker may have the run."""
        self.stop_reason: CancelReason | None = None
        self._stopped = asyncio.Event()

    def stop(self, reason: CancelReason) -> None:
        """Have the handler stopped. The first reason counts."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self._stopped.set()

    async def stopped(self) -> None:
        """Wait until the handler is to be stopped."""
        await self._stopped.wait()


class Running:
    """All attempts of this process. Changed by the event loop only; the heartbeat's thread takes copies."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.cancellations = 0
        """How often this process was told that something is cancelled. That may be a run whose claim is not answered yet."""
        self._attempts: dict[str, Attempt] = {}
        self._reserved = 0
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._attempts)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._attempts.values()))

    @property
    def room(self) -> int:
        """How many attempts more this process may run, not counting claims under way."""
        return self.capacity - len(self._attempts)

    @property
    def is_full(self) -> bool:
        return self._reserved >= self.room

    def reserve(self) -> None:
        """Keep a place for a claim that is under way."""
        self._reserved += 1

    def unreserve(self) -> None:
        self._reserved -= 1
        self._changed.set()

    def add(self, attempt: Attempt) -> None:
        self._attempts[attempt.token] = attempt

    def remove(self, attempt: Attempt) -> None:
        del self._attempts[attempt.token]
        self._changed.set()

    def stop_all(self, reason: CancelReason) -> None:
        for attempt in self:
            attempt.stop(reason)

    async def wait_until_idle(self, timeout: float) -> bool:
        """Wait until nothing runs and no claim is under way; False when that takes longer than ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while self._attempts or self._reserved:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True
