"""The job as a value: what one document of the collection ``jobs`` says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from jobs.json_values import JsonValue
from jobs.lifecycle import Action, JobStatus, allowed_actions
from jobs.recurrence import Recurrence
from jobs.retries import RetryPolicy
from jobs.secret_inputs import SealedPart


@dataclass(frozen=True, slots=True)
class JobError:
    """Why an attempt failed. ``code`` is what retry policies match, ``message`` is for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Run:
    """The current execution: from the moment that its occurrence is taken until its last attempt has ended."""

    number: int
    attempt: int
    """Tries begun, or about to begin: grows with every retry and every lost lease, never with a release."""
    failures: int
    """Attempts that failed by themselves; what the retry budget is compared with."""
    expiries: int
    """Leases that ran out. A lost worker spends no retry, but three of them fail the run."""
    scheduled_for: datetime
    begun: int = 0
    """Attempts that a worker has begun."""
    started_at: datetime | None = None
    token: str | None = None
    worker: str | None = None
    lease_until: datetime | None = None
    nudges: int = 0
    manual: bool = False
    """A caller asked for it: it is no occurrence of a schedule."""
    paced: bool = False
    """It makes up for an occurrence that was missed: a product has only so many of these under way at a time."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The caller's key and the hash of the request that first used it."""

    key: str
    request_hash: str


@dataclass(frozen=True, slots=True)
class Note:
    """Who asked for a transition, when and why."""

    at: datetime
    by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many runs of a job have ended, by how they ended: over its whole life, also of those since pruned."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.completed + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Job:
    """One stored unit of work. Instants are aware, in UTC and whole milliseconds."""

    id: str
    namespace: str
    task: str
    product: str
    env: str
    tags: tuple[str, ...]
    priority: int
    input: JsonValue
    """Without its secrets: at their places stands :data:`jobs.secret_inputs.MASK`."""
    timeout: timedelta | None
    retries: int
    retry_policy: RetryPolicy
    status: JobStatus
    recurrence: Recurrence | None
    scheduled_at: datetime
    next_run_at: datetime | None
    created_at: datetime
    updated_at: datetime
    execution_count: int = 0
    retry_count: int = 0
    tally: Tally = Tally()
    revision: int = 1
    run: Run | None = None
    catch_up_until: datetime | None = None
    """Occurrences up to this instant are run however late they are: missed ones that are being made up for, or one that came
    due during a run and was promised to be run right after."""
    paced: bool = False
    """Its next occurrence is one of those being made up for, which are taken up as the pace of the product allows."""
    decided_until: datetime | None = None
    """Set by a pause and by a new schedule: up to this instant no occurrence is still to be decided about."""
    started_at: datetime | None = None
    completed_at: datetime | None = None
    result: JsonValue = None
    last_error: JobError | None = None
    progress: float | None = None
    progress_message: str | None = None
    idempotency: Idempotency | None = None
    cancelled: Note | None = None
    paused: Note | None = None
    """Set while the job is paused, and from the moment that a running one is told to be once its run has ended."""
    secrets: tuple[SealedPart, ...] = ()
    """What the input holds at the places of its secrets."""
    steered: int = 0
    """Counts the changes that callers made to what comes after the current run: a decision about that holds for one count."""

    @property
    def is_recurring(self) -> bool:
        return self.recurrence is not None

    def decided_until_at_least(self, instant: datetime) -> datetime:
        """``instant``, up to which everything is decided, or what was decided further by a pause or a new schedule."""
        return instant if self.decided_until is None else max(instant, self.decided_until)

    @property
    def allowed_actions(self) -> tuple[Action, ...]:
        """What a caller may do to it now."""
        return allowed_actions(self.status, recurring=self.is_recurring, pausing=self.paused is not None)


@dataclass(frozen=True, slots=True)
class Execution:
    """One run that ended, first attempt to last."""

    job_id: str
    number: int
    scheduled_for: datetime
    started_at: datetime
    completed_at: datetime
    status: JobStatus
    """``completed``, ``failed`` or ``cancelled``."""
    attempts: int
    error: JobError | None
    result: JsonValue
    worker: str | None

    @property
    def duration(self) -> timedelta:
        return self.completed_at - self.started_at
