"""Refusals that show the job they speak of."""

from __future__ import annotations

from jobs.errors import JobgateError
from jobs.job import Job
from jobs.lifecycle import Action


class TransitionRefused(JobgateError):
    """The job is in a status that the action may not leave, or cannot go on (``why``). ``job`` is the job as it is."""

    def __init__(self, action: Action, job: Job, why: str | None = None) -> None:
        self.action = action
        self.job = job
        refused = f"cannot {action.value} a job that is {job.status.value}"
        super().__init__(refused if why is None else f"{refused}: {why}")


class IdempotencyConflict(JobgateError):
    """The idempotency key was used before, with another request. ``job`` is the one that the first request made."""

    def __init__(self, key: str, job: Job) -> None:
        self.key = key
        self.job = job
        super().__init__(f"the idempotency key {key!r} was used before with another request")
