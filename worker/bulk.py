"""Running bulk operations to their end, in any process: those that it began, and those whose process is gone."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

from jobs.bulk import BulkOperation, BulkStatus
from storage.bulk import BulkWriter
from storage.clock import DatabaseClock
from storage.operations import Operations
from storage.signals import CONCERNS, Signals

logger = logging.getLogger("jobgate.bulk")

_LOOK_EVERY: Final = 1.0

MAX_HELD: Final = 10
"""Operations that one process moves on in turns: of more, some would not have their turn within their lease."""


class BulkRunner:
    """Moves operations on in turns, so that a short one does not wait for a long one to end."""

    def __init__(self, operations: Operations, writer: BulkWriter, signals: Signals, clock: DatabaseClock) -> None:
        self._operations = operations
        self._writer = writer
        self._signals = signals
        self._clock = clock
        self._running: deque[BulkOperation] = deque()

    async def run_once(self) -> float:
        """Move one operation on by a step; answer the seconds until the next look."""
        taken = await self._operations.take_over() if len(self._running) < MAX_HELD else None
        if taken is not None:
            self._running.append(taken)
        if not self._running:
            return _LOOK_EVERY
        # Whatever goes wrong with it, it is let go of: its lease runs out, and it is read anew.
        operation = self._running.popleft()
        moved = await self._writer.advance(operation, self._clock.now())
        if moved is None:
            return 0.0
        self._signals.wake(*CONCERNS[moved.action])
        if moved.status is BulkStatus.RUNNING:
            self._running.append(moved)
        else:
            logger.info("%s: %s of %s jobs changed, %s skipped", moved.id, moved.count, moved.matched, moved.skipped)
        return 0.0

    async def stop(self) -> None:
        """Let other processes go on at once. Raises ``StoreUnavailable``."""
        while self._running:
            await self._operations.release(self._running.popleft())
