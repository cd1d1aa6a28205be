"""Dispatching a job: checked, inserted, acknowledged – and only then announced to the workers."""

from __future__ import annotations

import asyncio
import hmac
from contextlib import suppress
from dataclasses import replace
from functools import partial

from jobs.access import EVERYWHERE, Principal, Scope, check_reach
from jobs.dispatch import DispatchRequest, new_job, request_hash
from jobs.errors import NotWritten, StoreUnavailable
from jobs.job import Job
from jobs.lifecycle import JobStatus
from jobs.refusals import IdempotencyConflict
from jobs.secret_inputs import NoSuchPlace, masked, secret_text, value_at
from resolvers.pursuit import Pauses, unknown_outcome
from resolvers.services import Services
from storage.job_updates import NewJob, first_nudge
from storage.limits import CALL_SECONDS, LOOK_SECONDS, Deadline
from storage.secret_inputs import InputSecrets, SecretUnreadable
from storage.signals import Topic
from storage.transitions import KeyTaken

_PATH = ("input",)


async def dispatch(services: Services, principal: Principal, request: DispatchRequest) -> Job:
    """Store a job for ``request`` and answer it once a majority holds it.

    With an idempotency key that was used before, answer the job that it made then. Raises ``InvalidInput``,
    ``Forbidden``, ``IdempotencyConflict``, ``StoreUnavailable``, this within :data:`storage.limits.CALL_SECONDS`.
    """
    check_reach(principal, request.product, request.env, Scope.JOBS_DISPATCH)
    deadline = Deadline()
    async with deadline.within(LOOK_SECONDS):
        terms = await services.registry.find_terms(request.namespace, request.task)
    job_id, now = f"job_{services.new_id()}", services.clock.now()
    seal = services.secrets.seal if services.secrets.can_seal else None
    make_job = partial(new_job, request, terms, job_id=job_id, now=now, path=_PATH, seal=seal)
    # A schema can take its time over a large input, during which others are to be answered.
    job = await asyncio.to_thread(make_job) if terms is not None and terms.input_schema else make_job()
    nudged = job.status is JobStatus.QUEUED and services.signals.outstanding < services.max_outstanding
    try:
        await _insert(services, NewJob(job, principal.name, nudged=nudged, origin=principal.origin), deadline)
    except KeyTaken:
        async with deadline.within(LOOK_SECONDS):
            return await _first_job(services, principal, request)
    _announce(services, job, nudged=nudged)
    return job


async def _insert(services: Services, new: NewJob, deadline: Deadline) -> None:
    """Store it, as often as that takes: it is the same document each time, and its id lets it in once."""
    pauses, unanswered = Pauses(deadline), False
    while True:
        try:
            async with deadline.within(CALL_SECONDS):
                return await services.insertions.submit(new)
        except KeyTaken:
            # Its own id is taken as well, once a write whose answer was lost has taken place.
            if unanswered and (new.job.idempotency is None or await _is_stored(services, new, deadline)):
                return None
            raise
        except StoreUnavailable as error:
            unanswered |= not isinstance(error, NotWritten)
            if not unanswered:
                raise
            if await _is_stored(services, new, deadline):
                return None
            if not await pauses.rest():
                raise unknown_outcome(error, "the job was stored") from error


async def _is_stored(services: Services, new: NewJob, deadline: Deadline) -> bool:
    """Whether it is known to be there; False also where nobody could tell."""
    with suppress(StoreUnavailable):
        async with deadline.within(LOOK_SECONDS):
            return await services.jobs.find(EVERYWHERE, new.job.id) is not None
    return False


async def _first_job(services: Services, principal: Principal, request: DispatchRequest) -> Job:
    key = request.idempotency_key or ""
    first = await services.writer.find_by_key(principal.reach, request.product, request.env, key)
    if first is None or first.idempotency is None:
        raise StoreUnavailable("MongoDB", "the job with this idempotency key has just been deleted")
    is_same = partial(is_same_request, request, first, services.secrets)
    # A hundred secrets are opened, each in a copy of a large input: others are to be answered meanwhile.
    if not (await asyncio.to_thread(is_same) if first.secrets else is_same()):
        raise IdempotencyConflict(key, first)
    return first


def is_same_request(request: DispatchRequest, first: Job, secrets: InputSecrets) -> bool:
    """Whether ``request`` is the one that made ``first``, a job with an idempotency key, to its secrets.

    These are opened and compared: a hash of them could be tried out by whoever reads the database. One that cannot be opened
    any more is not known to be the same.
    """
    try:
        plain = replace(request, input=masked(request.input, [part.place for part in first.secrets]))
        alike = [
            hmac.compare_digest(secrets.open(first.id, part), secret_text(value_at(request.input, part.place)))
            for part in first.secrets
        ]
    except (NoSuchPlace, SecretUnreadable):
        return False
    return first.idempotency is not None and first.idempotency.request_hash == request_hash(plain) and all(alike)


def _announce(services: Services, job: Job, *, nudged: bool) -> None:
    if nudged and job.run is not None:
        services.signals.nudge([first_nudge(job, job.run)])
    services.signals.wake(Topic.OUTBOX)
    if job.status is not JobStatus.QUEUED:
        services.signals.wake(Topic.SCHEDULED)
    elif not nudged:
        services.signals.wake(Topic.BACKLOG)
