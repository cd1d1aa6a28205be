"""What mutations answer: the thing that they changed, or a problem – and then they changed nothing."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any

import strawberry

from jobs.access import Forbidden as Denied
from jobs.errors import InvalidInput as BadInput
from jobs.errors import JobNotFound
from jobs.job import Job as DomainJob
from jobs.refusals import IdempotencyConflict as KeyConflict
from jobs.refusals import TransitionRefused as Refused
from schema.job import Job
from schema.problems import Forbidden, IdempotencyConflict, InvalidInput, NotFound, TransitionRefused


@strawberry.type(description="A job that is no more.")
class DeletedJob:
    id: strawberry.ID = strawberry.field(description="The id that it had.")


DispatchResult = Annotated[
    Job | InvalidInput | IdempotencyConflict | Forbidden,
    strawberry.union("DispatchResult", description="The job, or why there is none."),
]
CancelResult = Annotated[
    Job | NotFound | TransitionRefused | Forbidden,
    strawberry.union("CancelResult", description="The cancelled job, or why it was not cancelled."),
]
PauseResult = Annotated[
    Job | NotFound | TransitionRefused | Forbidden,
    strawberry.union("PauseResult", description="The paused job, or why it was not paused."),
]
ResumeResult = Annotated[
    Job | NotFound | TransitionRefused | Forbidden,
    strawberry.union("ResumeResult", description="The resumed job, or why it was not resumed."),
]
RescheduleResult = Annotated[
    Job | NotFound | TransitionRefused | InvalidInput | Forbidden,
    strawberry.union("RescheduleResult", description="The job with its new schedule, or why it keeps the old one."),
]
RetryResult = Annotated[
    Job | NotFound | TransitionRefused | InvalidInput | Forbidden,
    strawberry.union("RetryResult", description="The job that is to run once more, or why it is not."),
]
DeleteResult = Annotated[
    DeletedJob | NotFound | TransitionRefused | Forbidden,
    strawberry.union("DeleteResult", description="What was deleted, or why it was not."),
]


async def job_or_problem(answer: Awaitable[DomainJob]) -> Any:
    """The job that a use case answers, or the problem that it raises. Whatever else it raises is a fault.

    ``Any``, since each mutation's union has members of its own: GraphQL itself refuses one that is not among them.
    """
    try:
        return await job_or_refusal(answer)
    except BadInput as error:
        return InvalidInput.from_domain(error)
    except KeyConflict as error:
        return IdempotencyConflict.from_domain(error)
    except Denied as error:
        return Forbidden.from_domain(error)


async def job_or_refusal(answer: Awaitable[DomainJob]) -> Any:
    """The same for mutations whose answer cannot be ``InvalidInput``: bad input is an error of theirs, as of queries."""
    try:
        return Job.from_domain(await answer)
    except (JobNotFound, Refused) as error:
        return _refusal(error)


async def deleted_or_refusal(answer: Awaitable[str]) -> Any:
    """The same for the id of a job that a use case has deleted."""
    try:
        return DeletedJob(id=strawberry.ID(await answer))
    except (JobNotFound, Refused) as error:
        return _refusal(error)


def _refusal(error: JobNotFound | Refused) -> NotFound | TransitionRefused:
    return NotFound.from_domain(error) if isinstance(error, JobNotFound) else TransitionRefused.from_domain(error)
