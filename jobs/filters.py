"""The one filter language: the same conditions in lists, bulk operations, subscriptions and webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jobs.events import EventType
from jobs.feed import JobEvent, Snapshot
from jobs.json_values import JsonValue
from jobs.lifecycle import JobStatus
from jobs.origins import OriginFilter


@dataclass(frozen=True, slots=True)
class InputMatch:
    """Equality at a path within the input of a job: ``jobs.input_matches`` says what that means."""

    path: str
    """Keys with dots in between, such as ``user.id``."""
    equals: JsonValue


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Conditions combine with AND, the values of one condition with OR. None: no condition; empty: nothing matches."""

    ids: tuple[str, ...] | None = None
    status: tuple[JobStatus, ...] | None = None
    recurring: bool | None = None
    product: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None
    namespace: tuple[str, ...] | None = None
    task: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    """The job carries all of these."""
    from_: datetime | None = None
    """Half-open [from_, to): compared with ``completed_at`` of terminal jobs, with ``scheduled_at`` of others."""
    to: datetime | None = None
    error_code: tuple[str, ...] | None = None
    idempotency_key: str | None = None
    input: tuple[InputMatch, ...] | None = None
    """Each path is a condition of its own; several values for one path are alternatives."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted: of these types, about jobs that matched when the event happened, of this time and origin."""

    types: tuple[EventType, ...] | None = None
    jobs: JobFilter = JobFilter()
    from_: datetime | None = None
    """Half-open [from_, to): when it happened."""
    to: datetime | None = None
    origin: OriginFilter | None = None
    """Asked for by somebody, and by whom; None: also what nobody asked for."""

    def matches(self, event: JobEvent) -> bool:
        return (
            _among(self.types, event.type)
            and matches(self.jobs, event.job_id, event.snapshot)
            and _between(self.from_, self.to, event.at)
            and (self.origin is None or self.origin.matches(event.actor, event.origin))
        )


def matches(conditions: JobFilter, job_id: str, job: Snapshot) -> bool:
    """Whether a job with this id and state meets all conditions: what ``storage`` asks MongoDB, asked of a value.

    Events do not carry the input: a filter that asks for it matches none of them, and has to be refused before.
    """
    return (
        conditions.input is None
        and _among(conditions.ids, job_id)
        and _among(conditions.status, job.status)
        and (conditions.recurring is None or conditions.recurring == job.recurring)
        and _of_origin(conditions, job)
        and (conditions.tags is None or _all_of(conditions.tags, job.tags))
        and _between(conditions.from_, conditions.to, job.effective_at)
        and _among(conditions.error_code, job.error.code if job.error else None)
        and (conditions.idempotency_key is None or conditions.idempotency_key == job.idempotency_key)
    )


def _of_origin(conditions: JobFilter, job: Snapshot) -> bool:
    return (
        _among(conditions.product, job.product)
        and _among(conditions.env, job.env)
        and _among(conditions.namespace, job.namespace)
        and _among(conditions.task, job.task)
    )


def _all_of(wanted: tuple[str, ...], tags: tuple[str, ...]) -> bool:
    # To someone who deletes what matches, an empty list is a list that was not filled.
    return bool(wanted) and set(wanted) <= set(tags)


def _between(start: datetime | None, end: datetime | None, instant: datetime) -> bool:
    if start is not None and instant < start:
        return False
    return end is None or instant < end


def _among(wanted: tuple[object, ...] | None, value: object) -> bool:
    return wanted is None or value in wanted
