"""Pages of a list: what was asked for, what came of it, and the keyset cursors in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Generic, TypeVar

from jobs.cursors import decode_cursor, encode_cursor
from jobs.errors import InvalidInput, Issue
from jobs.job import Job
from jobs.times import EPOCH, MILLISECOND

MAX_PAGE: Final = 200
DEFAULT_PAGE: Final = 50
MAX_OFFSET: Final = 10_000
"""The database reads all that is left out."""

T = TypeVar("T")


class OrderField(StrEnum):
    """What a list of jobs may be ordered by; equal ones are ordered by id."""

    CREATED_AT = "created_at"
    SCHEDULED_AT = "scheduled_at"
    COMPLETED_AT = "completed_at"
    UPDATED_AT = "updated_at"
    PRIORITY = "priority"


@dataclass(frozen=True, slots=True)
class Order:
    """An order field and its direction. Jobs without a value come first ascending, last descending."""

    field: OrderField = OrderField.CREATED_AT
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an ordered list: the value of the order field and the id of the job that stands there."""

    order: Order
    value: datetime | int | None
    job_id: str


@dataclass(frozen=True, slots=True)
class PageRequest:
    """How much of the list, from where. ``backward``: the ``size`` jobs before ``before``, still in the list's order."""

    size: int
    after: str | None = None
    before: str | None = None
    backward: bool = False
    offset: int = 0
    """Jobs to leave out at the front, for tables with page numbers: never together with a cursor."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list, and whether there are more on either side."""

    items: Sequence[T]
    has_next: bool
    has_previous: bool


@dataclass(frozen=True, slots=True)
class Counted:
    """A number of jobs: ``value`` match, or at least so many when it is not ``exact``."""

    value: int
    exact: bool


def page_request(
    first: int | None, last: int | None, after: str | None, before: str | None, offset: int | None = None
) -> PageRequest:
    """Check the paging arguments against each other. Raises :class:`InvalidInput` that names the argument."""
    if first is not None and last is not None:
        raise InvalidInput([Issue(("last",), "give first or last, not both")])
    size = page_size(first, "first") if last is None else page_size(last, "last")
    if offset is not None:
        _check_offset(offset, alone=last is None and after is None and before is None)
    return PageRequest(size, after, before, backward=last is not None, offset=offset or 0)


def _check_offset(offset: int, *, alone: bool) -> None:
    if not alone:
        raise InvalidInput([Issue(("offset",), "goes with first only, not with last, after or before")])
    if not 0 <= offset <= MAX_OFFSET:
        message = f"must be between 0 and {MAX_OFFSET}, not {offset}; beyond that, go on by cursor"
        raise InvalidInput([Issue(("offset",), message)])


def page_size(size: int | None, argument: str) -> int:
    """The page size, or the default one. Raises :class:`InvalidInput` when it is not within 0 and ``MAX_PAGE``."""
    if size is None:
        return DEFAULT_PAGE
    if not 0 <= size <= MAX_PAGE:
        raise InvalidInput([Issue((argument,), f"must be between 0 and {MAX_PAGE}, not {size}")])
    return size


def job_cursor(order: Order, job: Job) -> str:
    """The cursor of a job in a list of this order."""
    value = order_value(order.field, job)
    plain = (value - EPOCH) // MILLISECOND if isinstance(value, datetime) else value
    return encode_cursor(["job", order.field.value, order.descending, plain, job.id])


def job_position(cursor: str, order: Order, argument: str = "after") -> Position:
    """The place that a cursor speaks of. Raises :class:`jobs.errors.BadCursor`, also for a cursor of another order."""
    return decode_cursor(cursor, "job", lambda parts: _position(parts, order), argument)


def order_value(field: OrderField, job: Job) -> datetime | int | None:
    """What a job is ordered by."""
    match field:
        case OrderField.CREATED_AT:
            return job.created_at
        case OrderField.SCHEDULED_AT:
            return job.scheduled_at
        case OrderField.COMPLETED_AT:
            return job.completed_at
        case OrderField.UPDATED_AT:
            return job.updated_at
        case OrderField.PRIORITY:  # pragma: no branch  # there is no other
            return job.priority


def _position(parts: Sequence[object], order: Order) -> Position | None:
    match parts:
        case [order.field.value, order.descending, int() | None as value, str(job_id)] if not isinstance(value, bool):
            return _typed_position(order, value, job_id)
    return None


def _typed_position(order: Order, value: int | None, job_id: str) -> Position | None:
    if order.field is OrderField.PRIORITY:
        return None if value is None else Position(order, value, job_id)
    if value is None:
        # Only completed_at may be missing.
        return Position(order, None, job_id) if order.field is OrderField.COMPLETED_AT else None
    try:
        return Position(order, EPOCH + timedelta(milliseconds=value), job_id)
    except OverflowError:
        return None
