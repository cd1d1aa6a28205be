"""What a dispatch is asked with."""

from __future__ import annotations

from datetime import datetime

import strawberry

from jobs.dispatch import DispatchRequest, RetrySpec
from jobs.schedule import ScheduleSpec
from schema.enums import MissedRuns, Overlap
from schema.scalars import JSON, Milliseconds


@strawberry.input(
    description="When a job runs. startAt alone: once, at that time. With cron or every, never both: recurring."
)
class ScheduleInput:
    start_at: datetime | None = strawberry.field(
        default=None, description="When it runs, or from when on it recurs; an instant in the past means now."
    )
    cron: str | None = strawberry.field(
        default=None,
        description="Five fields: minute, hour, day of month, month, day of week. Days combine with OR when both are given.",
    )
    tz: str | None = strawberry.field(default=None, description="IANA time zone of the cron, UTC unless given.")
    every: Milliseconds | None = strawberry.field(
        default=None,
        description="Interval of the grid startAt (or now), startAt + every, …: from one second to ten years.",
    )
    limit: int | None = strawberry.field(
        default=None, description="How many runs it takes at most, failed ones included."
    )
    end_date: datetime | None = strawberry.field(default=None, description="No run is due after this instant.")
    missed: MissedRuns | None = strawberry.field(
        default=None, description="What becomes of occurrences that were missed; RUN_ONCE unless given."
    )
    overlap: Overlap | None = strawberry.field(
        default=None, description="What becomes of occurrences that come due during a run; SKIP unless given."
    )

    def to_domain(self) -> ScheduleSpec:
        return ScheduleSpec(
            start_at=self.start_at,
            cron=self.cron,
            tz=self.tz,
            every_ms=self.every,
            limit=self.limit,
            end_date=self.end_date,
            missed=self.missed,
            overlap=self.overlap,
        )


@strawberry.input(
    description="What changes about when a job runs. cron and every replace each other; a job that runs once has startAt only."
)
class RescheduleInput:
    start_at: datetime | None = strawberry.field(
        default=None, description="When it runs next; the grid of an interval begins here anew."
    )
    cron: str | None = strawberry.field(default=None, description="Five fields, as for a new job.")
    tz: str | None = strawberry.field(
        default=None, description="IANA time zone of the cron; the one that it has unless given."
    )
    every: Milliseconds | None = strawberry.field(default=None, description="From one second to ten years.")
    limit: int | None = strawberry.field(
        default=None, description="How many runs it takes at most, those that it has taken included."
    )
    end_date: datetime | None = strawberry.field(default=None, description="No run is due after this instant.")

    def to_domain(self) -> ScheduleSpec:
        return ScheduleSpec(
            start_at=self.start_at,
            cron=self.cron,
            tz=self.tz,
            every_ms=self.every,
            limit=self.limit,
            end_date=self.end_date,
        )


@strawberry.input(description="How failed attempts are tried again. Errors are matched on their code, exactly.")
class RetryConfigInput:
    initial_delay: Milliseconds = strawberry.field(
        default=Milliseconds(1000), description="The wait before the first retry."
    )
    max_delay: Milliseconds = strawberry.field(
        default=Milliseconds(300_000), description="No wait is longer, but for its jitter."
    )
    backoff_multiplier: float = strawberry.field(
        default=2, description="By how much each wait is longer than the one before; 1 or more."
    )
    jitter: float = strawberry.field(
        default=0, description="The share of the wait that is added at random, 0 to 1: 0.3 adds up to 30 %."
    )
    retryable_errors: list[str] | None = strawberry.field(
        default=None, description="When given, only these error codes are retried."
    )
    non_retryable_errors: list[str] | None = strawberry.field(
        default=None, description="These error codes fail at once."
    )

    def to_domain(self) -> RetrySpec:
        return RetrySpec(
            initial_delay_ms=self.initial_delay,
            max_delay_ms=self.max_delay,
            backoff_multiplier=self.backoff_multiplier,
            jitter=self.jitter,
            retryable_errors=None if self.retryable_errors is None else tuple(self.retryable_errors),
            non_retryable_errors=None if self.non_retryable_errors is None else tuple(self.non_retryable_errors),
        )


@strawberry.input(description="A job to dispatch.")
class DispatchInput:
    namespace: str = strawberry.field(description="The group of the task, e.g. notifications.")
    task: str = strawberry.field(description="The task, e.g. send_email. Some worker must have offered it.")
    product: str = strawberry.field(description="The product that the job belongs to.")
    env: str = strawberry.field(description="The environment of the product, e.g. prd.")
    input: JSON = strawberry.field(
        default_factory=dict, description="What the handler is given: 256 KB of JSON at most."
    )
    tags: list[str] = strawberry.field(default_factory=list, description="Labels to find the job by, 50 at most.")
    priority: int = strawberry.field(
        default=0, description="-1000 to 1000: of the jobs that wait for a worker, those with a higher one start first."
    )
    retries: int = strawberry.field(
        default=0,
        description="Automatic retries after the first attempt of a run, 0 to 1000. The task may ask for more.",
    )
    retry_config: RetryConfigInput | None = strawberry.field(
        default=None, description="How they are spaced, and for what."
    )
    schedule: ScheduleInput | None = strawberry.field(default=None, description="When it runs; at once unless given.")
    timeout: Milliseconds | None = strawberry.field(
        default=None, description="How long an attempt may take, 30 days at most; what the task says unless given."
    )
    idempotency_key: str | None = strawberry.field(
        default=None,
        description="The same key with the same request answers the first job; with another request, IdempotencyConflict.",
    )

    def to_domain(self) -> DispatchRequest:
        return DispatchRequest(
            namespace=self.namespace,
            task=self.task,
            product=self.product,
            env=self.env,
            input=self.input,
            tags=tuple(self.tags),
            priority=self.priority,
            retries=self.retries,
            retry=self.retry_config.to_domain() if self.retry_config else RetrySpec(),
            schedule=self.schedule.to_domain() if self.schedule else ScheduleSpec(),
            timeout_ms=self.timeout,
            idempotency_key=self.idempotency_key,
        )
