"""Webhooks: which events one is told of and in which words, and what becomes of a delivery. ``mission/semantics.md`` §7."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jobs.access import shortened
from jobs.events import EventType
from jobs.feed import JobEvent, Snapshot
from jobs.filters import JobFilter, matches
from jobs.lifecycle import JobStatus
from jobs.times import EPOCH

WEBHOOK_PREFIX: Final = "wh_"
DELIVERY_PREFIX: Final = "dlv_"

FAILING_FOR: Final = timedelta(days=5)
"""A webhook that has only failed for so long is switched off."""

RETRIES: Final = tuple(
    timedelta(seconds=seconds) for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600)
)
"""How long to wait after the first failure, the second, and so on; after the last the delivery is dead."""


@dataclass(frozen=True, slots=True)
class DeliveryTerms:
    """How patient deliveries are. ``timeout``: what a receiver may take to answer, from resolving its name to the end."""

    timeout: timedelta = timedelta(seconds=15)
    retries: tuple[timedelta, ...] = RETRIES


PATIENT: Final = DeliveryTerms()
"""As Standard Webhooks proposes."""

_LONGEST_WAIT: Final = timedelta(days=1)
_GONE: Final = 410


class DeliveryStatus(StrEnum):
    """What has become of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that is told of events. ``product`` and ``env``: of jobs in these only; None: of jobs in any."""

    id: str
    url: str
    events: tuple[EventType, ...]
    filter: JobFilter
    product: str | None
    env: str | None
    since: int
    """The feed number of the newest event when it was set: it is told of those behind it."""
    created_at: datetime
    enabled: bool = True
    disabled_reason: str | None = None
    payloads: bool = True
    """Whether it is told errors as they are: as whoever set it might read them."""


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt at a delivery: what was answered, or why nothing was."""

    at: datetime
    duration: timedelta
    status: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one webhook."""

    id: str
    webhook_id: str
    event: EventType
    job_id: str
    status: DeliveryStatus
    tries: int
    """How often it has failed since it was due, or was last asked for again."""
    attempts: tuple[Try, ...]
    next_attempt_at: datetime | None
    created_at: datetime
    reason: str | None = None
    """Why it is dead."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a delivery after an attempt, and whether its webhook is to be switched off, and why."""

    status: DeliveryStatus
    next_attempt_at: datetime | None = None
    reason: str | None = None
    disables: str | None = None
    failing_since: datetime | None = None
    """The webhook is to be switched off only if it has failed since then without a break; None: in any case."""


_TOLD_AS: Final[Mapping[EventType, EventType]] = MappingProxyType(
    {EventType.JOB_RETRYING: EventType.JOB_SCHEDULED, EventType.JOB_RESCHEDULED: EventType.JOB_SCHEDULED}
)
"""A delayed retry and a new schedule are both another time at which a job is scheduled."""

_OUTCOMES: Final[Mapping[EventType, JobStatus]] = MappingProxyType(
    {
        EventType.JOB_SCHEDULED: JobStatus.SCHEDULED,
        EventType.JOB_STARTED: JobStatus.RUNNING,
        EventType.JOB_COMPLETED: JobStatus.COMPLETED,
        EventType.JOB_FAILED: JobStatus.FAILED,
    }
)
"""What such an event speaks of, whatever the job turns to next: a recurring one is scheduled again at once."""


def told_as(webhook: Webhook, event: JobEvent) -> EventType | None:
    """Under which name a webhook is told of an event; None when it is not."""
    if event.number <= webhook.since or not _is_about(webhook, event.job_id, event.snapshot):
        return None
    if event.type is EventType.JOB_STARTED and not event.begins_run:
        return None
    names = (event.type, _TOLD_AS.get(event.type))
    return next((name for name in names if name in webhook.events), None)


def _is_about(webhook: Webhook, job_id: str, job: Snapshot) -> bool:
    return (
        webhook.product in (None, job.product)
        and webhook.env in (None, job.env)
        and matches(webhook.filter, job_id, job)
    )


def body_of(name: EventType, event: JobEvent, *, payloads: bool) -> str:
    """What is sent: the job as it was when the event happened, as JSON. Times are milliseconds since the epoch.

    Without ``payloads`` no more than the code of an error is told.
    """
    job = event.snapshot
    told: dict[str, object] = {
        "id": event.job_id,
        "status": _OUTCOMES.get(name, job.status).value,
        "namespace": job.namespace,
        "task": job.task,
        "product": job.product,
        "env": job.env,
        "scheduled_at": _milliseconds(job.scheduled_at),
        "execution_count": job.execution_count,
    }
    if name is EventType.JOB_FAILED and job.error is not None:
        told["error"] = {"code": job.error.code, "message": job.error.message if payloads else shortened(job.error)}
    message = {"event": name.value, "timestamp": _milliseconds(event.at), "job": told}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def judge(
    tries: int, last: Try, failing_since: datetime | None, *, draw: float, retries: Sequence[timedelta] = RETRIES
) -> Verdict:
    """What becomes of a delivery that has failed ``tries`` times before; ``draw`` is a random number in [0, 1).

    ``failing_since``: since when its webhook has only failed; None when it has not.
    """
    if last.succeeded:
        return Verdict(DeliveryStatus.DELIVERED)
    if last.status == _GONE:
        return Verdict(DeliveryStatus.DEAD, reason="the receiver is gone (410)", disables="it answered 410 Gone")
    disables = None
    if failing_since is not None and last.at - failing_since >= FAILING_FOR:
        disables = f"it has failed for {FAILING_FOR.days} days"
    if tries >= len(retries) or disables:
        reason = f"failed {tries + 1} times, last: {_why(last)}"
        since = failing_since if disables else None
        return Verdict(DeliveryStatus.DEAD, reason=reason, disables=disables, failing_since=since)
    # Spread by a tenth either way, so that what failed together does not come back together.
    wait = retries[tries] * (0.9 + 0.2 * draw)
    asked = min(last.retry_after or timedelta(0), _LONGEST_WAIT)
    return Verdict(DeliveryStatus.PENDING, next_attempt_at=last.at + last.duration + max(wait, asked))


def _why(last: Try) -> str:
    return last.error or f"it answered {last.status}"


def _milliseconds(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(milliseconds=1)
