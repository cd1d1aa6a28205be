"""Promoting: scheduled jobs whose time has come are queued. Any number of processes may do it at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from jobs.cron import CronError
from jobs.job import Job
from jobs.promotion import Promotion, promote
from storage.clock import DatabaseClock
from storage.jobs import JobReader
from storage.signals import Signals, Topic
from storage.transitions import JobWriter
from worker.unschedulable import pause_unschedulable

_BATCH: Final = 200
_LONGEST_PAUSE: Final = timedelta(seconds=1)
_SHORTEST_PAUSE: Final = timedelta(milliseconds=1)
_AFTER_NOTHING: Final = timedelta(milliseconds=200)


class Promoter:
    """Moves due jobs on, the oldest first, and nudges the workers about as many of them as may be outstanding."""

    def __init__(
        self, jobs: JobReader, writer: JobWriter, signals: Signals, clock: DatabaseClock, *, max_outstanding: int
    ) -> None:
        self._jobs = jobs
        self._writer = writer
        self._signals = signals
        self._clock = clock
        self._max_outstanding = max_outstanding

    async def run_once(self) -> float:
        """Promote one batch; answer the seconds until the next job comes due."""
        now, due = await self._jobs.due(_BATCH)
        moved = 0 if now is None else await self.promote(due, now)
        if moved and len(due) == _BATCH:
            return 0.0
        return (await self._pause(after_nothing=not moved)).total_seconds()

    async def promote(self, due: Sequence[Job], now: datetime) -> int:
        """Move jobs on that were found due at ``now``; answer how many were at least."""
        promotions = [(job, one) for job in due if (one := await self._promotion(job, now)) is not None]
        room = max(0, self._max_outstanding - self._signals.outstanding)
        nudges, moved = await self._writer.promote_many(promotions, nudged=room)
        self._signals.nudge(nudges)
        self._signals.wake(Topic.OUTBOX)
        if any(promotion.paced for _, promotion in promotions):
            self._signals.wake(Topic.MISSED)
        if len(nudges) < len(promotions):
            self._signals.wake(Topic.BACKLOG)
        return moved

    async def _promotion(self, job: Job, now: datetime) -> Promotion | None:
        try:
            return promote(job, now)
        except CronError as error:
            await pause_unschedulable(self._writer, job, error)
            return None

    async def _pause(self, *, after_nothing: bool) -> timedelta:
        next_due_at = await self._jobs.next_due_at()
        if next_due_at is None:
            return _LONGEST_PAUSE
        until = next_due_at - self._clock.now()
        # Something due that was not found due a moment ago, or could not be moved: look again, but not at once.
        shortest = _AFTER_NOTHING if until < -_AFTER_NOTHING and after_nothing else _SHORTEST_PAUSE
        return max(shortest, min(until, _LONGEST_PAUSE))
