"""Statistics as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

import strawberry

from jobs.filters import JobFilter
from jobs.histograms import Histogram
from jobs.lifecycle import JobStatus
from jobs.statistics import JobCounts, RunCounts
from resolvers.statistics import BucketCounts, count_runs, list_run_buckets
from schema.context import Info
from schema.enums import StatsBucket
from schema.scalars import Milliseconds


@strawberry.type(
    description="How long something took, at most 1.6 % off; whole milliseconds below 64 ms, and the longest, are exact."
)
class Percentiles:
    p50: Milliseconds = strawberry.field(description="Half of them took no longer: the median.")
    p95: Milliseconds = strawberry.field(description="95 % of them took no longer.")
    p99: Milliseconds = strawberry.field(description="99 % of them took no longer.")
    max: Milliseconds = strawberry.field(description="The longest.")

    @classmethod
    def from_domain(cls, histogram: Histogram) -> Self | None:
        found = histogram.percentiles()
        if found is None:
            return None
        return cls(
            p50=Milliseconds(found.p50),
            p95=Milliseconds(found.p95),
            p99=Milliseconds(found.p99),
            max=Milliseconds(found.max),
        )


@strawberry.type(description="The runs that ended within one bucket of time.")
class ExecutionBucket:
    start: datetime = strawberry.field(description="When the bucket begins. It ends where the next one would begin.")
    successful: int = strawberry.field(description="Runs that completed.")
    failed: int = strawberry.field(description="Runs that failed.")
    duration: Percentiles | None = strawberry.field(
        description="From started to ended, waits between attempts included; cancelled runs count too."
    )

    @classmethod
    def from_domain(cls, bucket: BucketCounts) -> Self:
        runs = bucket.runs
        return cls(
            start=bucket.start,
            successful=runs.successful,
            failed=runs.failed,
            duration=Percentiles.from_domain(runs.duration),
        )


@strawberry.type(
    description=(
        "The runs that ended, those of recurring jobs one by one. With from and to in the filter: that ended within that time. "
        "Runs of jobs that were deleted since count as long as the filter speaks of product, env, namespace, task and whole "
        "minutes only."
    )
)
class ExecutionStats:
    total: int = strawberry.field(description="All of them: successful, failed and cancelled.")
    successful: int = strawberry.field(description="Those that completed.")
    failed: int = strawberry.field(description="Those that failed. Those that were cancelled are in total only.")
    success_rate: float = strawberry.field(
        description="In percent: 100 × successful / (successful + failed), 0 when there are none."
    )
    duration: Percentiles | None = strawberry.field(
        description="From started to ended, waits between attempts included; null when no run has ended."
    )
    wait: Percentiles | None = strawberry.field(description="From due to started; null when no run has ended.")
    conditions: strawberry.Private[JobFilter]

    @strawberry.field(
        description=(
            "The same over time, earliest first; buckets in which no run ended are left out. 1500 buckets at most: without "
            "from in the filter the latest of them, with it more are refused."
        )
    )
    async def series(
        self,
        info: Info,
        bucket: Annotated[StatsBucket, strawberry.argument(description="How long each bucket is.")] = StatsBucket.HOUR,
    ) -> list[ExecutionBucket]:
        context = info.context
        buckets = await list_run_buckets(context.services, context.principal, self.conditions, bucket)
        return [ExecutionBucket.from_domain(one) for one in buckets]

    @classmethod
    def from_domain(cls, runs: RunCounts, conditions: JobFilter) -> Self:
        return cls(
            total=runs.total,
            successful=runs.successful,
            failed=runs.failed,
            success_rate=runs.success_rate,
            duration=Percentiles.from_domain(runs.duration),
            wait=Percentiles.from_domain(runs.wait),
            conditions=conditions,
        )


@strawberry.type(description="How many jobs match, by where they stand.")
class JobStats:
    total: int = strawberry.field(description="All of them: the sum of the seven that follow.")
    scheduled: int = strawberry.field(description="Jobs that wait for their time.")
    queued: int = strawberry.field(description="Jobs that are due and wait for a worker.")
    running: int = strawberry.field(description="Jobs that a worker runs.")
    completed: int = strawberry.field(description="Jobs that ended well.")
    failed: int = strawberry.field(description="Jobs that failed for good.")
    cancelled: int = strawberry.field(description="Jobs that were cancelled.")
    paused: int = strawberry.field(description="Recurring jobs that rest until they are resumed.")
    success_rate: float = strawberry.field(
        description="In percent of those that are over: 100 × completed / (completed + failed), 0 when none finished."
    )
    completed_first_try: int = strawberry.field(description="Of the completed, those whose retryCount is 0.")
    completed_after_retry: int = strawberry.field(description="Of the completed, all others.")
    avg_retry_count: float = strawberry.field(
        description="The average retryCount of those that completed or failed, 0 when there are none."
    )
    conditions: strawberry.Private[JobFilter]

    @strawberry.field(description="How their runs went; counted only when asked for.")
    async def executions(self, info: Info) -> ExecutionStats:
        runs = await count_runs(info.context.services, info.context.principal, self.conditions)
        return ExecutionStats.from_domain(runs, self.conditions)

    @classmethod
    def from_domain(cls, counts: JobCounts, conditions: JobFilter) -> Self:
        return cls(
            total=counts.total,
            **{status.value: counts.by_status[status] for status in JobStatus},
            success_rate=counts.success_rate,
            completed_first_try=counts.first_try,
            completed_after_retry=counts.after_retry,
            avg_retry_count=counts.average_retries,
            conditions=conditions,
        )
