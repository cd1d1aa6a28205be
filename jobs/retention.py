"""How long what is over is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from jobs.lifecycle import JobStatus

RETENTION: Final = "retention"
"""Who deletes jobs that have been kept long enough: the actor of their last event."""

LEAST_DAYS_OF_EVENTS: Final = 0.05
"""72 minutes. A client that comes back after a deployment or a restart must find its cursor still there."""

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The age at which each kind is removed; None keeps it for ever.

    Jobs, operations and deliveries are as old as their end, executions as theirs, events and the audit as what they tell of.
    """

    completed: timedelta | None = None
    failed: timedelta | None = None
    cancelled: timedelta | None = None
    executions: timedelta | None = None
    events: timedelta | None = None
    operations: timedelta | None = None
    deliveries: timedelta | None = None
    audit: timedelta | None = None

    @property
    def jobs(self) -> Mapping[JobStatus, timedelta]:
        """The statuses whose jobs are removed, and the age at which they are."""
        ages = {
            JobStatus.COMPLETED: self.completed,
            JobStatus.FAILED: self.failed,
            JobStatus.CANCELLED: self.cancelled,
        }
        return {status: age for status, age in ages.items() if age is not None}


KEEP_ALL: Final = RetentionPolicy()


def why_deleted(status: JobStatus, age: timedelta) -> str:
    """The reason that the last event of a job gives which was kept for ``age``."""
    days = f"{age / _DAY:g}"
    return f"{status} jobs are kept for {days} {'day' if days == '1' else 'days'}"
