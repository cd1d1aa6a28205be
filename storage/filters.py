"""``JobFilter`` as a MongoDB filter. Values of callers only ever stand behind an operator of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo import ASCENDING

from jobs.access import Reach
from jobs.filters import JobFilter
from jobs.lifecycle import JobStatus
from jobs.paging import Order, OrderField, Position
from storage.documents import Document
from storage.input_matches import input_conditions

LIVING: Final[Document] = {"deleted_at": None}
"""All but the tombstones of deleted jobs whose last event is on its way to the log."""

IN_ANY_STATUS: Final[Document] = {"status": {"$in": [status.value for status in JobStatus]}}
"""True of every job, and answered by any index that begins with the status."""


def within_reach(reach: Reach) -> Document:
    """What lies in the products and envs that somebody may see and change."""
    wanted: Document = {}
    _put(wanted, "product", _among(reach.products))
    _put(wanted, "env", _among(reach.envs))
    return wanted


def job_filter(conditions: JobFilter) -> Document:
    """The documents that ``jobs.filters.matches`` would accept."""
    wanted: Document = dict(LIVING)
    _put(wanted, "_id", _any_of(conditions.ids))
    _put(wanted, "status", _any_of(conditions.status))
    _put(wanted, "product", _any_of(conditions.product))
    _put(wanted, "env", _any_of(conditions.env))
    _put(wanted, "namespace", _any_of(conditions.namespace))
    _put(wanted, "task", _any_of(conditions.task))
    _put(wanted, "tags", _all_of(conditions.tags))
    _put(wanted, "effective_at", _between(conditions.from_, conditions.to))
    _put(wanted, "last_error.code", _any_of(conditions.error_code))
    _put(wanted, "idempotency.key", _equal(conditions.idempotency_key))
    if conditions.recurring is not None:
        wanted |= _OF_ANY_KIND if conditions.recurring else {"recurrence": {"$eq": None}}
    if conditions.input is not None:
        wanted["$and"] = input_conditions(conditions.input)
    return wanted


def listed_filter(conditions: JobFilter, order: Order) -> Document:
    """The same documents, for a list that is read in ``order``: what follows from the conditions is said, to bound the read.

    Without a choice of statuses, all of them are named: the indexes of lists begin with the status, and MongoDB merges their
    ranges in order if it is told which ones there are. And nothing comes due or ends before it was created, so that a list in
    that order may begin where the time asked for ends.
    """
    wanted = {**IN_ANY_STATUS, **job_filter(conditions)}
    if conditions.to is not None and order.field is OrderField.CREATED_AT:
        wanted[order.field.value] = {"$lt": conditions.to + _CLOCKS_APART}
    return wanted


def list_hint(conditions: JobFilter, order: Order) -> list[tuple[str, int]] | None:
    """The index that a list is read from where nothing but statuses are asked for. Every other condition leads to its own.

    Left to itself, MongoDB may walk the ids as well, passing over jobs, where very many have the same priority.
    """
    if replace(conditions, status=None) != JobFilter():
        return None
    return [("status", ASCENDING), (order.field.value, ASCENDING), ("_id", ASCENDING)]


def beyond(position: Position, *, forward: bool) -> list[Document]:
    """What comes behind a position in its order (before it, unless ``forward``): alternatives, to be tried in order.

    One alternative a range of the index (field, _id), so that each is read within its bounds, however many jobs tie.
    """
    ascending = position.order.descending is not forward
    field = position.order.field.value
    behind_id = {"$gt": position.job_id} if ascending else {"$lt": position.job_id}
    ties: Document = {field: {"$eq": position.value}, "_id": behind_id}
    return [ties, *_other_values(field, position.value, ascending)]


def sort_keys(order: Order, alternative: Document, *, forward: bool) -> list[tuple[str, int]]:
    """The order of what comes behind a position, or, for an empty ``alternative``, of all.

    Where all have the same value, only the id is named: MongoDB would not merge ranges of an index by the value as well.
    """
    direction = -1 if order.descending is forward else 1
    by_id = ("_id", direction)
    is_same = "$eq" in alternative.get(order.field.value, {})
    return [by_id] if is_same else [(order.field.value, direction), by_id]


def _other_values(field: str, value: datetime | int | None, ascending: bool) -> Sequence[Document]:
    if value is None:
        return [{field: {"$gt": _EARLIEST}}] if ascending else []
    if ascending:
        return [{field: {"$gt": value}}]
    # MongoDB compares within a type only: jobs without a value come last, and need asking for.
    may_be_missing = field == OrderField.COMPLETED_AT.value
    return [{field: {"$lt": value}}, *([{field: {"$eq": None}}] if may_be_missing else [])]


_CLOCKS_APART: Final = timedelta(minutes=1)
"""More than the clocks of two members of a replica set differ: a job may be created by one and end by the other."""

# What there is to be had of IS_RECURRING by an index in order: a range for each kind.
_OF_ANY_KIND: Final[Document] = {"recurrence.kind": {"$in": ["cron", "every"]}}
_EARLIEST = datetime.min.replace(tzinfo=UTC)


def _put(wanted: Document, field: str, condition: Document | None) -> None:
    if condition is not None:
        wanted[field] = condition


def _any_of(values: Sequence[Any] | None) -> Document | None:
    if values is None:
        return None
    plain = [str(value) for value in values]
    return _equal(plain[0]) if len(plain) == 1 else {"$in": plain}


def _among(reached: frozenset[str] | None) -> Document | None:
    return _any_of(None if reached is None else sorted(reached))


def _all_of(values: Sequence[str] | None) -> Document | None:
    if values is None:
        return None
    # An empty $all matches nothing either, but MongoDB looks at every document to find that out.
    return {"$all": list(values)} if values else {"$in": []}


def _equal(value: str | None) -> Document | None:
    return None if value is None else {"$eq": value}


def _between(start: datetime | None, end: datetime | None) -> Document | None:
    bounds = {}
    if start is not None:
        bounds["$gte"] = start
    if end is not None:
        bounds["$lt"] = end
    return bounds or None
