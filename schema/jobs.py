"""Lists of jobs: the filter, the order, and the connection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Self, TypeVar

import strawberry

from jobs.filters import InputMatch
from jobs.filters import JobFilter as DomainFilter
from jobs.job import Job as DomainJob
from jobs.paging import Order, Page, job_cursor
from resolvers.reading import count_jobs
from schema.context import Info
from schema.enums import Direction, JobStatus, OrderField
from schema.job import Count, Job
from schema.node import PageInfo
from schema.scalars import JSON

T = TypeVar("T")


@strawberry.input(
    name="JSONMatch",
    description=(
        "That a value stands at a path within a job's input. The same as in JSON: 1 is 1.0 but not true, null is not nothing, "
        "and the order of an object's keys does not matter. Nothing in equals is an operator."
    ),
)
class JSONMatch:
    path: str = strawberry.field(
        description=(
            "Keys with dots in between, such as user.id; a whole number also counts as a place in a list, from 0. 16 keys and "
            "256 characters at most; none is empty or begins with $."
        )
    )
    equals: JSON = strawberry.field(description="The whole value: at most 5 levels deep, with 100 values in it.")

    def to_domain(self) -> InputMatch:
        return InputMatch(self.path, self.equals)


@strawberry.input(
    description="Which jobs are meant. Conditions combine with AND, the values of one list with OR; an empty list matches none."
)
class JobFilter:
    ids: list[strawberry.ID] | None = strawberry.field(default=None, description="One of these jobs.")
    status: list[JobStatus] | None = strawberry.field(default=None, description="In one of these statuses.")
    recurring: bool | None = strawberry.field(default=None, description="Recurring jobs only, or all others.")
    product: list[str] | None = strawberry.field(default=None, description="Of one of these products.")
    env: list[str] | None = strawberry.field(default=None, description="Of one of these environments.")
    namespace: list[str] | None = strawberry.field(default=None, description="Of a task in one of these groups.")
    task: list[str] | None = strawberry.field(default=None, description="Of one of these tasks.")
    tags: list[str] | None = strawberry.field(default=None, description="That carry all of these tags.")
    from_: datetime | None = strawberry.field(
        name="from",
        default=None,
        description="Not before this instant: completedAt of jobs that are over, scheduledAt of all others.",
    )
    to: datetime | None = strawberry.field(default=None, description="Before this instant: the same one as for from.")
    error_code: list[str] | None = strawberry.field(
        default=None, description="Whose latest error has one of these codes."
    )
    idempotency_key: str | None = strawberry.field(default=None, description="Dispatched with this key.")
    input: list[JSONMatch] | None = strawberry.field(
        default=None,
        description=(
            "With these values in their input, 10 at most. Each path is a condition; of several values for one path, one "
            "has to be there. Without an index on the path jobs are looked through one by one: a page that takes longer than "
            "2 s is an error with the code FILTER_TIMEOUT. Events do not carry the input: in a filter of them this is refused."
        ),
    )

    def to_domain(self) -> DomainFilter:
        return DomainFilter(
            ids=_tuple(self.ids),
            status=_tuple(self.status),
            recurring=self.recurring,
            product=_tuple(self.product),
            env=_tuple(self.env),
            namespace=_tuple(self.namespace),
            task=_tuple(self.task),
            tags=_tuple(self.tags),
            from_=self.from_,
            to=self.to,
            error_code=_tuple(self.error_code),
            idempotency_key=self.idempotency_key,
            input=None if self.input is None else tuple(match.to_domain() for match in self.input),
        )


@strawberry.input(description="How a list of jobs is ordered.")
class JobOrder:
    field: OrderField = strawberry.field(default=OrderField.CREATED_AT, description="What by.")
    direction: Direction = strawberry.field(default=Direction.DESC, description="Which way.")

    def to_domain(self) -> Order:
        return Order(self.field, descending=self.direction is Direction.DESC)


@strawberry.type(description="A job and its place in the list.")
class JobEdge:
    node: Job = strawberry.field(description="The job.")
    cursor: str = strawberry.field(description="Leads to this place: pass it as after or before.")


@strawberry.type(description="A page of jobs.")
class JobConnection:
    edges: list[JobEdge] = strawberry.field(description="The jobs of this page, each with its cursor.")
    nodes: list[Job] = strawberry.field(description="The jobs of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")
    conditions: strawberry.Private[DomainFilter]

    @strawberry.field(description="How many jobs match the filter; counted only when asked for, and not beyond 10 000.")
    async def total_count(self, info: Info) -> Count:
        return Count.from_domain(await count_jobs(info.context.services, info.context.principal, self.conditions))

    @classmethod
    def from_domain(cls, page: Page[DomainJob], order: Order, conditions: DomainFilter) -> Self:
        edges = [JobEdge(node=Job.from_domain(job), cursor=job_cursor(order, job)) for job in page.items]
        return cls(
            edges=edges,
            nodes=[edge.node for edge in edges],
            page_info=PageInfo.of(page, partial(job_cursor, order)),
            conditions=conditions,
        )


def _tuple(values: Sequence[T] | None) -> tuple[T, ...] | None:
    return None if values is None else tuple(values)
