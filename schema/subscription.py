"""The subscriptions."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry
from strawberry import argument

from jobs.access import Scope
from resolvers.bulk import follow_operation
from resolvers.following import job_events
from schema.access import needs
from schema.arguments import After, BulkId
from schema.bulk import BulkOperation
from schema.context import Info
from schema.events import JobEventFilter, event_filter
from schema.job import JobEvent


@strawberry.type(description="What can be followed live.")
class Subscription:
    @strawberry.subscription(
        **needs(
            Scope.JOBS_READ,
            (
                "Events from now on, or from behind a cursor. Fails with code CURSOR_EXPIRED when the log no longer reaches "
                "back that far, and with SUBSCRIBER_TOO_SLOW and a cursor to go on from when events are not taken fast enough."
            ),
        )
    )
    async def job_events(
        self,
        info: Info,
        filter: Annotated[JobEventFilter | None, argument(description="Which events; all unless given.")] = None,
        after: After = None,
    ) -> AsyncGenerator[JobEvent, None]:
        context, wanted = info.context, event_filter(filter)
        # What the client has come to since is newer than what it began with; an empty id says that it has come to nothing.
        start = context.last_event_id or after
        async with aclosing(job_events(context.services, context.principal, wanted, start)) as events:
            async for event in events:
                context.cursor = event.cursor
                yield JobEvent.from_domain(event)

    @strawberry.subscription(
        **needs(
            Scope.JOBS_READ,
            (
                "A bulk operation as it is now, then each time it has moved on, four times a second at most, until it is over. "
                "An error with the code BAD_USER_INPUT when the id is unknown, or not visible to the caller."
            ),
        )
    )
    async def bulk_operation(self, info: Info, id: BulkId) -> AsyncGenerator[BulkOperation, None]:
        async with aclosing(follow_operation(info.context.services, info.context.principal, id)) as operations:
            async for operation in operations:
                yield BulkOperation.from_domain(operation)
