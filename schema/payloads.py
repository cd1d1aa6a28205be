"""What of jobs only some callers may see: what they are given, what they answer, errors that may quote either, and origins."""

from __future__ import annotations

from typing import Any

from jobs.access import Forbidden, Scope, shortened
from jobs.job import JobError
from jobs.origins import Origin as DomainOrigin
from schema.audit import Origin
from schema.context import Context, Info


def reads_payloads(info: Info) -> bool:
    """Whether the caller may see what jobs are given and what they answer."""
    return info.context.principal.may(Scope.PAYLOADS_READ)


def handed_out(info: Info, job_id: str, value: Any) -> Any:
    """What a job is given or answers; where reading is noted, something to be awaited that ends with it once that is stored.

    What comes to nothing is not noted. What is awaited raises ``StoreUnavailable`` where it could
    not be stored: the value is not handed out then.
    """
    if value is None or not info.context.services.audit_reads:
        return value
    return _noted(info.context, job_id, value)


async def _noted(context: Context, job_id: str, value: Any) -> Any:
    # All that is asked for at a time is noted together.
    await context.payload_reads.load(job_id)
    return value


def visible_origin(info: Info, origin: DomainOrigin | None) -> Origin | None:
    """What the caller may see of where something was asked for from: all of it with ``admin``, else nothing."""
    if origin is None or not info.context.principal.may(Scope.ADMIN):
        return None
    return Origin.from_domain(origin)


def check_may_read(info: Info) -> None:
    """Raise ``Forbidden`` for a caller who sees no more of jobs than the one that a mutation answers with."""
    if not info.context.principal.may(Scope.JOBS_READ):
        raise Forbidden(Scope.JOBS_READ)


def visible_error(info: Info, error: JobError | None) -> str | None:
    """What the caller may see of an error: without ``payloads:read`` no more than its code, since it may quote the input."""
    if error is None:
        return None
    return error.message if reads_payloads(info) else shortened(error)
