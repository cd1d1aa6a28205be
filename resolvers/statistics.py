"""Statistics: how many jobs there are, and how their runs went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jobs.access import Principal
from jobs.errors import InvalidInput, Issue
from jobs.filters import JobFilter
from jobs.spans import FOREVER, Bucket, Stretch, ceiling, cover, floor
from jobs.statistics import Counters, JobCounts, RunCounts, run_counts
from jobs.times import EPOCH
from resolvers.reading import check_filter
from resolvers.services import Services

MAX_BUCKETS: Final = 1500
"""The longest series: two months of hours, four years of days."""


@dataclass(frozen=True, slots=True)
class BucketCounts:
    """The runs that ended within one bucket of time."""

    start: datetime
    runs: RunCounts


async def count_jobs_by_status(services: Services, principal: Principal, conditions: JobFilter) -> JobCounts:
    """The jobs that match. Raises ``InvalidInput``, ``TooExpensive``, ``StoreUnavailable``."""
    check_filter(principal, conditions, ("filter",))
    return await services.statistics.jobs(principal.reach, conditions)


async def count_runs(services: Services, principal: Principal, conditions: JobFilter) -> RunCounts:
    """The runs of such jobs that ended in [from, to). Raises ``InvalidInput``, ``TooExpensive``, ``StoreUnavailable``."""
    check_filter(principal, conditions, ("filter",))
    counted = await services.statistics.runs(principal.reach, conditions, _stretches(conditions), None)
    return run_counts(counted.get(None, Counters()))


async def list_run_buckets(
    services: Services, principal: Principal, conditions: JobFilter, bucket: Bucket
) -> list[BucketCounts]:
    """The buckets in which runs of such jobs ended, in order. Without ``from``, the latest of them.

    Raises ``InvalidInput`` where there would be more than :data:`MAX_BUCKETS`, ``TooExpensive``, ``StoreUnavailable``.
    """
    check_filter(principal, conditions, ("filter",))
    start, end = _series_span(services, conditions, bucket)
    counted = await services.statistics.runs(principal.reach, conditions, cover(start, end, bucket), bucket)
    return sorted(_dated(counted), key=lambda one: one.start)


def _stretches(conditions: JobFilter) -> list[Stretch] | None:
    if conditions.from_ is None and conditions.to is None:
        return None
    return cover(conditions.from_ or EPOCH, conditions.to or FOREVER)


def _series_span(services: Services, conditions: JobFilter, bucket: Bucket) -> tuple[datetime, datetime]:
    end = conditions.to or floor(services.clock.now(), bucket) + bucket.length
    if conditions.from_ is None:
        return max(EPOCH, ceiling(end, bucket) - MAX_BUCKETS * bucket.length), end
    if ceiling(end, bucket) - floor(conditions.from_, bucket) > MAX_BUCKETS * bucket.length:
        advice = f"there would be more than {MAX_BUCKETS} buckets; choose longer ones, or a shorter time in the filter"
        raise InvalidInput([Issue(("bucket",), advice)])
    return conditions.from_, end


def _dated(counted: Mapping[datetime | None, Counters]) -> Iterator[BucketCounts]:
    return (BucketCounts(at, run_counts(counters)) for at, counters in counted.items() if at is not None)
