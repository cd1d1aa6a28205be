"""One action on all jobs that match a filter: what was asked for, how far it is, and what it makes of each job."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Final

from jobs.errors import InvalidInput, Issue
from jobs.filters import JobFilter
from jobs.job import Job
from jobs.lifecycle import Action
from jobs.origins import Origin
from jobs.steering import Change, check_delay, resume, retry

ID_PREFIX: Final = "op_"
"""What the ids of bulk operations begin with, and those of nothing else."""


class BulkStatus(StrEnum):
    """How far a bulk operation is."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """What a caller asks for: ``action`` on each job that meets ``conditions`` now."""

    action: Action
    conditions: JobFilter
    reason: str | None = None
    delay_ms: int = 0
    """Of a retry: how long each job waits before it runs."""
    dry_run: bool = False
    """Count, and change nothing."""


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """A request that was accepted. The jobs that matched then are the ones that it is about, whatever they become."""

    id: str
    action: Action
    status: BulkStatus
    matched: int
    count: int
    """Jobs that were changed; of a dry run, those that would have been."""
    skipped: int
    """Jobs that were looked at and not changed: their status forbade the action, or there was nothing left to do."""
    dry_run: bool
    reason: str | None
    actor: str | None
    delay_ms: int
    created_at: datetime
    completed_at: datetime | None
    origin: Origin | None = None
    """From where and by what the actor asked for it: the events of its jobs carry it."""

    @property
    def position(self) -> int:
        """How many of the matched jobs were looked at."""
        return self.count + self.skipped


def check_request(request: BulkRequest) -> None:
    """Raise :class:`InvalidInput` for a filter without a condition, or a delay that no retry may have."""
    if request.conditions == JobFilter():
        raise InvalidInput([Issue(("filter",), f"give at least one of {_CONDITIONS}: without any, every job is meant")])
    check_delay(request.delay_ms)


def change_of(operation: BulkOperation, job: Job, now: datetime) -> Change:
    """What resuming or retrying makes of a job whose status allows it.

    Not before the job's last change, by whosever clock: an occurrence that was taken must not be found again.
    """
    now = max(now, job.updated_at)
    return resume(job, now) if operation.action is Action.RESUME else retry(job, operation.delay_ms, now)


_PUBLIC_NAMES = {"from_": "from", "error_code": "errorCode", "idempotency_key": "idempotencyKey"}
_CONDITIONS = ", ".join(_PUBLIC_NAMES.get(field.name, field.name) for field in fields(JobFilter))
