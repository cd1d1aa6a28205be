"""The event log as values: an event with the state of its job at that moment, and the cursor that leads behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jobs.cursors import decode_cursor, encode_cursor
from jobs.events import EventType
from jobs.job import JobError
from jobs.lifecycle import JobStatus
from jobs.occurrences import PassedOver
from jobs.origins import Origin


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was true of the job once the event had happened: all that a filter or a webhook may ask about."""

    status: JobStatus
    recurring: bool
    namespace: str
    task: str
    product: str
    env: str
    tags: tuple[str, ...]
    scheduled_at: datetime
    effective_at: datetime
    execution_count: int
    error: JobError | None
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One fact of the log."""

    number: int
    """Its place in the feed: dense, from 1, in the order of commits for each job."""
    job_id: str
    seq: int
    """Numbers the events of one job: 1, 2, 3 … without a gap."""
    type: EventType
    at: datetime
    actor: str | None
    reason: str | None
    snapshot: Snapshot
    passed_over: PassedOver | None = None
    """Occurrences that the job passed over with this."""
    begins_run: bool = True
    """Of a start: whether it is the first of its run, and not another attempt."""
    origin: Origin | None = None
    """From where and by what the actor asked for it; None for what nobody asked for. For the scope ``admin`` alone."""

    @property
    def cursor(self) -> str:
        return feed_cursor(self.number)


def feed_cursor(number: int) -> str:
    """The cursor that leads behind the event with this feed number; 0 leads before the first."""
    return encode_cursor(["feed", number])


def feed_number(cursor: str) -> int:
    """The feed number that a cursor speaks of. Raises :class:`jobs.errors.BadCursor` for anything else."""
    return decode_cursor(cursor, "feed", _as_number)


def last_missing(numbers: Sequence[int], after: int) -> int | None:
    """The highest number behind ``after`` that should be among those of a passage, but is not; None when there is no gap.

    The feed is dense: a number is missing when events were pruned before they were read.
    """
    if not numbers or numbers[-1] - after == len(numbers):
        return None
    before = (after, *numbers[:-1])
    return max(number - 1 for number, last in zip(numbers, before, strict=True) if number > last + 1)


def _as_number(parts: Sequence[object]) -> int | None:
    match parts:
        case [int(number)] if not isinstance(number, bool) and 0 <= number < 2**63:
            return number
    return None
