"""Dispatching: a caller's request checked as a whole, and the job that it makes. Pure: now and the id are arguments."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final

from jobs.errors import InvalidInput, Issue
from jobs.events import EventType
from jobs.input_schemas import schema_issues
from jobs.job import Idempotency, Job
from jobs.json_values import JsonValue, NotJson, check_json
from jobs.lifecycle import JobStatus
from jobs.promotion import promote
from jobs.retries import RetryPolicy
from jobs.schedule import Plan, ScheduleSpec, plan_schedule
from jobs.secret_inputs import MASK, MAX_PLACE, MAX_SECRETS, SealedPart, masked, secret_text, value_at
from jobs.secret_places import Place, secret_places, secrets_problem
from jobs.times import MILLISECOND

MAX_RETRIES: Final = 1000
MAX_PRIORITY: Final = 1000
MAX_TAGS: Final = 50
MAX_CODES: Final = 100
MAX_DELAY_MS: Final = int(timedelta(days=365) / MILLISECOND)
MAX_TIMEOUT_MS: Final = int(timedelta(days=30) / MILLISECOND)
MAX_BACKOFF: Final = 1000.0

_PLAIN: Final = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"
"""Neither a control character nor one that ends a line: labels stand in logs and in tables."""

_MAX_SHOWN: Final = 200
"""So many characters of a property's name are told."""

_LABEL: Final = re.compile(_PLAIN + "{1,128}")
_KEY: Final = re.compile(_PLAIN + "{1,255}")

Path = tuple[str, ...]

Seal = Callable[[str, Place, bytes], SealedPart]
"""Seals a secret, given as a text, for the job of an id and a place of its input."""


@dataclass(frozen=True, slots=True)
class RetrySpec:
    """A retry policy as the caller gave it, unchecked; lengths in milliseconds."""

    initial_delay_ms: int = 1000
    max_delay_ms: int = 300_000
    backoff_multiplier: float = 2.0
    jitter: float = 0.0
    retryable_errors: tuple[str, ...] | None = None
    non_retryable_errors: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class DispatchRequest:
    """What a caller asks for, unchecked."""

    namespace: str
    task: str
    product: str
    env: str
    input: JsonValue = field(repr=False)
    tags: tuple[str, ...] = ()
    priority: int = 0
    retries: int = 0
    retry: RetrySpec = RetrySpec()
    schedule: ScheduleSpec = field(default_factory=ScheduleSpec)
    timeout_ms: int | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class TaskTerms:
    """What the task itself says about its jobs."""

    retries: int = 0
    """The least number of automatic retries."""
    timeout: timedelta | None = None
    """Used when the request names none."""
    input_schema: str | None = None
    """The JSON Schema that inputs have to meet, as JSON text; None: any input will do."""


def new_job(
    request: DispatchRequest,
    terms: TaskTerms | None,
    *,
    job_id: str,
    now: datetime,
    path: Path,
    seal: Seal | None = None,
) -> Job:
    """The job that a request makes at ``now``. ``terms`` is None when no worker has ever offered the task.

    What the task says is secret in the input stands in the job sealed. ``seal`` is None where there is no key for that.

    Raises :class:`InvalidInput` with everything that is wrong; ``path`` leads to the request from the caller's arguments.
    """
    issues = list(_issues(request, terms, path))
    try:
        plan = plan_schedule(request.schedule, now, (*path, "schedule"))
    except InvalidInput as error:
        raise InvalidInput([*issues, *error.issues]) from None
    if issues or terms is None:
        raise InvalidInput(issues)
    found = () if terms.input_schema is None else secret_places(terms.input_schema, request.input)
    # One more than are allowed tells that there are too many.
    places = tuple(islice(found, MAX_SECRETS + 1))
    issues += _secret_issues(request.input, places, seal, (*path, "input"))
    if issues:
        raise InvalidInput(issues)
    sealed = () if seal is None else _sealed(request.input, places, partial(seal, job_id))
    plain = replace(request, input=masked(request.input, places))
    return replace(_assemble(plain, terms, plan, job_id=job_id, now=now), secrets=sealed)


