"""Events: stored facts about one job, written with the transition that they tell of."""

from __future__ import annotations

from enum import StrEnum


class EventType(StrEnum):
    """What happened to a job. The values are the names that webhooks use."""

    JOB_SCHEDULED = "job.scheduled"
    JOB_QUEUED = "job.queued"
    JOB_STARTED = "job.started"
    JOB_PROGRESS = "job.progress"
    JOB_RETRYING = "job.retrying"
    JOB_COMPLETED = "job.completed"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    JOB_PAUSED = "job.paused"
    JOB_RESUMED = "job.resumed"
    JOB_RESCHEDULED = "job.rescheduled"
    JOB_DELETED = "job.deleted"
