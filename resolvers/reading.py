"""Reading jobs and their history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from jobs.access import Forbidden, Principal, Scope
from jobs.cursors import decode_cursor, encode_cursor
from jobs.errors import InvalidInput, Issue
from jobs.filters import JobFilter
from jobs.history import History
from jobs.input_matches import match_issues
from jobs.job import Execution, Job
from jobs.origins import OriginFilter
from jobs.paging import Counted, Order, Page, page_request, page_size
from jobs.workers import LiveTask, LiveWorker
from resolvers.services import Services

MAX_VALUES = 1000
"""Values in one list of a filter."""

MAX_ORIGINS = 50
"""Names, credentials or addresses in one: each is looked for by itself, and MongoDB puts what it finds in order."""


async def find_job(services: Services, principal: Principal, job_id: str) -> Job | None:
    """The job, or None when there is none that the caller may see."""
    return await services.jobs.find(principal.reach, job_id)


async def find_jobs(services: Services, principal: Principal, job_ids: Sequence[str]) -> Mapping[str, Job]:
    """Those of the jobs that exist and that the caller may see, by id."""
    return await services.jobs.find_many(principal.reach, job_ids)


async def list_jobs(
    services: Services,
    principal: Principal,
    conditions: JobFilter,
    order: Order,
    *,
    first: int | None,
    last: int | None,
    after: str | None,
    before: str | None,
    offset: int | None,
) -> Page[Job]:
    """One page of the jobs that match. Raises ``InvalidInput``, ``BadCursor``, ``FilterTooSlow``, ``StoreUnavailable``."""
    check_filter(principal, conditions, ("filter",))
    return await services.jobs.page(
        principal.reach, conditions, order, page_request(first, last, after, before, offset)
    )


async def count_jobs(services: Services, principal: Principal, conditions: JobFilter) -> Counted:
    """How many jobs match, as far as they are counted."""
    return await services.jobs.count(principal.reach, conditions)


async def read_histories(
    services: Services, principal: Principal, job_ids: Sequence[str], first: int, after: str | None
) -> Mapping[str, History]:
    """A page of the runs of each job that exists and that the caller may see, newest first, by id.

    Raises ``InvalidInput``, ``BadCursor``, ``StoreUnavailable``.
    """
    size = page_size(first, "first")
    before = None if after is None else _run_number(after)
    return await services.executions.histories(principal.reach, job_ids, size, before)


async def read_history(
    services: Services, principal: Principal, job_id: str, first: int, after: str | None
) -> History | None:
    """A page of the job's runs, newest first; None when there is no such job. Raises as :func:`read_histories` does."""
    return (await read_histories(services, principal, [job_id], first, after)).get(job_id)


async def list_workers(services: Services, principal: Principal) -> list[LiveWorker]:
    """The workers that live."""
    return await services.registry.live_workers()


async def list_tasks(services: Services, principal: Principal) -> list[LiveTask]:
    """The tasks that live workers can run."""
    return await services.registry.live_tasks()


def execution_cursor(execution: Execution) -> str:
    """The cursor that leads behind a run in its job's history."""
    return encode_cursor(["run", execution.number])


def check_filter(principal: Principal, conditions: JobFilter, path: tuple[str, ...]) -> None:
    """Raise ``InvalidInput`` for a filter that no list should be asked with, ``Forbidden`` for one that guesses at input."""
    if conditions.input is not None and not principal.may(Scope.PAYLOADS_READ):
        # Whoever may not see the input would find it out by asking for one value after the other.
        raise Forbidden(Scope.PAYLOADS_READ, f"a filter by input needs the scope {Scope.PAYLOADS_READ}")
    issues = [
        Issue((*path, name), f"{len(values)} values, more than the {MAX_VALUES} allowed")
        for name, values in _lists(conditions)
        if values is not None and len(values) > MAX_VALUES
    ]
    start, end = conditions.from_, conditions.to
    if start is not None and end is not None and start > end:
        issues.append(Issue((*path, "to"), "is before from"))
    issues += match_issues(conditions.input or (), (*path, "input"))
    if issues:
        raise InvalidInput(issues)


def check_event_filter(principal: Principal, conditions: JobFilter, path: tuple[str, ...]) -> None:
    """Raise ``InvalidInput`` for a filter that events cannot be compared with: they do not carry the input of their jobs."""
    if conditions.input is not None:
        raise InvalidInput([Issue((*path, "input"), "cannot be asked of events, which do not carry the input of jobs")])
    check_filter(principal, conditions, path)


def check_times(start: datetime | None, end: datetime | None, path: tuple[str, ...]) -> None:
    """Raise ``InvalidInput`` for a time that ends before it begins."""
    if start is not None and end is not None and start > end:
        raise InvalidInput([Issue((*path, "to"), "is before from")])


def check_origin(wanted: OriginFilter, path: tuple[str, ...]) -> None:
    """Raise ``InvalidInput`` for more values than are looked for at a time, or none at all."""
    lists = {"by": wanted.by, "credential": wanted.credential, "address": wanted.address}
    if all(values is None for values in lists.values()):
        raise InvalidInput([Issue(path, "give at least one of by, credential and address")])
    issues = [
        Issue((*path, name), f"{len(values)} values, more than the {MAX_ORIGINS} allowed")
        for name, values in lists.items()
        if values is not None and len(values) > MAX_ORIGINS
    ]
    if issues:
        raise InvalidInput(issues)


def _lists(conditions: JobFilter) -> Sequence[tuple[str, Sequence[object] | None]]:
    return [
        ("ids", conditions.ids),
        ("status", conditions.status),
        ("product", conditions.product),
        ("env", conditions.env),
        ("namespace", conditions.namespace),
        ("task", conditions.task),
        ("tags", conditions.tags),
        ("errorCode", conditions.error_code),
    ]


def _run_number(cursor: str) -> int:
    return decode_cursor(cursor, "run", _number)


def _number(parts: Sequence[object]) -> int | None:
    match parts:
        case [int(number)] if not isinstance(number, bool) and 0 < number < 2**31:
            return number
    return None
