"""The one filter language: the same conditions in lists, bulk operations, subscriptions and webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jobs.events import EventType
from jobs.feed import Snapshot
from jobs.json_values import JsonValue
from jobs.lifecycle import JobStatus


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
    """Which events a subscriber wants: of these types, about jobs that matched when the event happened."""

    types: tuple[EventType, ...] | None = None
    jobs: JobFilter = JobFilter()

    def matches(self, type_: EventType, job_id: str, snapshot: Snapshot) -> bool:
        return _among(self.types, type_) and matches(self.jobs, job_id, snapshot)


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
        and _within(conditions, job.effective_at)
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


def _within(conditions: JobFilter, instant: datetime) -> bool:
    if conditions.from_ is not None and instant < conditions.from_:
        return False
    return conditions.to is None or instant < conditions.to


def _among(wanted: tuple[object, ...] | None, value: object) -> bool:
    return wanted is None or value in wanted
