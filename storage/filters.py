"""``JobFilter`` as a MongoDB filter. Values of callers only ever stand behind an operator of ours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from jobs.filters import JobFilter
from jobs.paging import Order, OrderField, Position
from storage.documents import Document
from storage.indexes import IS_RECURRING
from storage.input_matches import input_conditions

LIVING: Final[Document] = {"deleted_at": None}
"""All but the tombstones of deleted jobs whose last event is on its way to the log."""


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
        wanted |= IS_RECURRING if conditions.recurring else {"recurrence": {"$eq": None}}
    if conditions.input is not None:
        wanted["$and"] = input_conditions(conditions.input)
    return wanted


def beyond(position: Position, *, forward: bool) -> list[Document]:
    """What comes behind a position in its order (before it, unless ``forward``): alternatives, to be tried in order.

    One alternative a range of the index (field, _id), so that each is read within its bounds, however many jobs tie.
    """
    ascending = position.order.descending is not forward
    field = position.order.field.value
    behind_id = {"$gt": position.job_id} if ascending else {"$lt": position.job_id}
    ties: Document = {field: {"$eq": position.value}, "_id": behind_id}
    return [ties, *_other_values(field, position.value, ascending)]


def sort_keys(order: Order, *, forward: bool) -> list[tuple[str, int]]:
    direction = -1 if order.descending is forward else 1
    return [(order.field.value, direction), ("_id", direction)]


def _other_values(field: str, value: datetime | int | None, ascending: bool) -> Sequence[Document]:
    if value is None:
        return [{field: {"$gt": _EARLIEST}}] if ascending else []
    if ascending:
        return [{field: {"$gt": value}}]
    # MongoDB compares within a type only: jobs without a value come last, and need asking for.
    may_be_missing = field == OrderField.COMPLETED_AT.value
    return [{field: {"$lt": value}}, *([{field: {"$eq": None}}] if may_be_missing else [])]


_EARLIEST = datetime.min.replace(tzinfo=UTC)


def _put(wanted: Document, field: str, condition: Document | None) -> None:
    if condition is not None:
        wanted[field] = condition


def _any_of(values: Sequence[Any] | None) -> Document | None:
    if values is None:
        return None
    plain = [str(value) for value in values]
    return _equal(plain[0]) if len(plain) == 1 else {"$in": plain}


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
