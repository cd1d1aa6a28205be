"""Documents ↔ domain values. Names of fields are those of ``DESIGN.md`` §3; lengths of time are whole milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from jobs.job import Execution, Idempotency, Job, JobError, Note, Run, Tally
from jobs.lifecycle import TERMINAL, JobStatus
from jobs.recurrence import Cron, Every, MissedRuns, Overlap, Recurrence
from jobs.retries import RetryPolicy
from jobs.times import MILLISECOND, to_milliseconds
from storage.sealed_parts import FIELD as SECRETS
from storage.sealed_parts import secrets_from_document, secrets_to_document

Document = dict[str, Any]
"""A BSON document. Its values are whatever was stored, hence Any."""

UNREAD: Final[Document] = {"outbox": 0, "marks": 0}
"""The projection without what only writers need: the events to be told, and the marks of changes."""

LISTED: Final[Document] = {**UNREAD, SECRETS: 0}
"""The projection of jobs that are listed: nobody opens what is sealed in the input of one of these."""


def job_to_document(job: Job) -> Document:
    """The whole document of a new job, without its outbox."""
    return {
        "_id": job.id,
        "revision": job.revision,
        "namespace": job.namespace,
        "task": job.task,
        "product": job.product,
        "env": job.env,
        "tags": list(job.tags),
        "priority": job.priority,
        "input": job.input,
        "timeout": None if job.timeout is None else to_milliseconds(job.timeout),
        "status": job.status.value,
        "recurrence": None if job.recurrence is None else recurrence_to_document(job.recurrence),
        "scheduled_at": job.scheduled_at,
        "next_run_at": job.next_run_at,
        "effective_at": job.completed_at if job.status in TERMINAL else job.scheduled_at,
        "catch_up_until": job.catch_up_until,
        "paced": job.paced or None,
        "decided_until": job.decided_until,
        "execution_count": job.execution_count,
        "tally": {"completed": job.tally.completed, "failed": job.tally.failed, "cancelled": job.tally.cancelled},
        "retries": job.retries,
        "retry_policy": _policy_to_document(job.retry_policy),
        "retry_count": job.retry_count,
        "last_error": error_to_document(job.last_error),
        "result": job.result,
        "progress": job.progress,
        "progress_message": job.progress_message,
        "run": None if job.run is None else run_to_document(job.run),
        "last_token": None,
        "idempotency": _idempotency_to_document(job.idempotency),
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "cancelled": None,
        "paused": None,
        "steered": job.steered,
        "deleted_at": None,
        **secrets_to_document(job.secrets),
    }


def job_from_document(document: Mapping[str, Any]) -> Job:
    """The job that a whole document describes."""
    tally = document["tally"]
    return Job(
        id=document["_id"],
        namespace=document["namespace"],
        task=document["task"],
        product=document["product"],
        env=document["env"],
        tags=tuple(document["tags"]),
        priority=document["priority"],
        input=document["input"],
        timeout=_optional_length(document["timeout"]),
        retries=document["retries"],
        retry_policy=_policy_from_document(document["retry_policy"]),
        status=JobStatus(document["status"]),
        recurrence=_optional_recurrence(document["recurrence"]),
        scheduled_at=document["scheduled_at"],
        next_run_at=document["next_run_at"],
        created_at=document["created_at"],
        updated_at=document["updated_at"],
        execution_count=document["execution_count"],
        tally=Tally(tally["completed"], tally["failed"], tally["cancelled"]),
        retry_count=document["retry_count"],
        revision=document["revision"],
        run=_optional_run(document["run"]),
        catch_up_until=document["catch_up_until"],
        paced=bool(document.get("paced")),
        decided_until=document.get("decided_until"),
        started_at=document["started_at"],
        completed_at=document["completed_at"],
        result=document["result"],
        last_error=error_from_document(document["last_error"]),
        progress=document["progress"],
        progress_message=document["progress_message"],
        idempotency=_idempotency_from_document(document.get("idempotency")),
        cancelled=_note_from_document(document["cancelled"]),
        paused=_note_from_document(document["paused"]),
        steered=document["steered"],
        secrets=secrets_from_document(document),
    )


def run_to_document(run: Run) -> Document:
    return {
        "number": run.number,
        "attempt": run.attempt,
        "failures": run.failures,
        "expiries": run.expiries,
        "begun": run.begun,
        "scheduled_for": run.scheduled_for,
        "started_at": run.started_at,
        "token": run.token,
        "worker": run.worker,
        "lease_until": run.lease_until,
        "nudges": run.nudges,
        "nudged_at": None,
        "manual": run.manual or None,
        "paced": run.paced or None,
    }


def _optional_run(document: Mapping[str, Any] | None) -> Run | None:
    if document is None:
        return None
    return Run(
        number=document["number"],
        attempt=document["attempt"],
        failures=document["failures"],
        expiries=document["expiries"],
        begun=document["begun"],
        scheduled_for=document["scheduled_for"],
        started_at=document["started_at"],
        token=document["token"],
        worker=document["worker"],
        lease_until=document["lease_until"],
        nudges=document["nudges"],
        manual=bool(document.get("manual")),
        paced=bool(document.get("paced")),
    )


def recurrence_to_document(recurrence: Recurrence) -> Document:
    return {
        **_rule_to_document(recurrence.rule),
        "start_at": recurrence.start_at,
        "max_executions": recurrence.max_executions,
        "end_date": recurrence.end_date,
        "missed": recurrence.missed.value,
        "overlap": recurrence.overlap.value,
    }


def _rule_to_document(rule: Cron | Every) -> Document:
    if isinstance(rule, Cron):
        return {"kind": "cron", "cron": rule.expression, "tz": rule.tz}
    return {"kind": "every", "every": to_milliseconds(rule.interval), "anchor": rule.anchor}


def _optional_recurrence(document: Mapping[str, Any] | None) -> Recurrence | None:
    if document is None:
        return None
    return Recurrence(
        rule=_rule_from_document(document),
        start_at=document["start_at"],
        max_executions=document["max_executions"],
        end_date=document["end_date"],
        missed=MissedRuns(document["missed"]),
        overlap=Overlap(document["overlap"]),
    )


def _rule_from_document(document: Mapping[str, Any]) -> Cron | Every:
    if document["kind"] == "cron":
        return Cron(document["cron"], document["tz"])
    return Every(document["every"] * MILLISECOND, document["anchor"])


def _policy_to_document(policy: RetryPolicy) -> Document:
    return {
        "initial_delay": to_milliseconds(policy.initial_delay),
        "max_delay": to_milliseconds(policy.max_delay),
        "backoff_multiplier": policy.backoff_multiplier,
        "jitter": policy.jitter,
        "retryable_errors": policy.retryable_errors,
        "non_retryable_errors": policy.non_retryable_errors,
    }


def _policy_from_document(document: Mapping[str, Any]) -> RetryPolicy:
    return RetryPolicy(
        initial_delay=document["initial_delay"] * MILLISECOND,
        max_delay=document["max_delay"] * MILLISECOND,
        backoff_multiplier=document["backoff_multiplier"],
        jitter=document["jitter"],
        retryable_errors=_optional_codes(document["retryable_errors"]),
        non_retryable_errors=_optional_codes(document["non_retryable_errors"]),
    )


def _optional_codes(codes: list[str] | None) -> tuple[str, ...] | None:
    return None if codes is None else tuple(codes)


def _optional_length(milliseconds: int | None) -> timedelta | None:
    return None if milliseconds is None else milliseconds * MILLISECOND


def error_to_document(error: JobError | None) -> Document | None:
    return None if error is None else {"code": error.code, "message": error.message}


def error_from_document(document: Mapping[str, Any] | None) -> JobError | None:
    return None if document is None else JobError(document["code"], document["message"])


def _idempotency_to_document(idempotency: Idempotency | None) -> Document | None:
    return None if idempotency is None else {"key": idempotency.key, "request_hash": idempotency.request_hash}


def _idempotency_from_document(document: Mapping[str, Any] | None) -> Idempotency | None:
    return None if document is None else Idempotency(document["key"], document["request_hash"])


def _note_from_document(document: Mapping[str, Any] | None) -> Note | None:
    return None if document is None else Note(document["at"], document["by"], document["reason"])


def execution_from_document(job_id: str, document: Mapping[str, Any]) -> Execution:
    return Execution(
        job_id=job_id,
        number=document["number"],
        scheduled_for=document["scheduled_for"],
        started_at=document["started_at"],
        completed_at=document["completed_at"],
        status=JobStatus(document["status"]),
        attempts=document["attempts"],
        error=error_from_document(document["error"]),
        result=document["result"],
        worker=document["worker"],
    )


def now_of(document: Mapping[str, Any]) -> datetime:
    """The database's time at which an aggregation answered this document (see ``reads.with_now``)."""
    now: datetime = document["now"]
    return now
