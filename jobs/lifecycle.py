"""The lifecycle of a job as one table: which action may leave which status, where it leads, and which event tells of it.

Everything else about statuses is derived from :data:`RULES`: the filters of the writes in ``storage``, what is terminal,
and what a caller may do. The table in ``mission/semantics.md`` §1 is its test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jobs.events import EventType


class JobStatus(StrEnum):
    """The seven statuses, stored as they are written here."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"


class Action(StrEnum):
    """The name of a transition. The first six are asked for by callers, the others are the machine's own."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RESCHEDULE = "reschedule"
    RETRY = "retry"
    DELETE = "delete"
    PROMOTE = "promote"
    SKIP = "skip"
    EXHAUST = "exhaust"
    RECHECK = "recheck"
    CLAIM = "claim"
    REPORT_PROGRESS = "report_progress"
    COMPLETE = "complete"
    FAIL = "fail"
    SCHEDULE_RETRY = "schedule_retry"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one action may do: the statuses that it may leave, those it may lead to, and the event that tells of it."""

    sources: frozenset[JobStatus]
    targets: frozenset[JobStatus]
    event: EventType


def _rule(sources: str, targets: str, event: EventType) -> Rule:
    return Rule(_statuses(sources), _statuses(targets), event)


def _statuses(names: str) -> frozenset[JobStatus]:
    return frozenset(JobStatus(name) for name in names.split())


RULES: Final[Mapping[Action, Rule]] = MappingProxyType(
    {
        Action.PROMOTE: _rule("scheduled", "queued", EventType.JOB_QUEUED),
        Action.SKIP: _rule("scheduled", "scheduled", EventType.JOB_SCHEDULED),
        Action.EXHAUST: _rule("scheduled", "completed", EventType.JOB_COMPLETED),
        # Each stays in its status: what moves is the instant that comes next.
        Action.RECHECK: _rule("scheduled queued running", "scheduled queued running", EventType.JOB_RESCHEDULED),
        Action.CLAIM: _rule("queued", "running", EventType.JOB_STARTED),
        Action.REPORT_PROGRESS: _rule("running", "running", EventType.JOB_PROGRESS),
        Action.COMPLETE: _rule("running", "completed scheduled paused", EventType.JOB_COMPLETED),
        Action.FAIL: _rule("running", "failed scheduled paused", EventType.JOB_FAILED),
        Action.SCHEDULE_RETRY: _rule("running", "scheduled", EventType.JOB_RETRYING),
        Action.RELEASE: _rule("running", "queued", EventType.JOB_QUEUED),
        Action.CANCEL: _rule("scheduled queued running paused", "cancelled", EventType.JOB_CANCELLED),
        Action.PAUSE: _rule("scheduled queued running", "paused running", EventType.JOB_PAUSED),
        Action.RESUME: _rule("paused", "scheduled completed", EventType.JOB_RESUMED),
        Action.RESCHEDULE: _rule(
            "scheduled queued running paused", "scheduled running paused", EventType.JOB_RESCHEDULED
        ),
        Action.RETRY: _rule("failed", "queued scheduled", EventType.JOB_SCHEDULED),
        Action.DELETE: _rule("completed failed cancelled", "", EventType.JOB_DELETED),
    }
)

CALLERS_ACTIONS: Final = (
    Action.CANCEL,
    Action.PAUSE,
    Action.RESUME,
    Action.RESCHEDULE,
    Action.RETRY,
    Action.DELETE,
)

TERMINAL: Final[frozenset[JobStatus]] = RULES[Action.DELETE].sources
"""Nothing runs again without being asked to: exactly the statuses in which a job may be deleted."""

_RECURRING_ONLY: Final[Mapping[Action, frozenset[JobStatus]]] = MappingProxyType(
    {Action.PAUSE: RULES[Action.PAUSE].sources, Action.RESCHEDULE: frozenset({JobStatus.RUNNING})}
)

_ALREADY: Final[Mapping[Action, frozenset[JobStatus]]] = MappingProxyType(
    {Action.CANCEL: frozenset({JobStatus.CANCELLED}), Action.PAUSE: frozenset({JobStatus.PAUSED})}
)


class Verdict(StrEnum):
    """What an action means for a job in a given status."""

    OK = "ok"
    SAME = "same"
    REFUSED = "refused"


def judge(action: Action, status: JobStatus, *, recurring: bool, pausing: bool = False) -> Verdict:
    """Tell whether ``action`` changes a job in ``status``, has nothing left to do (``SAME``), or is refused.

    ``pausing``: it was told to pause, which a running job does at the end of its run.
    """
    if action is Action.PAUSE and status is JobStatus.RUNNING and pausing:
        return Verdict.SAME
    if status in _ALREADY.get(action, ()):
        return Verdict.SAME
    if status not in RULES[action].sources:
        return Verdict.REFUSED
    if not recurring and status in _RECURRING_ONLY.get(action, ()):
        return Verdict.REFUSED
    return Verdict.OK


def allowed_actions(status: JobStatus, *, recurring: bool, pausing: bool = False) -> tuple[Action, ...]:
    """The actions of callers that would change such a job."""
    return tuple(
        action
        for action in CALLERS_ACTIONS
        if judge(action, status, recurring=recurring, pausing=pausing) is Verdict.OK
    )
