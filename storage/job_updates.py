"""What each kind of transition writes to a job's document: the filter that fences it and the update, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pymongo import UpdateOne

from jobs.decisions import Decision
from jobs.dispatch import dispatch_events
from jobs.job import Job, Run
from jobs.lifecycle import RULES, TERMINAL, Action, JobStatus
from jobs.occurrences import PassedOver
from jobs.origins import Origin
from jobs.promotion import Promotion
from jobs.times import to_milliseconds
from storage.documents import Document, error_to_document, job_to_document, run_to_document
from storage.event_documents import passed_over_to_document
from storage.jobs import RunRef
from storage.origins import noted
from storage.updates import NOW, EndedRun, Expression, Pipeline, first_outbox, transition


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's wish to run what a nudge spoke of."""

    ref: RunRef
    worker: str
    token: str
    lease: timedelta


@dataclass(frozen=True, slots=True)
class Finish:
    """What is to become of the attempt that holds ``token``."""

    job_id: str
    token: str
    decision: Decision
    steered: int
    """What ``Job.steered`` was when the decision was made."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the attempt that holds ``token`` has come."""

    job_id: str
    token: str
    fraction: float
    message: str | None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to insert. ``nudged``: its nudge is on the way, so that nobody else need send one for a while."""

    job: Job
    actor: str | None
    nudged: bool
    origin: Origin | None = None


def finish_update(finish: Finish, *, confirmed: bool = True) -> Pipeline:
    """The update that ends an attempt: the run goes on, waits for its retry, or is over.

    ``confirmed``: it is the attempt's own worker that writes, and will look whether it was this that ended it.
    """
    decision = finish.decision
    event = RULES[decision.action].event
    values: dict[str, object] = {"status": decision.status.value}
    if confirmed:
        values["last_token"] = finish.token
    if decision.action is Action.RELEASE:
        return transition({**values, "run": _run_value(decision.run)}, [event], reason=decision.reason)
    values |= {
        "next_run_at": decision.next_run_at,
        "catch_up_until": decision.catch_up_until,
        "paced": decision.paced or None,
        "last_error": error_to_document(decision.error),
        "run": _run_value(decision.run),
        **_due(decision.next_run_at),
    }
    if decision.action is Action.SCHEDULE_RETRY:
        values["retry_count"] = Expression({"$add": ["$retry_count", 1]})
        return transition(values, [event], reason=decision.reason)
    values |= {"result": decision.result, "completed_at": NOW}
    if decision.status in TERMINAL:
        values["paused"] = None
    return transition(
        values, [event], reason=decision.reason, ended=_ended(decision), passed_over=told(decision.passed_over)
    )


def told(passed_over: PassedOver | None) -> Document | None:
    """The occurrences that are passed over, as the event tells of them."""
    return None if passed_over is None else passed_over_to_document(passed_over)


def _ended(decision: Decision) -> EndedRun:
    status = JobStatus.COMPLETED if decision.action is Action.COMPLETE else JobStatus.FAILED
    return EndedRun(status, error_to_document(decision.error), decision.result)


def _due(next_run_at: datetime | None) -> dict[str, object]:
    """While a job is scheduled, the two are one; a terminal job keeps when its last run was due."""
    return {} if next_run_at is None else {"scheduled_at": next_run_at}


def _run_value(run: Run | None) -> Document | None:
    return None if run is None else run_to_document(run)


def new_document(new: NewJob) -> Document:
    document = job_to_document(new.job)
    if new.nudged and document["run"] is not None:
        document["run"] |= {"nudges": 1, "nudged_at": new.job.created_at}
    return document | first_outbox(dispatch_events(new.job), document, new.actor, noted(new.origin))


def claimable(ref: RunRef) -> Document:
    """The queued run that a nudge spoke of, at that attempt."""
    return {
        "_id": {"$eq": ref.job_id},
        "status": sources_of(Action.CLAIM),
        "run.number": {"$eq": ref.number},
        "run.attempt": {"$eq": ref.attempt},
    }


def claim_update(claim: Claim) -> Pipeline:
    started_at = {"$ifNull": ["$run.started_at", "$$NOW"]}
    grant = {
        "token": {"$literal": claim.token},
        "worker": {"$literal": claim.worker},
        "lease_until": {"$add": ["$$NOW", to_milliseconds(claim.lease)]},
        "started_at": started_at,
        "begun": "$run.attempt",
    }
    return transition(
        {
            "status": JobStatus.RUNNING.value,
            "run": Expression({"$mergeObjects": ["$run", grant]}),
            "execution_count": Expression("$run.number"),
            "started_at": Expression(started_at),
            "completed_at": None,
            "progress": None,
            "progress_message": None,
        },
        [RULES[Action.CLAIM].event],
    )


def held(finish: Finish) -> Document:
    """The job whose current attempt holds the token: what a stale worker no longer finds."""
    return {
        "_id": {"$eq": finish.job_id},
        "status": sources_of(finish.decision.action),
        "run.token": {"$eq": finish.token},
        "steered": {"$eq": finish.steered},
    }


def progress_write(report: Progress) -> UpdateOne:
    wanted = {
        "_id": {"$eq": report.job_id},
        "status": sources_of(Action.REPORT_PROGRESS),
        "run.token": {"$eq": report.token},
    }
    values = {"progress": report.fraction, "progress_message": report.message}
    return UpdateOne(wanted, transition(values, [RULES[Action.REPORT_PROGRESS].event]))


def unmoved(job: Job) -> Document:
    """The promotion was decided from the job at this revision: it holds for no other."""
    return {"_id": {"$eq": job.id}, "status": sources_of(Action.PROMOTE), "revision": {"$eq": job.revision}}


def promotion_update(promotion: Promotion, *, nudged: bool) -> Pipeline:
    values: dict[str, object] = {
        "status": promotion.status.value,
        "next_run_at": promotion.next_run_at,
        "catch_up_until": promotion.catch_up_until,
        "paced": promotion.paced or None,
        **_promoted_run(promotion, nudged=nudged),
    }
    if promotion.status is JobStatus.COMPLETED:
        values["completed_at"] = NOW
    return transition(values, [RULES[promotion.action].event], passed_over=told(promotion.passed_over))


def _promoted_run(promotion: Promotion, *, nudged: bool) -> dict[str, object]:
    if promotion.run is None:
        return _due(promotion.next_run_at)
    run = {"$literal": run_to_document(promotion.run)}
    mark = {"nudges": 1, "nudged_at": "$$NOW"} if nudged else {}
    values: dict[str, object] = {"run": Expression({"$mergeObjects": [run, mark]})}
    values["scheduled_at"] = promotion.run.scheduled_for
    if promotion.resets_retries:
        values["retry_count"] = 0
    return values


def first_nudge(job: Job, run: Run) -> RunRef:
    return RunRef(job.id, run.number, run.attempt, 1, f"{job.namespace}.{job.task}", job.priority)


def sources_of(action: Action) -> Document:
    """The statuses that an action may leave, as a condition."""
    sources = sorted(status.value for status in RULES[action].sources)
    return {"$eq": sources[0]} if len(sources) == 1 else {"$in": sources}
