"""Events as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry

from jobs.feed import JobEvent as DomainEvent
from jobs.filters import EventFilter
from jobs.filters import JobFilter as DomainFilter
from schema.context import Info
from schema.enums import EventType, JobStatus
from schema.job import Job
from schema.jobs import JobFilter


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
    execution_count: int = strawberry.field(description="Runs begun by then.")
    error: str | None = strawberry.field(description="The error that the job had by then.")
    actor: str | None = strawberry.field(description="Who asked for it; null for what the machine did by itself.")
    reason: str | None = strawberry.field(description="Why.")

    @strawberry.field(description="The job as it is now; null when it is gone.")
    async def job(self, info: Info) -> Job | None:
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
            execution_count=job.execution_count,
            error=job.error.message if job.error else None,
            actor=event.actor,
            reason=event.reason,
        )


@strawberry.input(description="Which events are meant.")
class JobEventFilter:
    types: list[EventType] | None = strawberry.field(default=None, description="Of one of these types.")
    jobs: JobFilter | None = strawberry.field(
        default=None, description="Of jobs that matched this filter once the event had happened."
    )


def event_filter(wanted: JobEventFilter | None) -> EventFilter:
    """The filter of the core; everything, unless something is asked for."""
    if wanted is None:
        return EventFilter()
    jobs = wanted.jobs.to_domain() if wanted.jobs else DomainFilter()
    return EventFilter(types=None if wanted.types is None else tuple(wanted.types), jobs=jobs)
