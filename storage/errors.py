"""What the drivers raise, as what the product knows: one table, applied at the edge of every store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    CursorNotFound,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)
from redis.exceptions import RedisError

from jobs.errors import FilterTooSlow, JobgateError, JobTooLarge, NotWritten, StoreUnavailable

_AWAY: Final = (ConnectionFailure, CursorNotFound, ExecutionTimeout, WriteConcernError, ConfigurationError)
"""The last is what the driver says of a server that is not a member of its replica set yet, or just now: it has no sessions."""

# What a server answers that is stopping, not primary any more, or cannot reach another: the driver's specification of
# retryable writes lists these, and mongos passes some of them on without a label.
_PASSING: Final = frozenset(
    {6, 7, 64, 89, 91, 134, 189, 237, 239, 246, 262, 317, 358, 9001, 10107, 11600, 11601, 11602, 13435, 13436}
)
"""239 and 246: a server that has just come back has no snapshot of the instant that was asked for, yet or any more. 11601
and 237: the operation, or its cursor, was killed, such as with the session that whoever takes over a bulk operation ends."""

_LABELS: Final = ("RetryableWriteError", "TransientTransactionError")
"""The second too: a transaction is begun anew where a write in it says so, but by Motor not where its commit does."""

OUT_OF_DISK_SPACE: Final = 14031

_TOO_LARGE: Final = frozenset({10334, 17419, 17420})
"""A document would grow beyond 16 MB: found on writing it, and by an update on what it has computed."""

REDIS_AWAY: Final = (RedisError, OSError, TimeoutError)


class UnsupportedStore(JobgateError):
    """The database answers, but is not one that the product can keep its promises on."""


@contextmanager
def url_errors() -> Iterator[None]:
    """Raise :class:`UnsupportedStore` for a URL of MongoDB that makes no sense."""
    try:
        yield
    except ConfigurationError as error:
        raise UnsupportedStore(f"MONGODB_URL: {error}") from error


@contextmanager
def mongodb_errors() -> Iterator[None]:
    """Raise :class:`StoreUnavailable` for what the driver raises when MongoDB is away, or has not answered in time.

    Whether a write took place is unknown then, also when a majority has not confirmed it.
    """
    try:
        yield
    except PyMongoError as error:
        if not _is_away(error):
            raise
        raise StoreUnavailable("MongoDB", type(error).__name__) from error


@contextmanager
def single_write() -> Iterator[None]:
    """As :func:`mongodb_errors`, around a write to one document: where the server itself refuses it, that is known.

    Raises :class:`NotWritten` when its disk is full, :class:`JobTooLarge` for a document that would become too large.
    """
    try:
        with mongodb_errors():
            yield
    except StoreUnavailable as error:
        refused = refused_by(error.__cause__)
        if refused is None:
            raise
        raise refused from error
    except OperationFailure as error:
        refused = refused_by(error)
        if refused is None:
            raise
        raise refused from error


def refused_by(error: BaseException | None) -> NotWritten | JobTooLarge | None:
    """What it means that a server answered with ``error``; None where no more is known than the driver says."""
    return refusal_of(error.code) if isinstance(error, OperationFailure) else None


def refusal_of(code: int | None) -> NotWritten | JobTooLarge | None:
    """What it means that a server refused to write one document with this code; None for any other."""
    if code == OUT_OF_DISK_SPACE:
        return NotWritten("MongoDB", "its disk is full")
    return JobTooLarge() if code in _TOO_LARGE else None


@contextmanager
def too_slow(within_ms: int | None) -> Iterator[None]:
    """Raise :class:`FilterTooSlow` for a read that took longer than ``within_ms``, its limit; the store is not away."""
    try:
        yield
    except StoreUnavailable as error:
        if within_ms is None or not isinstance(error.__cause__, ExecutionTimeout):
            raise
        raise FilterTooSlow(within_ms / 1000) from error


def _is_away(error: PyMongoError) -> bool:
    if isinstance(error, BulkWriteError):
        # Even if other writes of the batch failed for reasons of their own: of none is it known that a majority has it.
        return bool(error.details["writeConcernErrors"])
    if isinstance(error, _AWAY) or any(map(error.has_error_label, _LABELS)):
        return True
    return isinstance(error, OperationFailure) and error.code in {*_PASSING, OUT_OF_DISK_SPACE}
