"""Changing the course of a job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from jobs.access import Principal
from jobs.cron import CronError
from jobs.errors import InvalidInput, Issue, JobNotFound
from jobs.job import Job
from jobs.lifecycle import Action, JobStatus, Verdict, judge
from jobs.refusals import TransitionRefused
from jobs.schedule import ScheduleSpec
from jobs.steering import Change
from jobs.steering import reschedule as decide_reschedule
from jobs.steering import resume as decide_resume
from jobs.steering import retry as decide_retry
from resolvers.pursuit import Pursuit
from resolvers.services import Services
from storage.signals import Topic

MAX_REASON: Final = 1000


async def cancel(services: Services, principal: Principal, job_id: str, reason: str | None) -> Job:
    """Stop a job for good and answer it. Cancelling a cancelled job changes nothing.

    Raises ``InvalidInput``, ``JobNotFound``, ``TransitionRefused``, ``JobTooLarge``, ``StoreUnavailable``.
    """
    check_reason(reason)
    cancelled = await _attempt(
        services,
        principal,
        Action.CANCEL,
        job_id,
        lambda mark: services.writer.cancel(
            principal.reach, job_id, actor=principal.name, reason=reason, origin=principal.origin, mark=mark
        ),
    )
    services.signals.wake(Topic.OUTBOX, Topic.CANCELLED)
    return cancelled


async def pause(services: Services, principal: Principal, job_id: str, reason: str | None) -> Job:
    """Have a recurring job rest until it is resumed, and answer it; one that runs rests from the end of its run.

    Pausing a paused job changes nothing. Raises as :func:`cancel` does.
    """
    check_reason(reason)
    paused = await _attempt(
        services,
        principal,
        Action.PAUSE,
        job_id,
        lambda mark: services.writer.pause(
            principal.reach, job_id, actor=principal.name, reason=reason, origin=principal.origin, mark=mark
        ),
    )
    services.signals.wake(Topic.OUTBOX)
    return paused


async def delete(services: Services, principal: Principal, job_id: str) -> str:
    """Remove a job that is over, with its history, and answer its id. Raises as :func:`cancel` does."""
    pursuit = Pursuit(services, principal.reach, job_id)
    seen: Job | None = None

    async def step() -> Job | None:
        nonlocal seen
        found = await services.jobs.find(principal.reach, job_id)
        if found is None and seen is not None and pursuit.is_open:
            # It was there, and after a write whose answer was lost it is gone, as it was to be.
            return seen
        seen = found
        changed = await pursuit.write(
            services.writer.delete(
                principal.reach, job_id, actor=principal.name, origin=principal.origin, mark=pursuit.mark
            )
        )
        if changed is None:
            await _judged(services, principal, Action.DELETE, job_id)
        return changed

    await pursuit.until_known(step)
    services.signals.wake(Topic.OUTBOX)
    return job_id


async def resume(services: Services, principal: Principal, job_id: str) -> Job:
    """Let a paused job go on with its next occurrence, and answer it. Raises as :func:`cancel` does."""
    return await _change(services, principal, Action.RESUME, job_id, decide_resume)


async def reschedule(services: Services, principal: Principal, job_id: str, schedule: ScheduleSpec) -> Job:
    """Change when a job runs, and answer it. Raises as :func:`cancel` does."""
    return await _change(
        services,
        principal,
        Action.RESCHEDULE,
        job_id,
        lambda job, now: decide_reschedule(job, schedule, now, ("schedule",)),
    )


async def retry(services: Services, principal: Principal, job_id: str, delay_ms: int) -> Job:
    """Run a failed job once more, and answer it. Raises as :func:`cancel` does."""
    return await _change(services, principal, Action.RETRY, job_id, lambda job, now: decide_retry(job, delay_ms, now))


async def _attempt(
    services: Services,
    principal: Principal,
    action: Action,
    job_id: str,
    write: Callable[[str], Awaitable[Job | None]],
) -> Job:
    """Write, and answer the job; when nothing was written, tell why by the job as it is."""
    pursuit = Pursuit(services, principal.reach, job_id)

    async def step() -> Job | None:
        changed = await pursuit.write(write(pursuit.mark))
        if changed is not None:
            return changed
        job, verdict = await _judged(services, principal, action, job_id)
        return job if verdict is Verdict.SAME else None

    return await pursuit.until_known(step)


async def _change(
    services: Services,
    principal: Principal,
    action: Action,
    job_id: str,
    decide: Callable[[Job, datetime], Change],
) -> Job:
    """Read, decide, and write if the job is still the one that was read; else begin again."""
    pursuit = Pursuit(services, principal.reach, job_id)

    async def step() -> Job | None:
        job, verdict = await _judged(services, principal, action, job_id)
        if verdict is Verdict.SAME:
            return job
        # Not before the job's last change, by whosever clock: an occurrence that was taken must not be found again.
        now = max(services.clock.now(), job.updated_at)
        change = _decided(action, job, now, decide)
        return await pursuit.write(
            services.writer.change(
                principal.reach, job, change, actor=principal.name, origin=principal.origin, mark=pursuit.mark
            )
        )

    changed = await pursuit.until_known(step)
    waits_for = Topic.BACKLOG if changed.status is JobStatus.QUEUED else Topic.SCHEDULED
    services.signals.wake(Topic.OUTBOX, waits_for)
    return changed


def _decided(action: Action, job: Job, now: datetime, decide: Callable[[Job, datetime], Change]) -> Change:
    try:
        return decide(job, now)
    except CronError as error:
        # After an upgrade a zone may be gone, or a cron be refused.
        raise TransitionRefused(action, job, f"its schedule can no longer be followed: {error}") from error


async def _judged(services: Services, principal: Principal, action: Action, job_id: str) -> tuple[Job, Verdict]:
    job = await services.jobs.find(principal.reach, job_id)
    if job is None:
        raise JobNotFound(job_id)
    verdict = judge(action, job.status, recurring=job.is_recurring, pausing=job.paused is not None)
    if verdict is Verdict.REFUSED:
        raise TransitionRefused(action, job)
    return job, verdict


def check_reason(reason: str | None) -> None:
    """Raise ``InvalidInput`` for a reason that is too long to be kept."""
    if reason is not None and len(reason) > MAX_REASON:
        raise InvalidInput([Issue(("reason",), f"{len(reason)} characters, more than the {MAX_REASON} allowed")])
