"""Expected failures of mutations, as members of their answers."""

from __future__ import annotations

from typing import Self

import strawberry

from jobs.access import Forbidden as Denied
from jobs.errors import InvalidInput as BadInput
from jobs.errors import JobNotFound
from jobs.refusals import IdempotencyConflict as KeyConflict
from jobs.refusals import TransitionRefused as Refused
from schema.enums import JobAction, JobStatus, ProblemCode
from schema.job import Job


@strawberry.interface(description="Why a mutation did not do what it was asked to. Nothing has changed.")
class Problem:
    code: ProblemCode = strawberry.field(description="What kind of problem it is.")
    message: str = strawberry.field(description="The same in words, for people.")


@strawberry.type(description="There is no such thing, or the caller may not see it.")
class NotFound(Problem):
    id: strawberry.ID = strawberry.field(description="The id that was asked for.")

    @classmethod
    def from_domain(cls, error: JobNotFound) -> Self:
        return cls(code=ProblemCode.NOT_FOUND, message=str(error), id=strawberry.ID(error.job_id))

    @classmethod
    def of(cls, kind: str, id: str) -> Self:
        """That there is no ``kind`` of this id."""
        message = f"there is no {kind} {id[:100]!r}"
        return cls(code=ProblemCode.NOT_FOUND, message=message, id=strawberry.ID(id))


@strawberry.type(description="The job's status does not permit the action.")
class TransitionRefused(Problem):
    action: JobAction = strawberry.field(description="What was asked for.")
    status: JobStatus = strawberry.field(description="The status that forbids it.")
    job: Job = strawberry.field(description="The job as it is.")

    @classmethod
    def from_domain(cls, error: Refused) -> Self:
        return cls(
            code=ProblemCode.TRANSITION_REFUSED,
            message=str(error),
            action=JobAction(error.action.value),
            status=error.job.status,
            job=Job.from_domain(error.job),
        )


@strawberry.type(description="One thing that is wrong with the arguments.")
class InputIssue:
    path: list[str] = strawberry.field(
        description='Leads to the offending value from the mutation\'s arguments, e.g. ["input", "schedule", "cron"].'
    )
    message: str = strawberry.field(description="What is wrong with it.")


@strawberry.type(description="The arguments cannot be accepted.")
class InvalidInput(Problem):
    issues: list[InputIssue] = strawberry.field(description="Everything that is wrong.")

    @classmethod
    def from_domain(cls, error: BadInput) -> Self:
        issues = [InputIssue(path=list(issue.path), message=issue.message) for issue in error.issues]
        return cls(code=ProblemCode.INVALID_INPUT, message=str(error), issues=issues)


@strawberry.type(
    description="The caller lacks the scope that the operation needs, or has it for other products and envs only."
)
class Forbidden(Problem):
    scope: str = strawberry.field(description="The scope.")

    @classmethod
    def from_domain(cls, error: Denied) -> Self:
        return cls(code=ProblemCode.FORBIDDEN, message=str(error), scope=error.scope.value)


@strawberry.type(description="The idempotency key was used before, with another request.")
class IdempotencyConflict(Problem):
    job: Job = strawberry.field(description="The job that the first request made.")

    @classmethod
    def from_domain(cls, error: KeyConflict) -> Self:
        return cls(code=ProblemCode.IDEMPOTENCY_CONFLICT, message=str(error), job=Job.from_domain(error.job))
