"""The enums of the API. Where the core has the same one, it is that one that is published.

The other modules of the schema take them all from here: Strawberry must know of them before it meets them in a type.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum

import strawberry

from jobs.audit import AuditAction
from jobs.bulk import BulkStatus
from jobs.events import EventType
from jobs.lifecycle import Action, JobStatus
from jobs.occurrences import Cause
from jobs.origins import CredentialKind
from jobs.paging import OrderField
from jobs.recurrence import MissedRuns, Overlap
from jobs.spans import Bucket
from jobs.webhooks import DeliveryStatus

__all__ = [
    "AuditAction",
    "BulkStatus",
    "CredentialKind",
    "DeliveryStatus",
    "Direction",
    "EventType",
    "ExecutionStatus",
    "JobAction",
    "JobStatus",
    "MissedRuns",
    "OrderField",
    "Overlap",
    "PassedOverCause",
    "ProblemCode",
    "StatsBucket",
]

StatsBucket = Bucket
PassedOverCause = Cause


class JobAction(StrEnum):
    """The actions that callers may ask for: those of the lifecycle, less the machine's own."""

    CANCEL = Action.CANCEL.value
    PAUSE = Action.PAUSE.value
    RESUME = Action.RESUME.value
    RESCHEDULE = Action.RESCHEDULE.value
    RETRY = Action.RETRY.value
    DELETE = Action.DELETE.value


class ExecutionStatus(StrEnum):
    """The statuses that a run can end in."""

    COMPLETED = JobStatus.COMPLETED.value
    FAILED = JobStatus.FAILED.value
    CANCELLED = JobStatus.CANCELLED.value


class Direction(StrEnum):
    """The direction of a list."""

    ASC = "asc"
    DESC = "desc"


class ProblemCode(StrEnum):
    """The kinds of problems, one a type."""

    NOT_FOUND = "not_found"
    TRANSITION_REFUSED = "transition_refused"
    INVALID_INPUT = "invalid_input"
    FORBIDDEN = "forbidden"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"


def _publish(enum: type[Enum], name: str, description: str, values: Mapping[str, str]) -> None:
    """Publish an enum of the core under ``name``, with a description for each of its values."""
    definition = strawberry.enum(enum, name=name, description=description).__strawberry_definition__  # type: ignore[attr-defined]  # Strawberry adds it
    for value in definition.values:
        value.description = values[value.name]


