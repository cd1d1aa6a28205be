"""The queries."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import argument

from jobs.access import Scope
from jobs.audit import AuditFilter as DomainAuditFilter
from jobs.bulk import ID_PREFIX
from jobs.errors import InvalidInput as BadInput
from jobs.filters import JobFilter as DomainFilter
from jobs.paging import Order
from jobs.webhooks import DELIVERY_PREFIX, WEBHOOK_PREFIX
from resolvers.audit import list_audit
from resolvers.bulk import find_operation
from resolvers.log import list_events
from resolvers.planning import preview_schedule
from resolvers.reading import find_job, list_jobs, list_tasks, list_workers, read_history
from resolvers.statistics import count_jobs_by_status
from resolvers.webhooks import find_delivery, find_webhook, list_webhooks
from schema.access import Viewer, for_anyone, needs
from schema.arguments import After, Before, BulkId, First, JobId, OptionalFirst, OptionalLast, OptionalOffset, RunCount
from schema.audit import AuditConnection, AuditFilter
from schema.bulk import BulkOperation, optional
from schema.context import Info
from schema.dispatch import ScheduleInput
from schema.events import JobEventFilter, event_filter
from schema.history import JobHistory
from schema.job import Job, JobEventConnection
from schema.jobs import JobConnection, JobFilter, JobOrder
from schema.node import Node
from schema.problems import InvalidInput
from schema.schedule import SchedulePreview, SchedulePreviewResult
from schema.statistics import JobStats
from schema.webhooks import Delivery, Webhook
from schema.worker import Task, Worker


@strawberry.type(description="What can be read.")
class Query:
    @strawberry.field(
        **needs(Scope.JOBS_READ, "Whatever has this id; null when it is unknown, or not visible to the caller.")
    )
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, argument(description="An id of any kind.")]
    ) -> Node | None:
        asked = info.context.services, info.context.principal
        if id.startswith(ID_PREFIX):
            return optional(await find_operation(*asked, id))
        if id.startswith((WEBHOOK_PREFIX, DELIVERY_PREFIX)) and not info.context.principal.may(Scope.WEBHOOKS_MANAGE):
            return None
        if id.startswith(WEBHOOK_PREFIX):
            webhook = await find_webhook(*asked, id)
            return None if webhook is None else Webhook.from_domain(webhook)
        if id.startswith(DELIVERY_PREFIX):
            delivery = await find_delivery(*asked, id)
            return None if delivery is None else Delivery.from_domain(delivery)
        found = await find_job(info.context.services, info.context.principal, id)
        return None if found is None else Job.from_domain(found)

    @strawberry.field(**needs(Scope.JOBS_READ, "A job; null when it is unknown, or not visible to the caller."))
    async def job(self, info: Info, id: JobId) -> Job | None:
        found = await find_job(info.context.services, info.context.principal, id)
        return None if found is None else Job.from_domain(found)

    @strawberry.field(
        **needs(Scope.JOBS_READ, "A page of the jobs that match, 50 unless first or last is given, 200 at most.")
    )
    async def jobs(
        self,
        info: Info,
        filter: Annotated[JobFilter | None, argument(description="Which jobs; all unless given.")] = None,
        order_by: Annotated[JobOrder | None, argument(description="Newest first unless given.")] = None,
        first: OptionalFirst = None,
        after: After = None,
        last: OptionalLast = None,
        before: Before = None,
        offset: OptionalOffset = None,
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
            offset=offset,
        )
        return JobConnection.from_domain(page, order, conditions)

    @strawberry.field(
        **needs(Scope.JOBS_READ, "The ended runs of a job, newest first; null when there is no such job.")
    )
    async def history(self, info: Info, job_id: JobId, first: First = 20, after: After = None) -> JobHistory | None:
        history = await read_history(info.context.services, info.context.principal, job_id, first, after)
        return None if history is None else JobHistory.from_domain(history)

    @strawberry.field(
        **needs(
            Scope.JOBS_READ,
            (
                "How many jobs there are, and how their runs went: what is in the log, a second behind at most. By product, "
                "env, namespace and task it costs the same however many jobs there are, and so do executions by time; "
                "else they are "
                "counted, and where that takes longer than 3 s the answer is an error with the code STATS_TIMEOUT."
            ),
        )
    )
    async def stats(
        self,
        info: Info,
        filter: Annotated[JobFilter | None, argument(description="Which jobs; all unless given.")] = None,
    ) -> JobStats:
        conditions = filter.to_domain() if filter else DomainFilter()
        counts = await count_jobs_by_status(info.context.services, info.context.principal, conditions)
        return JobStats.from_domain(counts, conditions)

    @strawberry.field(
        **needs(
            Scope.JOBS_READ,
            (
                "What has happened, oldest first, from the oldest event that is kept or from behind a cursor. For one page "
                "10 000 events are looked through at most: while hasNextPage holds, endCursor leads on, also from an empty "
                "page."
            ),
        )
    )
    async def events(
        self,
        info: Info,
        filter: Annotated[JobEventFilter | None, argument(description="Which events; all unless given.")] = None,
        first: First = 50,
        after: After = None,
    ) -> JobEventConnection:
        wanted = event_filter(filter)
        page = await list_events(info.context.services, info.context.principal, wanted, first, after)
        return JobEventConnection.from_domain(page)

    @strawberry.field(
        **needs(Scope.JOBS_READ, "A bulk operation; null when it is unknown, or not visible to the caller.")
    )
    async def bulk_operation(self, info: Info, id: BulkId) -> BulkOperation | None:
        return optional(await find_operation(info.context.services, info.context.principal, id))

    @strawberry.field(
        **needs(
            Scope.JOBS_READ,
            "The instants at which a schedule would run: try a cron before dispatching it. No schedule: now.",
        )
    )
    async def schedule_preview(
        self,
        info: Info,
        schedule: Annotated[ScheduleInput, argument(description="The schedule, as for a dispatch.")],
        count: RunCount = 5,
    ) -> SchedulePreviewResult:
        try:
            return SchedulePreview(runs=preview_schedule(info.context.services, schedule.to_domain(), count))
        except BadInput as error:
            return InvalidInput.from_domain(error)

    @strawberry.field(
        **needs(Scope.JOBS_READ, "The tasks that live workers can run, by namespace and name, 1 000 at most.")
    )
    async def tasks(self, info: Info) -> list[Task]:
        found = await list_tasks(info.context.services, info.context.principal)
        return [Task.from_domain(task) for task in found]

    @strawberry.field(**needs(Scope.ADMIN, "The workers that live, those that began first before the others."))
    async def workers(self, info: Info) -> list[Worker]:
        found = await list_workers(info.context.services, info.context.principal)
        return [Worker.from_domain(worker) for worker in found]

    @strawberry.field(
        **needs(
            Scope.ADMIN,
            (
                "What was done that no event of a job tells of, newest first: to webhooks, deliveries, bulk operations and "
                "keys, and, where the installation notes it, whose input and result were read. Entries of those who reach "
                "more than the caller are not shown."
            ),
        )
    )
    async def audit(
        self,
        info: Info,
        filter: Annotated[AuditFilter | None, argument(description="Which entries; all unless given.")] = None,
        first: First = 50,
        after: After = None,
    ) -> AuditConnection:
        wanted = filter.to_domain() if filter else DomainAuditFilter()
        page = await list_audit(info.context.services, info.context.principal, wanted, first, after)
        return AuditConnection.from_domain(page)

    @strawberry.field(**for_anyone("Who is asking, and what they may."))
    async def viewer(self, info: Info) -> Viewer:
        return Viewer.from_domain(info.context.principal)

    @strawberry.field(**needs(Scope.WEBHOOKS_MANAGE, "The webhooks, those that were set first before the others."))
    async def webhooks(self, info: Info) -> list[Webhook]:
        found = await list_webhooks(info.context.services, info.context.principal)
        return [Webhook.from_domain(webhook) for webhook in found]
