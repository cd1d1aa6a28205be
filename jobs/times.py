"""Instants as the product keeps them: aware, in UTC, in whole milliseconds – what BSON and the API can both carry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)


def to_milliseconds(length: timedelta) -> int:
    """A length of time in whole milliseconds, rounded down."""
    return length // MILLISECOND


def truncate(instant: datetime) -> datetime:
    """The instant without its microseconds."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
