"""Transitions as update pipelines: the new values, the event and the ended run, all in one fenced write.

Pipelines, because only the server knows the job's next event number, the revision and the time. Everything that
comes from outside goes in as ``$literal``: a string that starts with a dollar would be read as an expression otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jobs.events import EventType
from jobs.lifecycle import TERMINAL, JobStatus

Pipeline = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Expression:
    """A value that the server computes; everything else in an update is taken literally."""

    value: Any


NOW: Final = Expression("$$NOW")


@dataclass(frozen=True, slots=True)
class EndedRun:
    """How the current run ended, when the transition ends one that had been started."""

    status: JobStatus
    error: Mapping[str, Any] | Expression | None = None
    result: Any = None
    unless_running: bool = False
    """Whether a run that a worker is at goes on."""


def transition(
    values: Mapping[str, object],
    events: Sequence[EventType],
    *,
    actor: str | None = None,
    reason: str | None = None,
    origin: Mapping[str, Any] | None = None,
    ended: EndedRun | None = None,
    passed_over: Mapping[str, Any] | Expression | None = None,
) -> Pipeline:
    """The update that sets ``values`` (dotted paths allowed) and tells of it with ``events``, in this order.

    ``origin``: the field that says from where it was asked for, if anybody did (:func:`storage.origins.noted`).
    The first of them tells of the occurrences that are passed over; an expression for these sees the job as it was.
    """
    noted = {} if passed_over is None else _written({_SKIPS: passed_over})
    stages: Pipeline = [{"$set": {"before": _STANDING, "in_bulk": "$$REMOVE", **noted}}]
    if ended is not None:
        stages.append(_tally(ended))
    stages.append({"$set": {**_written(values), "revision": {"$add": ["$revision", 1]}, "updated_at": "$$NOW"}})
    stages.append({"$set": {"effective_at": _EFFECTIVE_AT}})
    asked = {"actor": {"$literal": actor}, "reason": {"$literal": reason}, **_written(origin or {})}
    entries = _announcement(events, asked, ends_run=ended is not None, skips=passed_over is not None)
    stages.append({"$set": entries})
    stages.append({"$unset": ["before", "ended", _SKIPS]})
    return stages


def in_bulk() -> dict[str, Any]:
    """A last stage, for a write to one of very many jobs: what it has to tell need not be told before what others have to.

    Unless the job has something to tell from before.
    """
    is_all = {"$eq": [{"$first": "$outbox.at"}, "$$NOW"]}
    return {"$set": {"in_bulk": {"$cond": [is_all, True, "$$REMOVE"]}}}


def first_outbox(
    events: Sequence[EventType], job: Mapping[str, Any], actor: str | None, origin: Mapping[str, Any]
) -> dict[str, Any]:
    """The outbox fields of a document that is about to be inserted: a new job is announced by its own insert."""
    entries = [
        {
            "seq": number,
            "type": event.value,
            "at": job["created_at"],
            "actor": actor,
            "reason": None,
            "execution": None,
            **{field: job[field] for field in ("status", "scheduled_at", "effective_at", "execution_count")},
            "error": None,
            "retry_count": job["retry_count"],
            "before": _NOT_THERE if number == 1 else None,
            **origin,
        }
        for number, event in enumerate(events, start=1)
    ]
    return {"outbox": entries, "event_seq": len(entries)}


_STANDING: Final = {"status": "$status", "retry_count": "$retry_count"}
"""How the job is counted in the statistics."""

_SKIPS: Final = "passed_over"

_NOT_THERE: Final = {"status": None, "retry_count": 0}

_EFFECTIVE_AT: Final = {
    "$cond": [{"$in": ["$status", sorted(status.value for status in TERMINAL)]}, "$completed_at", "$scheduled_at"]
}


def _written(values: Mapping[str, object]) -> dict[str, Any]:
    return {
        path: value.value if isinstance(value, Expression) else {"$literal": value} for path, value in values.items()
    }


def _tally(ended: EndedRun) -> dict[str, Any]:
    """Keep the run that is about to be cleared, and count it. A run that never started leaves no trace."""
    ends: dict[str, Any] = {"$gt": ["$run.started_at", None]}
    if ended.unless_running:
        ends = {"$and": [ends, {"$ne": ["$status", JobStatus.RUNNING.value]}]}
    count = f"tally.{ended.status.value}"
    return {
        "$set": {
            "ended": {"$cond": [ends, _execution(ended), None]},
            count: {"$add": [f"${count}", {"$cond": [ends, 1, 0]}]},
        }
    }


def _execution(ended: EndedRun) -> dict[str, Any]:
    return {
        "number": "$run.number",
        "scheduled_for": "$run.scheduled_for",
        "started_at": "$run.started_at",
        "completed_at": "$$NOW",
        "status": ended.status.value,
        "attempts": "$run.begun",
        "error": ended.error.value if isinstance(ended.error, Expression) else {"$literal": ended.error},
        "result": {"$literal": ended.result},
        "worker": "$run.worker",
    }


def _announcement(
    events: Sequence[EventType], asked: Mapping[str, Any], *, ends_run: bool, skips: bool
) -> dict[str, Any]:
    entries = [
        {
            "seq": {"$add": ["$event_seq", number]},
            "type": event.value,
            "at": "$$NOW",
            **asked,
            "execution": "$ended" if ends_run and number == 1 else None,
            "status": "$status",
            "scheduled_at": "$scheduled_at",
            "effective_at": "$effective_at",
            "execution_count": "$execution_count",
            "error": "$last_error",
            "retry_count": "$retry_count",
            # Of several events of one write, the first tells statistics how the job moved; the others find it there already.
            "before": "$before" if number == 1 else None,
            **({_SKIPS: f"${_SKIPS}"} if skips and number == 1 else {}),
            # The time of one write is one: only the first start of a run is at the time that it began.
            **({"begins_run": {"$eq": ["$run.started_at", "$$NOW"]}} if event is EventType.JOB_STARTED else {}),
        }
        for number, event in enumerate(events, start=1)
    ]
    return {
        "outbox": {"$concatArrays": ["$outbox", entries]},
        "event_seq": {"$add": ["$event_seq", len(entries)]},
    }
