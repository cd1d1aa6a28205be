"""The mutations. Each answers what it changed, or a problem – and then it changed nothing."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import argument

from resolvers.dispatching import dispatch
from resolvers.steering import cancel
from schema.arguments import JobId, Reason
from schema.context import Info
from schema.dispatch import DispatchInput
from schema.job import Job
from schema.problems import Forbidden, IdempotencyConflict, InvalidInput, NotFound, TransitionRefused, job_or_problem

DispatchResult = Annotated[
    Job | InvalidInput | IdempotencyConflict | Forbidden,
    strawberry.union("DispatchResult", description="The job, or why there is none."),
]
CancelResult = Annotated[
    Job | NotFound | TransitionRefused | Forbidden,
    strawberry.union("CancelResult", description="The cancelled job, or why it was not cancelled."),
]


@strawberry.type(description="What can be changed.")
class Mutation:
    @strawberry.mutation(
        description="Have a job run: now, at a time, or again and again. It is stored once this answers."
    )
    async def dispatch(
        self, info: Info, input: Annotated[DispatchInput, argument(description="The job.")]
    ) -> DispatchResult:
        answer: DispatchResult = await job_or_problem(
            dispatch(info.context.services, info.context.principal, input.to_domain())
        )
        return answer

    @strawberry.mutation(
        description="Stop a job for good. A running handler is told to stop; what it answers is discarded."
    )
    async def cancel(self, info: Info, id: JobId, reason: Reason = None) -> CancelResult:
        answer: CancelResult = await job_or_problem(cancel(info.context.services, info.context.principal, id, reason))
        return answer
