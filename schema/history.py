"""The history of a job as the API shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry

from jobs.history import History
from jobs.job import Execution, Tally
from jobs.paging import Page
from jobs.times import to_milliseconds
from resolvers.reading import execution_cursor
from schema.context import Info
from schema.enums import ExecutionStatus
from schema.node import PageInfo
from schema.payloads import handed_out, reads_payloads, visible_error
from schema.scalars import JSON, Milliseconds


@strawberry.type(description="One run of a job that has ended, from its first attempt to its last.")
class JobExecution:
    number: int = strawberry.field(description="Counts the runs of the job, from 1.")
    scheduled_for: datetime = strawberry.field(description="When the run was due.")
    started_at: datetime = strawberry.field(description="When its first attempt began.")
    completed_at: datetime | None = strawberry.field(description="When its last attempt ended.")
    duration_ms: Milliseconds | None = strawberry.field(
        description="From startedAt to completedAt, waits between attempts included."
    )
    status: ExecutionStatus = strawberry.field(description="How it ended.")
    attempts: int = strawberry.field(description="How many attempts it took.")
    error_code: str | None = strawberry.field(description="The code of that error.")
    worker: str | None = strawberry.field(description="The worker of its last attempt.")

    domain: strawberry.Private[Execution]

    @strawberry.field(description="Why it failed; no more than the code to those who lack the scope payloads:read.")
    def error(self, info: Info) -> str | None:
        return visible_error(info, self.domain.error)

    @strawberry.field(description="What the handler answered; null to those who lack the scope payloads:read.")
    def result(self, info: Info) -> JSON | None:
        return handed_out(info, self.domain.job_id, JSON(self.domain.result)) if reads_payloads(info) else None

    @classmethod
    def from_domain(cls, run: Execution) -> Self:
        return cls(
            number=run.number,
            scheduled_for=run.scheduled_for,
            started_at=run.started_at,
            completed_at=run.completed_at,
            duration_ms=Milliseconds(to_milliseconds(run.duration)),
            status=ExecutionStatus(run.status.value),
            attempts=run.attempts,
            error_code=run.error.code if run.error else None,
            worker=run.worker,
            domain=run,
        )


@strawberry.type(description="The runs of a job that have ended, newest first.")
class JobHistory:
    job_id: strawberry.ID = strawberry.field(description="The job.")
    total_executions: int = strawberry.field(
        description="All runs over the job's whole life, not only those of the page."
    )
    successful_executions: int = strawberry.field(description="Of these, those that completed.")
    failed_executions: int = strawberry.field(description="Of these, those that failed.")
    executions: list[JobExecution] = strawberry.field(description="The runs of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")

    @classmethod
    def empty(cls, job_id: str) -> Self:
        """The history of a job that has just been removed."""
        return cls.from_domain(History(job_id, Tally(), Page((), has_next=False, has_previous=False)))

    @classmethod
    def from_domain(cls, history: History) -> Self:
        return cls(
            job_id=strawberry.ID(history.job_id),
            total_executions=history.tally.total,
            successful_executions=history.tally.completed,
            failed_executions=history.tally.failed,
            executions=[JobExecution.from_domain(run) for run in history.page.items],
            page_info=PageInfo.of(history.page, execution_cursor),
        )
