"""What jobs have to tell, as values: from the entries of their outboxes to events of the log and records of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from storage.documents import Document

_ORIGIN: Final = ("namespace", "task", "product", "env", "tags")
EVENT_FIELDS: Final = dict.fromkeys(
    (*_ORIGIN, "outbox", "in_bulk", "recurrence.kind", "idempotency.key", "deleted_at"), 1
)
_TOLD: Final = (
    "seq",
    "type",
    "at",
    "actor",
    "reason",
    "status",
    "scheduled_at",
    "effective_at",
    "execution_count",
    "error",
)
_AT_TIMES: Final = ("passed_over", "begins_run", "origin")
"""What only some events tell."""

_COUNTED: Final = ("number", "status", "scheduled_for", "started_at", "completed_at")

WAITING: Final = {"outbox.0": {"$exists": True}}
"""The jobs that have something to tell: with the index "outbox" as the hint."""


def untold(jobs: Sequence[Document], told: Mapping[str, int]) -> list[Document]:
    """The jobs with those of their events that were not moved a moment ago; without those that have no others."""
    left = [
        {**job, "outbox": [entry for entry in job["outbox"] if entry["seq"] > told.get(job["_id"], 0)]} for job in jobs
    ]
    return [job for job in left if job["outbox"]]


def in_order(jobs: Sequence[Document]) -> list[Document]:
    """All events by time; those of one job by their number, even where the database's clock went backwards."""
    keyed = [keyed for job in jobs for keyed in _keyed(job)]
    return [event for *_, event in sorted(keyed, key=lambda key: key[:3])]


def _keyed(job: Document) -> Iterator[tuple[Any, str, int, Document]]:
    latest = job["outbox"][0]["at"]
    for entry in job["outbox"]:
        latest = max(latest, entry["at"])
        yield latest, job["_id"], entry["seq"], event_of(job, entry)


def event_of(job: Document, entry: Mapping[str, Any]) -> Document:
    """The event that an entry of a job's outbox becomes in the log, but for its number there."""
    return {
        "job_id": job["_id"],
        **{field: entry[field] for field in _TOLD},
        **{field: job[field] for field in _ORIGIN},
        **_counted(entry),
        "recurring": "recurrence" in job and bool(job["recurrence"]),
        "idempotency_key": (job.get("idempotency") or {}).get("key"),
        **{name: entry[name] for name in _AT_TIMES if entry.get(name) is not None},
    }


def _counted(entry: Mapping[str, Any]) -> Document:
    """What statistics need to know; an entry that an older version wrote has nothing to tell them."""
    run = entry["execution"]
    return {
        "retry_count": entry.get("retry_count", 0),
        "before": entry.get("before"),
        "run": None if run is None else {field: run[field] for field in _COUNTED},
    }


def record_of(job: Document, run: Mapping[str, Any]) -> Document:
    return {"job_id": job["_id"], "recurring": bool(job.get("recurrence")), **run}