def request_hash(request: DispatchRequest) -> str:
    """What makes two requests the same one: the hash of everything in them, whatever the order of keys in ``input``."""
    text = json.dumps(asdict(request), sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def dispatch_events(job: Job) -> tuple[EventType, ...]:
    """A new job is announced once, and as queued as well when it is due at once."""
    if job.status is JobStatus.QUEUED:
        return (EventType.JOB_SCHEDULED, EventType.JOB_QUEUED)
    return (EventType.JOB_SCHEDULED,)


def _assemble(request: DispatchRequest, terms: TaskTerms, plan: Plan, *, job_id: str, now: datetime) -> Job:
    timeout = terms.timeout if request.timeout_ms is None else timedelta(milliseconds=request.timeout_ms)
    waiting = Job(
        id=job_id,
        namespace=request.namespace,
        task=request.task,
        product=request.product,
        env=request.env,
        tags=tuple(dict.fromkeys(request.tags)),
        priority=request.priority,
        input=request.input,
        timeout=timeout,
        retries=max(request.retries, terms.retries),
        retry_policy=_policy(request.retry),
        status=JobStatus.SCHEDULED,
        recurrence=plan.recurrence,
        scheduled_at=plan.first_run_at,
        next_run_at=plan.first_run_at,
        created_at=now,
        updated_at=now,
        idempotency=_idempotency(request),
    )
    return waiting if plan.first_run_at > now else _due_now(waiting, now)


def _due_now(job: Job, now: datetime) -> Job:
    promotion = promote(job, now)
    return replace(
        job,
        status=promotion.status,
        run=promotion.run,
        next_run_at=promotion.next_run_at,
        catch_up_until=promotion.catch_up_until,
    )


def _policy(spec: RetrySpec) -> RetryPolicy:
    return RetryPolicy(
        initial_delay=timedelta(milliseconds=spec.initial_delay_ms),
        max_delay=timedelta(milliseconds=spec.max_delay_ms),
        backoff_multiplier=spec.backoff_multiplier,
        jitter=spec.jitter,
        retryable_errors=spec.retryable_errors,
        non_retryable_errors=spec.non_retryable_errors,
    )


def _idempotency(request: DispatchRequest) -> Idempotency | None:
    if request.idempotency_key is None:
        return None
    return Idempotency(request.idempotency_key, request_hash(request))


def _issues(request: DispatchRequest, terms: TaskTerms | None, path: Path) -> Iterator[Issue]:
    if terms is None:
        name = f"{request.namespace}.{request.task}"[:200]
        yield Issue((*path, "task"), f"no worker has ever offered the task {name!r}")
    yield from _label_issues(request, path)
    yield from _input_issues(request.input, terms, (*path, "input"))
    yield from _range_issues("priority", request.priority, -MAX_PRIORITY, MAX_PRIORITY, path)
    yield from _range_issues("retries", request.retries, 0, MAX_RETRIES, path)
    if request.timeout_ms is not None:
        yield from _range_issues("timeout", request.timeout_ms, 1, MAX_TIMEOUT_MS, path)
    yield from _retry_issues(request.retry, (*path, "retryConfig"))


def _secret_issues(value: JsonValue, places: Sequence[Place], seal: Seal | None, path: Path) -> Iterator[Issue]:
    if len(places) > MAX_SECRETS:
        yield Issue(path, f"has more than the {MAX_SECRETS} secrets allowed")
        return
    for place in places:
        shown = (*path, *(name[:_MAX_SHOWN] for name in place))
        if sum(map(len, place)) > MAX_PLACE:
            yield Issue(
                shown, f"is secret, and the names that lead to it have more than {MAX_PLACE} characters together"
            )
        elif seal is None:
            message = "is secret and cannot be kept so: JOBGATE_SECRET_KEYS is not set in this installation"
            yield Issue(shown, message)
        elif value_at(value, place) == MASK:
            yield Issue(shown, "is what is shown in place of a secret, not the secret")


def _sealed(
    value: JsonValue, places: Sequence[Place], seal: Callable[[Place, bytes], SealedPart]
) -> tuple[SealedPart, ...]:
    return tuple(seal(place, secret_text(value_at(value, place))) for place in places)


def _label_issues(request: DispatchRequest, path: Path) -> Iterator[Issue]:
    for name, value in (("product", request.product), ("env", request.env)):
        if not _LABEL.fullmatch(value):
            yield Issue((*path, name), "must be 1 to 128 characters, none of them a control character")
    if len(request.tags) > MAX_TAGS:
        yield Issue((*path, "tags"), f"{len(request.tags)} tags, more than the {MAX_TAGS} allowed")
    for index, tag in enumerate(request.tags[:MAX_TAGS]):
        if not _LABEL.fullmatch(tag):
            yield Issue((*path, "tags", str(index)), "must be 1 to 128 characters, none of them a control character")
    if request.idempotency_key is not None and not _KEY.fullmatch(request.idempotency_key):
        yield Issue((*path, "idempotencyKey"), "must be 1 to 255 characters, none of them a control character")


def _input_issues(value: JsonValue, terms: TaskTerms | None, path: Path) -> Iterator[Issue]:
    try:
        check_json(value)
    except NotJson as error:
        yield Issue(path, str(error))
        return
    if terms is not None and terms.input_schema is not None:
        problem = secrets_problem(terms.input_schema)
        # Only where something else than a worker of this version has offered the task.
        if problem is not None:
            yield Issue(path, f"cannot be taken: the task's schema {problem}")
            return
        yield from schema_issues(terms.input_schema, value, path)


def _range_issues(name: str, value: float, least: float, most: float, path: Path) -> Iterator[Issue]:
    if not (math.isfinite(value) and least <= value <= most):
        yield Issue((*path, name), f"must be between {least} and {most}, not {value}")


def _retry_issues(spec: RetrySpec, path: Path) -> Iterator[Issue]:
    yield from _range_issues("initialDelay", spec.initial_delay_ms, 0, MAX_DELAY_MS, path)
    yield from _range_issues("maxDelay", spec.max_delay_ms, 0, MAX_DELAY_MS, path)
    yield from _range_issues("backoffMultiplier", spec.backoff_multiplier, 1.0, MAX_BACKOFF, path)
    yield from _range_issues("jitter", spec.jitter, 0.0, 1.0, path)
    if spec.max_delay_ms < spec.initial_delay_ms:
        yield Issue((*path, "maxDelay"), "must not be less than initialDelay")
    yield from _code_issues("retryableErrors", spec.retryable_errors or (), path)
    yield from _code_issues("nonRetryableErrors", spec.non_retryable_errors or (), path)
    both = sorted(set(spec.retryable_errors or ()) & set(spec.non_retryable_errors or ()))
    if both:
        yield Issue((*path, "nonRetryableErrors"), f"{both[0]!r} is among the retryableErrors as well")


def _code_issues(name: str, codes: Sequence[str], path: Path) -> Iterator[Issue]:
    if len(codes) > MAX_CODES:
        yield Issue((*path, name), f"{len(codes)} codes, more than the {MAX_CODES} allowed")
    elif not all(_LABEL.fullmatch(code) for code in codes):
        yield Issue((*path, name), "a code must be 1 to 128 characters, none of them a control character")
