"""What changes the course of a job writes to its document: the filter that fences each change and the update, as values."""

from __future__ import annotations

from typing import Final

from jobs.job import Job
from jobs.lifecycle import RULES, Action, JobStatus
from jobs.occurrences import Cause
from jobs.origins import Origin
from jobs.recheck import Correction
from jobs.steering import Change
from storage.documents import Document, recurrence_to_document, run_to_document
from storage.filters import LIVING
from storage.indexes import IS_RECURRING
from storage.job_updates import sources_of, told
from storage.origins import noted
from storage.updates import NOW, EndedRun, Expression, Pipeline, transition

_STEER = Expression({"$add": ["$steered", 1]})
_RUNS = {"$eq": ["$status", JobStatus.RUNNING.value]}
_HAS_BEGUN = {"$gt": ["$run.started_at", None]}
_CLOSES = {"$and": [_HAS_BEGUN, {"$ne": ["$status", JobStatus.RUNNING.value]}]}
"""Whether there is a run that has begun and waits for its next attempt: pausing closes it."""

_INTERRUPTED = {"code": "INTERRUPTED", "message": "the job was paused before the next attempt"}
_CLOSING_ERROR = {"$cond": [{"$gt": ["$run.failures", 0]}, "$last_error", _INTERRUPTED]}

_MARKS_KEPT: Final = 8
"""A mark is looked for within seconds: others do not steer the same job so often meanwhile that it is pushed out."""

_IS_BETWEEN_RUNS = {"$eq": [{"$ifNull": ["$run", None]}, None]}
_IS_MANUAL = {"$eq": ["$run.manual", True]}
_DECIDED_UNTIL = Expression(
    {
        "$cond": [
            _IS_BETWEEN_RUNS,
            {"$subtract": ["$next_run_at", 1]},
            {"$cond": [_IS_MANUAL, "$$NOW", {"$max": ["$run.scheduled_for", "$decided_until"]}]},
        ]
    }
)
"""Every occurrence up to here was run, or passed over, or is with this very write. Instants are whole milliseconds."""

_TAKEN_BACK = Expression(
    {
        "$cond": [
            {"$or": [_IS_BETWEEN_RUNS, _HAS_BEGUN, _IS_MANUAL]},
            None,
            {
                "cause": Cause.PAUSED.value,
                "count": 1,
                "first": "$run.scheduled_for",
                "last": "$run.scheduled_for",
            },
        ]
    }
)
"""The occurrence whose run waits for a worker that is to begin it."""


def steerable(action: Action) -> Document:
    """The jobs that an action changes: not those in another status, and not those that it has changed already."""
    wanted: Document = {"status": sources_of(action), **LIVING}
    if action is Action.PAUSE:
        # A running job stays running: that it was told to pause is what its note tells.
        wanted |= {**IS_RECURRING, "paused": None}
    return wanted


def cancel_update(actor: str | None, reason: str | None, origin: Origin | None = None) -> Pipeline:
    """Over at once; whatever a worker is still at no longer counts."""
    values: dict[str, object] = {
        "status": JobStatus.CANCELLED.value,
        "next_run_at": None,
        "completed_at": NOW,
        "cancelled": _note(actor, reason),
        "run": None,
    }
    ended = EndedRun(JobStatus.CANCELLED)
    event = RULES[Action.CANCEL].event
    return transition(values, [event], actor=actor, reason=reason, origin=noted(origin), ended=ended)


def pause_update(actor: str | None, reason: str | None, origin: Origin | None = None) -> Pipeline:
    """A run that a worker is at goes on; one that waits is taken back, and recorded as failed if it had begun."""
    values: dict[str, object] = {
        "status": Expression({"$cond": [_RUNS, "$status", JobStatus.PAUSED.value]}),
        "next_run_at": None,
        "catch_up_until": None,
        "paced": None,
        "decided_until": _DECIDED_UNTIL,
        "paused": _note(actor, reason),
        "run": Expression({"$cond": [_RUNS, "$run", None]}),
        "completed_at": Expression({"$cond": [_CLOSES, "$$NOW", "$completed_at"]}),
        "last_error": Expression({"$cond": [_CLOSES, _CLOSING_ERROR, "$last_error"]}),
        "result": Expression({"$cond": [_CLOSES, None, "$result"]}),
        "steered": _STEER,
    }
    ended = EndedRun(JobStatus.FAILED, Expression(_CLOSING_ERROR), unless_running=True)
    return transition(
        values,
        [RULES[Action.PAUSE].event],
        actor=actor,
        reason=reason,
        origin=noted(origin),
        ended=ended,
        passed_over=_TAKEN_BACK,
    )


def delete_update(actor: str | None, reason: str | None = None, origin: Origin | None = None) -> Pipeline:
    """A tombstone that no read shows; the relay removes it once its event is in the log."""
    event = RULES[Action.DELETE].event
    return transition({"deleted_at": NOW}, [event], actor=actor, reason=reason, origin=noted(origin))


def unchanged_since(job: Job, action: Action) -> Document:
    """The change was decided from the job at this revision: it holds for no other."""
    return {"_id": {"$eq": job.id}, "revision": {"$eq": job.revision}, "status": sources_of(action), **LIVING}


def change_update(change: Change, actor: str | None, origin: Origin | None = None) -> Pipeline:
    """A change that was decided from the job as it was."""
    values: dict[str, object] = {
        "status": change.status.value,
        "next_run_at": change.next_run_at,
        "catch_up_until": change.catch_up_until,
        "paced": change.paced or None,
        "decided_until": change.decided_until,
        "retry_count": change.retry_count,
        "recurrence": None if change.recurrence is None else recurrence_to_document(change.recurrence),
        "steered": _STEER,
        **_due(change),
    }
    if change.status is not JobStatus.RUNNING:
        values["run"] = None if change.run is None else run_to_document(change.run)
    if change.action is Action.RESUME:
        values["paused"] = None
    if change.status is JobStatus.COMPLETED:
        values["completed_at"] = NOW
    skipped = told(change.passed_over)
    return transition(values, change.events, actor=actor, origin=noted(origin), passed_over=skipped)


def correction_update(job: Job, correction: Correction) -> Pipeline:
    """Another next instant for ``job``. It counts as steered: what a worker decided from the old one holds no longer."""
    values: dict[str, object] = {"next_run_at": correction.next_run_at, "steered": _STEER}
    if job.status is JobStatus.SCHEDULED:
        values["scheduled_at"] = correction.next_run_at
    return transition(values, [RULES[Action.RECHECK].event], reason=correction.reason)


def not_marked(mark: str) -> Document:
    """The change that leaves ``mark`` has not taken place."""
    return {"marks": {"$ne": mark}}


def marked(mark: str) -> Document:
    """A stage that leaves ``mark``: whoever was not told whether the change took place finds it, and does not do it twice."""
    marks = {"$concatArrays": [{"$ifNull": ["$marks", []]}, [{"$literal": mark}]]}
    return {"$set": {"marks": {"$slice": [marks, -_MARKS_KEPT]}}}


def _due(change: Change) -> dict[str, object]:
    if change.status is JobStatus.SCHEDULED:
        return {"scheduled_at": change.next_run_at}
    if change.status is JobStatus.QUEUED and change.run is not None:
        return {"scheduled_at": change.run.scheduled_for}
    return {}


def _note(actor: str | None, reason: str | None) -> Expression:
    return Expression({"at": NOW.value, "by": {"$literal": actor}, "reason": {"$literal": reason}})
