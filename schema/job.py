"""The job and its events as the API shows them: in one module, since each leads to the other."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Self

import strawberry

from jobs.feed import JobEvent as DomainEvent
from jobs.job import Job as DomainJob
from jobs.paging import Counted
from jobs.recurrence import Cron, Every
from jobs.retries import RetryPolicy
from jobs.times import to_milliseconds
from resolvers.log import NO_EVENTS, EventPage
from resolvers.planning import forecast
from schema.arguments import After, First, RunCount
from schema.audit import Origin
from schema.context import Info, Slice
from schema.enums import EventType, JobAction, JobStatus, MissedRuns, Overlap
from schema.history import JobHistory
from schema.node import Node, PageInfo
from schema.passed_over import PassedOver
from schema.payloads import check_may_read, handed_out, reads_payloads, visible_error, visible_origin
from schema.scalars import JSON, Milliseconds


@strawberry.type(description="How failed attempts are tried again.")
class RetryConfig:
    initial_delay: Milliseconds = strawberry.field(description="The wait before the first retry.")
    max_delay: Milliseconds = strawberry.field(description="No wait is longer, but for its jitter.")
    backoff_multiplier: float = strawberry.field(description="By how much each wait is longer than the one before.")
    jitter: float = strawberry.field(description="The share of the wait that is added at random: 0.3 adds up to 30 %.")
    retryable_errors: list[str] | None = strawberry.field(description="When given, only these error codes are retried.")
    non_retryable_errors: list[str] | None = strawberry.field(description="These error codes fail at once.")

    @classmethod
    def from_domain(cls, policy: RetryPolicy) -> Self:
        return cls(
            initial_delay=Milliseconds(to_milliseconds(policy.initial_delay)),
            max_delay=Milliseconds(to_milliseconds(policy.max_delay)),
            backoff_multiplier=policy.backoff_multiplier,
            jitter=policy.jitter,
            retryable_errors=_codes(policy.retryable_errors),
            non_retryable_errors=_codes(policy.non_retryable_errors),
        )


@strawberry.type(description="One unit of work: run once, or again and again.")
class Job(Node):
    status: JobStatus = strawberry.field(description="Where it stands.")
    namespace: str = strawberry.field(description="The group of its task, e.g. notifications.")
    task: str = strawberry.field(description="The handler that runs it, e.g. send_email.")
    product: str = strawberry.field(description="The product that it belongs to.")
    env: str = strawberry.field(description="The environment of the product, e.g. prd.")
    tags: list[str] = strawberry.field(description="Labels given at dispatch.")
    priority: int = strawberry.field(
        description="Of the jobs that wait for a worker, those with a higher one start first."
    )
    scheduled_at: datetime = strawberry.field(description="When its current run is due, or the last one was.")
    started_at: datetime | None = strawberry.field(description="When its latest run began.")
    completed_at: datetime | None = strawberry.field(
        description="When its latest run ended; set whenever the job is over."
    )
    recurring: bool = strawberry.field(description="Whether it runs again and again.")
    cron: str | None = strawberry.field(description="The cron expression that it recurs by.")
    tz: str | None = strawberry.field(description="The time zone of the cron expression.")
    every: Milliseconds | None = strawberry.field(description="The interval that it recurs by.")
    start_at: datetime | None = strawberry.field(description="No occurrence comes before this instant.")
    end_date: datetime | None = strawberry.field(description="No run is due after this instant.")
    limit: int | None = strawberry.field(description="How many runs it takes at most, failed ones included.")
    missed: MissedRuns | None = strawberry.field(description="What becomes of occurrences that were missed.")
    overlap: Overlap | None = strawberry.field(description="What becomes of occurrences that come due during a run.")
    next_run_at: datetime | None = strawberry.field(description="When it is due next; null when nothing is planned.")
    execution_count: int = strawberry.field(description="Runs begun so far; a retry is not a run of its own.")
    retries: int = strawberry.field(description="Automatic retries that a run may take.")
    retry_count: int = strawberry.field(
        description="Retries taken: by the current run of a recurring job, over its life by any other."
    )
    retry_config: RetryConfig = strawberry.field(description="How failed attempts are tried again.")
    timeout: Milliseconds | None = strawberry.field(
        description="How long an attempt may take; null: as long as it likes."
    )
    error_code: str | None = strawberry.field(description="The code of that error.")
    progress: float | None = strawberry.field(description="How far the latest attempt has come, from 0 to 1.")
    cancel_reason: str | None = strawberry.field(description="Why it was cancelled.")
    pause_reason: str | None = strawberry.field(description="Why it was paused.")
    idempotency_key: str | None = strawberry.field(description="The key that it was dispatched with.")
    created_at: datetime = strawberry.field(description="When it was dispatched.")
    updated_at: datetime = strawberry.field(description="When it last changed.")
    revision: int = strawberry.field(description="Grows with every change.")

    domain: strawberry.Private[DomainJob]

    @strawberry.field(
        description=(
            'What the handler is given, with "[secret]" where the task says that a part is secret; an empty object to those '
            "who lack the scope payloads:read."
        )
    )
    def input(self, info: Info) -> JSON:
        return handed_out(info, self.domain.id, JSON(self.domain.input)) if reads_payloads(info) else JSON({})

    @strawberry.field(
        description=(
            "What the handler answered in the latest run, if that succeeded; null to those who lack the scope payloads:read."
        )
    )
    def result(self, info: Info) -> JSON | None:
        return handed_out(info, self.domain.id, JSON(self.domain.result)) if reads_payloads(info) else None

    @strawberry.field(
        description=(
            "Why the latest attempt failed; success clears it. No more than the code to those who lack payloads:read."
        )
    )
    def last_error(self, info: Info) -> str | None:
        return visible_error(info, self.domain.last_error)

    @strawberry.field(
        description="What the handler says about its progress; null to those who lack the scope payloads:read."
    )
    def progress_message(self, info: Info) -> str | None:
        return self.domain.progress_message if reads_payloads(info) else None

    @strawberry.field(description="What may be done to the job now, by this caller: what would change something.")
    def allowed_actions(self, info: Info) -> list[JobAction]:
        return [JobAction(action.value) for action in info.context.principal.allowed(self.domain.allowed_actions)]

    @strawberry.field(
        description="The next instants at which a recurring job will run, if nothing changes; empty for any other job."
    )
    async def upcoming_runs(self, info: Info, count: RunCount = 5) -> list[datetime]:
        return forecast(info.context.services, self.domain, count)

    @strawberry.field(description="Its runs that have ended, newest first.")
    async def history(self, info: Info, first: First = 20, after: After = None) -> JobHistory:
        check_may_read(info)
        history = await info.context.histories.load(Slice(first, after, self.id))
        return JobHistory.from_domain(history) if history is not None else JobHistory.empty(self.id)

    @strawberry.field(
        description="What has happened to it, oldest first: what is in the log, which is milliseconds behind at most."
    )
    async def events(self, info: Info, first: First = 50, after: After = None) -> JobEventConnection:
        check_may_read(info)
        page = await info.context.events.load(Slice(first, after, self.id))
        return JobEventConnection.from_domain(page if page is not None else NO_EVENTS)

    @classmethod
    def from_domain(cls, job: DomainJob) -> Self:
        rule = job.recurrence.rule if job.recurrence else None
        cron = rule if isinstance(rule, Cron) else None
        every = rule if isinstance(rule, Every) else None
        return cls(
            id=strawberry.ID(job.id),
            status=job.status,
            namespace=job.namespace,
            task=job.task,
            product=job.product,
            env=job.env,
            tags=list(job.tags),
            priority=job.priority,
            scheduled_at=job.scheduled_at,
            started_at=job.started_at,
            completed_at=job.completed_at,
            recurring=job.is_recurring,
            cron=cron.expression if cron else None,
            tz=cron.tz if cron else None,
            every=Milliseconds(to_milliseconds(every.interval)) if every else None,
            start_at=job.recurrence.start_at if job.recurrence else None,
            end_date=job.recurrence.end_date if job.recurrence else None,
            limit=job.recurrence.max_executions if job.recurrence else None,
            missed=job.recurrence.missed if job.recurrence else None,
            overlap=job.recurrence.overlap if job.recurrence else None,
            next_run_at=job.next_run_at,
            execution_count=job.execution_count,
            retries=job.retries,
            retry_count=job.retry_count,
            retry_config=RetryConfig.from_domain(job.retry_policy),
            timeout=None if job.timeout is None else Milliseconds(to_milliseconds(job.timeout)),
            error_code=job.last_error.code if job.last_error else None,
            progress=job.progress,
            cancel_reason=job.cancelled.reason if job.cancelled else None,
            pause_reason=job.paused.reason if job.paused else None,
            idempotency_key=job.idempotency.key if job.idempotency else None,
            created_at=job.created_at,
            updated_at=job.updated_at,
            revision=job.revision,
            domain=job,
        )


@strawberry.type(description="Something that happened to a job.")
class JobEvent:
    cursor: str = strawberry.field(description="Leads behind this event: pass it as after to go on from here.")
    type: EventType = strawberry.field(description="What happened.")
    at: datetime = strawberry.field(description="When it happened.")
    job_id: strawberry.ID = strawberry.field(description="The job.")
    seq: int = strawberry.field(description="Numbers the events of one job: 1, 2, 3 … without a gap.")
    status: JobStatus = strawberry.field(description="The job's status once this had happened.")
    namespace: str = strawberry.field(description="The group of its task.")
    task: str = strawberry.field(description="Its task.")
    product: str = strawberry.field(description="Its product.")
    env: str = strawberry.field(description="Its environment.")
    scheduled_at: datetime = strawberry.field(
        description="The job's scheduledAt by then: when its current run was due, or between two runs when its next one is."
    )
    execution_count: int = strawberry.field(description="Runs begun by then.")
    actor: str | None = strawberry.field(description="Who asked for it; null for what the machine did by itself.")
    reason: str | None = strawberry.field(description="Why.")
    passed_over: PassedOver | None = strawberry.field(
        description="Occurrences that the job left out with this. With those that were run, they are all that came due."
    )

    domain: strawberry.Private[DomainEvent]

    @strawberry.field(
        description="The error that the job had by then; no more than its code to those who lack payloads:read."
    )
    def error(self, info: Info) -> str | None:
        return visible_error(info, self.domain.snapshot.error)

    @strawberry.field(
        description="From where and with what the actor asked for it; null if nobody did, and without the scope admin."
    )
    def origin(self, info: Info) -> Origin | None:
        return visible_origin(info, self.domain.origin)

    @strawberry.field(description="The job as it is now; null when it is gone.")
    async def job(self, info: Info) -> Job | None:
        check_may_read(info)
        found = await info.context.jobs.load(self.job_id)
        return None if found is None else Job.from_domain(found)

    @classmethod
    def from_domain(cls, event: DomainEvent) -> Self:
        job = event.snapshot
        return cls(
            cursor=event.cursor,
            type=event.type,
            at=event.at,
            job_id=strawberry.ID(event.job_id),
            seq=event.seq,
            status=job.status,
            namespace=job.namespace,
            task=job.task,
            product=job.product,
            env=job.env,
            scheduled_at=job.scheduled_at,
            execution_count=job.execution_count,
            actor=event.actor,
            reason=event.reason,
            passed_over=PassedOver.from_domain(event.passed_over) if event.passed_over else None,
            domain=event,
        )


@strawberry.type(description="A page of events, oldest first.")
class JobEventConnection:
    nodes: list[JobEvent] = strawberry.field(
        description="The events of this page: few, or none, where little of what was looked through was meant."
    )
    page_info: PageInfo = strawberry.field(
        description="Where the page stands. endCursor leads on, also from an empty one."
    )

    @classmethod
    def from_domain(cls, events: EventPage) -> Self:
        page = events.page
        return cls(
            nodes=[JobEvent.from_domain(event) for event in page.items],
            page_info=replace(PageInfo.of(page, lambda event: event.cursor), end_cursor=events.end),
        )


@strawberry.type(description="A number that says how far it was counted.")
class Count:
    value: int = strawberry.field(description="How many match, or at least how many.")
    exact: bool = strawberry.field(description="Whether exactly so many match.")

    @classmethod
    def from_domain(cls, counted: Counted) -> Self:
        return cls(value=counted.value, exact=counted.exact)


def _codes(codes: tuple[str, ...] | None) -> list[str] | None:
    return None if codes is None else list(codes)
