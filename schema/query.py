"""The queries."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import argument

from jobs.filters import JobFilter as DomainFilter
from jobs.paging import Order
from resolvers.reading import find_job, list_jobs, read_history
from schema.arguments import After, Before, First, JobId, OptionalFirst, OptionalLast
from schema.context import Info
from schema.history import JobHistory
from schema.job import Job
from schema.jobs import JobConnection, JobFilter, JobOrder


@strawberry.type(description="What can be read.")
class Query:
    @strawberry.field(description="A job; null when it is unknown, or not visible to the caller.")
    async def job(self, info: Info, id: JobId) -> Job | None:
        found = await find_job(info.context.services, info.context.principal, id)
        return None if found is None else Job.from_domain(found)

    @strawberry.field(description="A page of the jobs that match, 50 unless first or last is given, 200 at most.")
    async def jobs(
        self,
        info: Info,
        filter: Annotated[JobFilter | None, argument(description="Which jobs; all unless given.")] = None,
        order_by: Annotated[JobOrder | None, argument(description="Newest first unless given.")] = None,
        first: OptionalFirst = None,
        after: After = None,
        last: OptionalLast = None,
        before: Before = None,
    ) -> JobConnection:
        conditions = filter.to_domain() if filter else DomainFilter()
        order = order_by.to_domain() if order_by else Order()
        page = await list_jobs(
            info.context.services,
            info.context.principal,
            conditions,
            order,
            first=first,
            last=last,
            after=after,
            before=before,
        )
        return JobConnection.from_domain(page, order, conditions)

    @strawberry.field(description="The runs of a job that have ended, newest first; null when there is no such job.")
    async def history(self, info: Info, job_id: JobId, first: First = 20, after: After = None) -> JobHistory | None:
        history = await read_history(info.context.services, info.context.principal, job_id, first, after)
        return None if history is None else JobHistory.from_domain(history)
