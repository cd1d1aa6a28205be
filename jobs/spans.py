"""Stretches of time made of whole buckets: minutes, hours and days, in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from jobs.times import EPOCH

LIFETIME: Final = "lifetime"
"""The level that is above all buckets: everything that ever was."""

FOREVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""What an open end stands for: later than every instant that is accepted."""


class Bucket(StrEnum):
    """What time is divided into, from the finest to the coarsest."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        return _LENGTHS[self]


_LENGTHS: Final = {
    Bucket.MINUTE: timedelta(minutes=1),
    Bucket.HOUR: timedelta(hours=1),
    Bucket.DAY: timedelta(days=1),
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """The instants in [start, end), which is made of whole buckets; None: of part of a minute."""

    bucket: Bucket | None
    start: datetime
    end: datetime


def floor(instant: datetime, bucket: Bucket) -> datetime:
    """The start of the bucket that an instant lies in."""
    return instant - (instant - EPOCH) % bucket.length


def ceiling(instant: datetime, bucket: Bucket) -> datetime:
    """The first start of a bucket that is not before an instant."""
    return instant + (EPOCH - instant) % bucket.length


def cover(start: datetime, end: datetime, coarsest: Bucket = Bucket.DAY) -> list[Stretch]:
    """[start, end) in as few buckets as there can be, none coarser than ``coarsest``: at most seven stretches."""
    return [stretch for stretch in _cover(start, end, coarsest) if stretch.start < stretch.end]


def _cover(start: datetime, end: datetime, coarsest: Bucket) -> Iterator[Stretch]:
    finer: Bucket | None = None
    for bucket in Bucket:
        first, last = ceiling(start, bucket), floor(end, bucket)
        if first >= last or bucket.length > coarsest.length:
            break
        yield Stretch(finer, start, first)
        yield Stretch(finer, last, end)
        start, end, finer = first, last, bucket
    yield Stretch(finer, start, end)
