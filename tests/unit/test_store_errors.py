"""What the drivers raise, as what the product knows."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    CursorNotFound,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from jobs.errors import StoreUnavailable
from storage.errors import UnsupportedStore, mongodb_errors, url_errors


def bulk(*, write: int | None = None, concern: int | None = None) -> BulkWriteError:
    errors: list[dict[str, Any]] = [] if write is None else [{"index": 0, "code": write, "errmsg": "no"}]
    concerns: list[dict[str, Any]] = [] if concern is None else [{"code": concern, "errmsg": "not replicated"}]
    return BulkWriteError({"writeErrors": errors, "writeConcernErrors": concerns, "nMatched": 0})


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("gone"),
        NetworkTimeout("slow"),
        NotPrimaryError("stepped down"),
        ServerSelectionTimeoutError("nobody there"),
        WaitQueueTimeoutError("pool"),
        WTimeoutError("slow"),
        ExecutionTimeout("slow"),
        CursorNotFound("gone"),
        ConfigurationError("Sessions are not supported by this MongoDB deployment"),
        OperationFailure("host unreachable, says mongos", 6),
        OperationFailure("shutting down", 91),
        OperationFailure("no snapshot yet", 246),
        OperationFailure("killed with its session", 11601),
        bulk(concern=189),
        # Another write of the batch failed for a reason of its own: the rest is not known to be held by a majority.
        bulk(write=11000, concern=64),
    ],
    ids=lambda error: f"{type(error).__name__}-{getattr(error, 'code', None)}",
)
def test_when_it_is_unknown_whether_a_write_took_place_the_store_is_unavailable(error: PyMongoError) -> None:
    with pytest.raises(StoreUnavailable, match=f"MongoDB is unavailable: {type(error).__name__}"), mongodb_errors():
        raise error


@pytest.mark.parametrize("label", ["RetryableWriteError", "TransientTransactionError"])
def test_the_driver_s_word_that_a_write_may_be_retried_counts(label: str) -> None:
    error = OperationFailure("some other code", 424242)
    error._add_error_label(label)
    with pytest.raises(StoreUnavailable), mongodb_errors():
        raise error


@pytest.mark.parametrize("error", [DuplicateKeyError("taken", 11000), OperationFailure("bad", 9), bulk(write=11000)])
def test_what_the_database_refuses_is_raised_as_it_is(error: PyMongoError) -> None:
    with pytest.raises(type(error)), mongodb_errors():
        raise error


def test_an_address_that_makes_no_sense_is_told_by_its_setting() -> None:
    with pytest.raises(UnsupportedStore, match="MONGODB_URL: no such option"), url_errors():
        raise ConfigurationError("no such option")
