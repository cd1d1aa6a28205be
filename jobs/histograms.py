"""Histograms of lengths of time that can be added to one another, with a stated error.

A bucket is a 32nd of a power of two wide, so that the middle of one is never further than 1/64 (1.6 %) from a length in it;
below 64 ms each millisecond has a bucket of its own. The longest length is kept as it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil
from typing import Final

RELATIVE_ERROR: Final = 1 / 64
"""By so much a percentile differs at most from the length that truly has its rank; lengths below 64 ms are exact."""

PRECISION: Final = 5
"""The power of two into which each power of two is divided."""

LONGEST: Final = 2**40 - 1
"""Whatever is longer (34 years) shares the last bucket."""


def bucket_of(length_ms: int) -> int:
    """The number of the bucket that a length falls into; a negative one, which only a wrong clock can make, counts as 0."""
    length = min(max(length_ms, 0), LONGEST)
    shift = max(0, length.bit_length() - 1 - PRECISION)
    return (shift << PRECISION) + (length >> shift)


def middle_of(bucket: int) -> int:
    """The length, in whole milliseconds, that stands for all those in a bucket."""
    shift = max(0, (bucket >> PRECISION) - 1)
    shortest = (bucket - (shift << PRECISION)) << shift
    return shortest + ((1 << shift) - 1) // 2


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Lengths in milliseconds that so many percent do not exceed, and the longest of all."""

    p50: int
    p95: int
    p99: int
    max: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many lengths fell into each bucket, and the longest of them in milliseconds."""

    counts: Mapping[int, int] = field(default_factory=dict)
    longest: int = 0

    def percentiles(self) -> Percentiles | None:
        """None when there is nothing."""
        if not self.counts:
            return None
        return Percentiles(self._percentile(50), self._percentile(95), self._percentile(99), self.longest)

    def _percentile(self, percent: int) -> int:
        """The length at the rank that is nearest from above: the smallest that so many percent do not exceed."""
        buckets = sorted(self.counts)
        ranks = list(accumulate(self.counts[bucket] for bucket in buckets))
        wanted = ceil(ranks[-1] * percent / 100)
        return min(middle_of(buckets[bisect_left(ranks, wanted)]), self.longest)
