"""Recurring jobs whose rule is no longer understood: after an upgrade, a zone may be gone or a cron be refused."""

from __future__ import annotations

import logging

from jobs.cron import CronError
from jobs.job import Job
from storage.transitions import JobWriter

logger = logging.getLogger("jobgate.unschedulable")


async def pause_unschedulable(writer: JobWriter, job: Job, error: CronError) -> None:
    """Have such a job rest, with the reason, until somebody reschedules it; it must not stand in the way of the others.

    One that has changed since it was read is left alone: somebody may just have given it a schedule that can be followed.
    Raises ``StoreUnavailable``.
    """
    reason = f"its schedule can no longer be followed: {error}"
    if await writer.pause_unchanged(job, reason=reason) is not None:
        logger.error("job %s was paused: %s", job.id, reason)
