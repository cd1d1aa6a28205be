"""Changing the course of a job."""

from __future__ import annotations

from jobs.errors import InvalidInput, Issue, JobNotFound, StoreUnavailable
from jobs.job import Job
from jobs.lifecycle import Action, Verdict, judge
from jobs.refusals import TransitionRefused
from resolvers.services import Principal, Services
from storage.signals import Topic

MAX_REASON = 1000
_TRIES = 5


async def cancel(services: Services, principal: Principal, job_id: str, reason: str | None) -> Job:
    """Stop a job for good and answer it. Cancelling a cancelled job changes nothing.

    Raises ``InvalidInput``, ``JobNotFound``, ``TransitionRefused``, ``StoreUnavailable``.
    """
    if reason is not None and len(reason) > MAX_REASON:
        raise InvalidInput([Issue(("reason",), f"{len(reason)} characters, more than the {MAX_REASON} allowed")])
    for _ in range(_TRIES):
        cancelled = await services.writer.cancel(job_id, actor=principal.name, reason=reason)
        if cancelled is not None:
            services.signals.wake(Topic.OUTBOX, Topic.CANCELLED)
            return cancelled
        job = await _unchanged(services, Action.CANCEL, job_id)
        if job is not None:
            return job
    raise StoreUnavailable("MongoDB", "the job kept changing")


async def _unchanged(services: Services, action: Action, job_id: str) -> Job | None:
    """The job that an action left as it was, because nothing was left to do; None when it may be tried again."""
    job = await services.jobs.find(job_id)
    if job is None:
        raise JobNotFound(job_id)
    match judge(action, job.status, recurring=job.is_recurring):
        case Verdict.SAME:
            return job
        case Verdict.REFUSED:
            raise TransitionRefused(action, job)
        case Verdict.OK:
            return None
