"""What a handler sees of its run."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from worker.progress import Throttle

MAX_MESSAGE: Final = 500


class CancelReason(StrEnum):
    """Why a handler is told to stop."""

    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    LEASE_LOST = "lease_lost"
    OUT_OF_REACH = "out_of_reach"
    """The database does not answer, and the lease is about to run out."""


class RunCancelled(Exception):
    """The run is to stop. Let it through: whatever the handler does now no longer counts."""

    def __init__(self, reason: CancelReason) -> None:
        self.reason = reason
        super().__init__(f"the run is to stop: {reason.value}")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of an attempt when it begins."""

    job_id: str
    namespace: str
    task: str
    product: str
    env: str
    execution: int
    attempt: int
    scheduled_for: datetime
    deadline: datetime | None


class TaskContext:
    """Handed to every handler as its first argument."""

    def __init__(self, facts: RunFacts, report: Callable[[float, str | None], Awaitable[None]]) -> None:
        self._facts = facts
        self._loop = asyncio.get_running_loop()
        self._throttle = Throttle(report, self._loop, others_before=facts.execution > 1 or facts.attempt > 1)
        self._cancel_reason: CancelReason | None = None

    @property
    def job_id(self) -> str:
        return self._facts.job_id

    @property
    def namespace(self) -> str:
        return self._facts.namespace

    @property
    def task(self) -> str:
        return self._facts.task

    @property
    def product(self) -> str:
        return self._facts.product

    @property
    def env(self) -> str:
        return self._facts.env

    @property
    def execution(self) -> int:
        """The number of the run among all runs of the job, from 1."""
        return self._facts.execution

    @property
    def attempt(self) -> int:
        """The number of the try within the run, from 1."""
        return self._facts.attempt

    @property
    def run_key(self) -> str:
        """The same for all attempts of a run, and for no other: an idempotency key for what the handler does elsewhere."""
        return f"{self.job_id}:{self.execution}"

    @property
    def fence(self) -> int:
        """Grows with every attempt: what a store that refuses stale writers compares."""
        return self._facts.attempt

    @property
    def scheduled_for(self) -> datetime:
        """When the run was due."""
        return self._facts.scheduled_for

    @property
    def deadline(self) -> datetime | None:
        """When the attempt times out; None when it never does."""
        return self._facts.deadline

    @property
    def cancel_reason(self) -> CancelReason | None:
        """Why the handler is to stop; None while it may go on."""
        return self._cancel_reason

    def check(self) -> None:
        """Raise :class:`RunCancelled` when the run is to stop: for long loops of synchronous handlers."""
        if self._cancel_reason is not None:
            raise RunCancelled(self._cancel_reason)

    async def progress(self, fraction: float, message: str | None = None) -> None:
        """Tell how far the run has come: ``fraction`` from 0 to 1. Told at most four times a second; the newest counts.

        Raises :class:`ValueError` for any other fraction.
        """
        self._throttle.put(_checked(fraction), _cut(message))
        # A handler that reports in a loop and awaits nothing else would keep everybody from running, and from stopping it.
        await asyncio.sleep(0)

    def report_progress(self, fraction: float, message: str | None = None) -> None:
        """The same as :meth:`progress`, for synchronous handlers: from any thread."""
        self._loop.call_soon_threadsafe(self._throttle.put, _checked(fraction), _cut(message))

    def cancel(self, reason: CancelReason) -> None:
        """Note that the run is to stop. For the worker."""
        self._cancel_reason = reason

    def close(self) -> None:
        """Report nothing more. For the worker."""
        self._throttle.close()


def _checked(fraction: float) -> float:
    if not math.isfinite(fraction) or not 0 <= fraction <= 1:
        raise ValueError(f"progress is a fraction from 0 to 1, not {fraction}")
    return float(fraction)


def _cut(message: str | None) -> str | None:
    return None if message is None else message[:MAX_MESSAGE].encode(errors="replace").decode()