_publish(
    JobStatus,
    "JobStatus",
    "Where a job stands. Completed, failed and cancelled are final.",
    {
        "SCHEDULED": "Waits for its time: a first run, a retry, or the next occurrence.",
        "QUEUED": "Due, and waits for a worker.",
        "RUNNING": "A worker runs it.",
        "COMPLETED": "Ended well.",
        "FAILED": "All attempts are spent, or the error was not one to retry.",
        "CANCELLED": "Stopped by a caller.",
        "PAUSED": "A recurring job that rests until it is resumed.",
    },
)
_publish(
    EventType,
    "JobEventType",
    "What happened to a job.",
    {
        "JOB_SCHEDULED": "It was dispatched, or got another time.",
        "JOB_QUEUED": "It is due, and waits for a worker.",
        "JOB_STARTED": "An attempt began.",
        "JOB_PROGRESS": "The handler told how far it has come.",
        "JOB_RETRYING": "An attempt failed, and another one will follow.",
        "JOB_COMPLETED": "A run ended well.",
        "JOB_FAILED": "A run failed, after all its attempts.",
        "JOB_CANCELLED": "It was stopped by a caller.",
        "JOB_PAUSED": "A recurring job was paused.",
        "JOB_RESUMED": "A paused job goes on.",
        "JOB_RESCHEDULED": "Its schedule was changed.",
        "JOB_DELETED": "It was removed.",
    },
)
_publish(
    DeliveryStatus,
    "DeliveryStatus",
    "What has become of a delivery.",
    {
        "PENDING": "It is to be attempted, for the first time or again.",
        "DELIVERED": "The receiver has taken it.",
        "DEAD": "It was given up; redeliver begins anew.",
    },
)
_publish(
    OrderField,
    "JobOrderField",
    "What jobs may be ordered by; equal ones are ordered by id.",
    {
        "CREATED_AT": "When it was dispatched.",
        "SCHEDULED_AT": "When its current or last run is or was due.",
        "COMPLETED_AT": "When its last run ended; jobs of which none has ended count as earliest.",
        "UPDATED_AT": "When it last changed.",
        "PRIORITY": "Its priority.",
    },
)
_publish(
    MissedRuns,
    "MissedRuns",
    "What becomes of occurrences that came due more than a minute before anybody looked.",
    {
        "SKIP": "They are not run; the job goes on with the next one.",
        "RUN_ONCE": "One run makes up for all of them.",
        "RUN_ALL": "All are run, one after the other, the last 100 at most; of a product, 20 such runs at a time.",
    },
)
_publish(
    Cause,
    "PassedOverCause",
    "Why occurrences that came due are not run.",
    {
        "MISSED": "They came due more than a minute before anybody looked, and the job's policy leaves them out.",
        "OVERLAP": "A run was still going on, and the job's policy leaves them out.",
        "PAUSED": "The job was paused.",
        "RESCHEDULED": "The job was given another schedule before they were run.",
    },
)
_publish(
    Overlap,
    "Overlap",
    "What becomes of an occurrence that comes due while the job still runs.",
    {"SKIP": "It is not run.", "QUEUE_ONE": "One run follows right after."},
)
_publish(
    StatsBucket,
    "StatsBucket",
    "How long each bucket of a series is. All begin at whole ones in UTC.",
    {"MINUTE": "One minute.", "HOUR": "One hour.", "DAY": "One day, from midnight UTC."},
)
_publish(
    JobAction,
    "JobAction",
    "What a caller may do to a job.",
    {
        "CANCEL": "Stop it for good.",
        "PAUSE": "Let a recurring job rest until it is resumed.",
        "RESUME": "Let a paused job go on with its next occurrence.",
        "RESCHEDULE": "Change when it runs.",
        "RETRY": "Run a failed job once more.",
        "DELETE": "Remove a job that has ended.",
    },
)
_publish(
    ExecutionStatus,
    "ExecutionStatus",
    "How a run ended.",
    {
        "COMPLETED": "An attempt succeeded.",
        "FAILED": "No attempt succeeded.",
        "CANCELLED": "The job was cancelled while the run went on.",
    },
)
_publish(
    Direction,
    "Direction",
    "Which way a list is ordered.",
    {"ASC": "Smallest or earliest first.", "DESC": "Largest or latest first."},
)
_publish(
    ProblemCode,
    "ProblemCode",
    "Why something was not done.",
    {
        "NOT_FOUND": "Unknown, or not visible to the caller.",
        "TRANSITION_REFUSED": "The job's status does not permit it.",
        "INVALID_INPUT": "An argument cannot be accepted.",
        "FORBIDDEN": "The caller lacks a scope.",
        "IDEMPOTENCY_CONFLICT": "The idempotency key was used before, with another request.",
    },
)
_publish(
    CredentialKind,
    "CredentialKind",
    "What somebody has shown to say who they are.",
    {
        "NONE": "Nothing: the gateway asks nobody.",
        "KEY": "An API key.",
        "TOKEN": "A token that an issuer has signed.",
        "COMMAND": "Nothing: it was a command of Jobgate, given by somebody who can reach the database.",
    },
)
_publish(
    AuditAction,
    "AuditAction",
    "What the audit tells of.",
    {
        "READ_PAYLOADS": "The input or the result of jobs was handed out.",
        "SET_WEBHOOK": "A webhook was set.",
        "DELETE_WEBHOOK": "A webhook was deleted.",
        "REDELIVER": "A delivery was asked for once more.",
        "STOP_BULK_OPERATION": "A bulk operation was stopped.",
        "CREATE_KEY": "An API key was made.",
        "REVOKE_KEY": "An API key was revoked.",
    },
)
_publish(
    BulkStatus,
    "BulkStatus",
    "How far a bulk operation is.",
    {
        "RUNNING": "Jobs are left that it has not looked at.",
        "COMPLETED": "It has looked at all of its jobs.",
        "STOPPED": "A caller has stopped it: the jobs that it had not looked at stay as they were.",
    },
)
