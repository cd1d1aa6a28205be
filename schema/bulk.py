"""Bulk operations: one action on all jobs that match a filter."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated, Self

import strawberry

from jobs.access import Forbidden as Denied
from jobs.bulk import BulkOperation as Operation
from jobs.errors import InvalidInput as BadInput
from schema.audit import Origin
from schema.context import Info
from schema.enums import BulkStatus, JobAction
from schema.node import Node
from schema.payloads import visible_origin
from schema.problems import Forbidden, InvalidInput


@strawberry.type(
    description=(
        "One action on all jobs that match a filter. Small ones are done when the mutation answers; large ones go on in the "
        "background, survive crashes, and can be read again by id."
    )
)
class BulkOperation(Node):
    action: JobAction = strawberry.field(description="What is done to each job.")
    status: BulkStatus = strawberry.field(description="How far it is.")
    matched: int = strawberry.field(
        description="Jobs that matched the filter when it began: it is about these and no others, whatever they become."
    )
    count: int = strawberry.field(description="Jobs changed so far; for a dry run, those that would be changed.")
    skipped: int = strawberry.field(
        description="Jobs looked at so far whose status does not allow the action, or which it would leave as they are."
    )
    dry_run: bool = strawberry.field(description="Whether it only counts.")
    reason: str | None = strawberry.field(description="Why, as the caller gave it.")
    actor: str | None = strawberry.field(description="Who asked for it.")
    created_at: datetime = strawberry.field(description="When it began.")
    completed_at: datetime | None = strawberry.field(
        description="When it had looked at all of its jobs, or was stopped; null while it runs."
    )

    domain: strawberry.Private[Operation]

    @strawberry.field(
        description="From where and with what the actor asked for it; null to those who lack the scope admin."
    )
    def origin(self, info: Info) -> Origin | None:
        return visible_origin(info, self.domain.origin)

    @classmethod
    def from_domain(cls, operation: Operation) -> Self:
        return cls(
            id=strawberry.ID(operation.id),
            action=JobAction(operation.action.value),
            status=operation.status,
            matched=operation.matched,
            count=operation.count,
            skipped=operation.skipped,
            dry_run=operation.dry_run,
            reason=operation.reason,
            actor=operation.actor,
            created_at=operation.created_at,
            completed_at=operation.completed_at,
            domain=operation,
        )


BulkResult = Annotated[
    BulkOperation | InvalidInput | Forbidden,
    strawberry.union("BulkResult", description="The operation, or why nothing was begun."),
]


async def operation_or_problem(answer: Awaitable[Operation]) -> BulkOperation | InvalidInput | Forbidden:
    """The operation that a use case answers, or the problem that it raises. Whatever else it raises is a fault."""
    try:
        return BulkOperation.from_domain(await answer)
    except BadInput as error:
        return InvalidInput.from_domain(error)
    except Denied as error:
        return Forbidden.from_domain(error)


def optional(operation: Operation | None) -> BulkOperation | None:
    return None if operation is None else BulkOperation.from_domain(operation)
