"""Events of the log, from and to documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.events import EventType
from jobs.feed import JobEvent, Snapshot
from jobs.lifecycle import JobStatus
from jobs.occurrences import Cause, PassedOver
from storage.documents import Document, error_from_document
from storage.origins import origin_from_document


def event_from_document(document: Mapping[str, Any]) -> JobEvent:
    passed_over = _passed_over_from_document(document.get("passed_over"))
    return JobEvent(
        number=document["_id"],
        job_id=document["job_id"],
        seq=document["seq"],
        type=EventType(document["type"]),
        at=document["at"],
        actor=document["actor"],
        reason=document["reason"] or (None if passed_over is None else str(passed_over)),
        passed_over=passed_over,
        begins_run=document.get("begins_run", True),
        origin=origin_from_document(document.get("origin")),
        snapshot=_snapshot_from_document(document),
    )


def passed_over_to_document(passed: PassedOver) -> Document:
    return {"cause": passed.cause.value, "count": passed.count, "first": passed.first, "last": passed.last}


def _passed_over_from_document(document: Mapping[str, Any] | None) -> PassedOver | None:
    if document is None:
        return None
    return PassedOver(Cause(document["cause"]), document["count"], document["first"], document["last"])


def _snapshot_from_document(document: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        status=JobStatus(document["status"]),
        recurring=document["recurring"],
        namespace=document["namespace"],
        task=document["task"],
        product=document["product"],
        env=document["env"],
        tags=tuple(document["tags"]),
        scheduled_at=document["scheduled_at"],
        effective_at=document["effective_at"],
        execution_count=document["execution_count"],
        error=error_from_document(document["error"]),
        idempotency_key=document["idempotency_key"],
    )
