"""What it means that a handler had to be stopped, or stopped by itself at its last moment."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from jobs.decisions import TIMEOUT, Failed, Outcome, Released, Succeeded
from jobs.job import JobError
from worker.context import CancelReason
from worker.handlers import Verdict


def has_succeeded(handler: asyncio.Future[Verdict]) -> bool:
    """Whether a synchronous handler came to its end in its last seconds. An asynchronous one was interrupted."""
    return not isinstance(handler, asyncio.Task) and isinstance(handler.result(), Succeeded)


def is_overdue(timeout: timedelta | None, elapsed: float) -> bool:
    """Also of a handler that ended: one that blocks the loop ends before anybody could stop it."""
    return timeout is not None and elapsed >= timeout.total_seconds()


def outcome_of_stop(reason: CancelReason, timeout: timedelta | None, *, obeyed: bool) -> Outcome | None:
    match reason:
        case CancelReason.TIMEOUT:
            suffix = "" if obeyed else ", and ignored its cancellation"
            seconds = timeout.total_seconds() if timeout is not None else 0
            return Failed(JobError(TIMEOUT, f"the handler did not end within {seconds:g} s{suffix}"))
        case CancelReason.SHUTDOWN:
            return Released("the worker shut down")
        case CancelReason.OUT_OF_REACH if obeyed:
            # Three outages must not fail a run whose worker has lived through them all.
            return Released("the database was out of reach for too long")
        case CancelReason.CANCELLED | CancelReason.LEASE_LOST | CancelReason.OUT_OF_REACH:
            return None
