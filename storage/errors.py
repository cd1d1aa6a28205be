"""What the drivers raise, as what the product knows: one table, applied at the edge of every store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)
from redis.exceptions import RedisError

from jobs.errors import JobgateError, StoreUnavailable

MONGODB_AWAY: Final = (
    AutoReconnect,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)
"""MongoDB could not be reached, or did not answer in time. Whether a write took place is unknown."""

REDIS_AWAY: Final = (RedisError, OSError, TimeoutError)


class UnsupportedStore(JobgateError):
    """The database answers, but is not one that the product can keep its promises on."""


@contextmanager
def mongodb_errors() -> Iterator[None]:
    """Raise :class:`StoreUnavailable` for what the driver raises when MongoDB is away."""
    try:
        yield
    except MONGODB_AWAY as error:
        raise StoreUnavailable("MongoDB", type(error).__name__) from error
    except ConfigurationError as error:
        raise UnsupportedStore(f"MONGODB_URL: {error}") from error
