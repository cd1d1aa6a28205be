"""The mutations. Each answers what it changed, or a problem – and then it changed nothing."""

from __future__ import annotations

from typing import Annotated, Final

import strawberry
from strawberry import argument

from jobs.access import Forbidden as Denied
from jobs.access import Scope
from jobs.bulk import BulkRequest
from jobs.errors import InvalidInput as BadInput
from jobs.lifecycle import Action
from resolvers.bulk import begin_bulk, stop_operation
from resolvers.dispatching import dispatch
from resolvers.steering import cancel, delete, pause, reschedule, resume, retry
from resolvers.webhooks import delete_webhook, redeliver, set_webhook
from schema.access import needs
from schema.answers import (
    CancelResult,
    DeleteResult,
    DispatchResult,
    PauseResult,
    RescheduleResult,
    ResumeResult,
    RetryResult,
    deleted_or_refusal,
    job_or_problem,
    job_or_refusal,
)
from schema.arguments import BulkId, DeliveryId, DryRun, JobId, Reason, WebhookId
from schema.bulk import BulkOperation, BulkResult, operation_or_problem, optional
from schema.context import Info
from schema.dispatch import DispatchInput, RescheduleInput
from schema.jobs import JobFilter
from schema.problems import Forbidden, InvalidInput, NotFound
from schema.scalars import Milliseconds
from schema.webhooks import (
    DeletedWebhook,
    DeleteWebhookResult,
    Delivery,
    RedeliverResult,
    SetWebhookInput,
    SetWebhookResult,
    WebhookSet,
)

Delay = Annotated[Milliseconds, argument(description="How long to wait before that, a year at most.")]
_AT_ONCE: Final = Milliseconds(0)

Chosen = Annotated[JobFilter, argument(description="Which jobs, as they are now: one condition at least.")]


@strawberry.type(description="What can be changed.")
class Mutation:
    @strawberry.mutation(
        **needs(
            Scope.JOBS_DISPATCH, "Have a job run: now, at a time, or again and again. It is stored once this answers."
        )
    )
    async def dispatch(
        self, info: Info, input: Annotated[DispatchInput, argument(description="The job.")]
    ) -> DispatchResult:
        answer: DispatchResult = await job_or_problem(
            dispatch(info.context.services, info.context.principal, input.to_domain())
        )
        return answer

    @strawberry.mutation(
        **needs(
            Scope.JOBS_CONTROL, "Stop a job for good. A running handler is told to stop; what it answers is discarded."
        )
    )
    async def cancel(self, info: Info, id: JobId, reason: Reason = None) -> CancelResult:
        answer: CancelResult = await job_or_refusal(cancel(info.context.services, info.context.principal, id, reason))
        return answer

    @strawberry.mutation(
        **needs(
            Scope.JOBS_CONTROL,
            (
                "Have a recurring job rest until it is resumed. A run that a worker is at goes on: the job rests from its end. "
                "One that waits for a worker or for a retry is given up."
            ),
        )
    )
    async def pause(self, info: Info, id: JobId, reason: Reason = None) -> PauseResult:
        answer: PauseResult = await job_or_refusal(pause(info.context.services, info.context.principal, id, reason))
        return answer

    @strawberry.mutation(
        **needs(
            Scope.JOBS_CONTROL,
            "Let a paused job go on with its next occurrence. What came due meanwhile is not made up for.",
        )
    )
    async def resume(self, info: Info, id: JobId) -> ResumeResult:
        answer: ResumeResult = await job_or_refusal(resume(info.context.services, info.context.principal, id))
        return answer

    @strawberry.mutation(**needs(Scope.JOBS_CONTROL, "Change when a job runs. What the new schedule leaves out stays."))
    async def reschedule(
        self,
        info: Info,
        id: JobId,
        schedule: Annotated[RescheduleInput, argument(description="What changes; one of its fields at least.")],
    ) -> RescheduleResult:
        answer: RescheduleResult = await job_or_problem(
            reschedule(info.context.services, info.context.principal, id, schedule.to_domain())
        )
        return answer

    @strawberry.mutation(
        **needs(Scope.JOBS_CONTROL, "Run a failed job once more, as a run of its own with all its retries.")
    )
    async def retry(
        self,
        info: Info,
        id: JobId,
        delay: Delay = _AT_ONCE,
    ) -> RetryResult:
        answer: RetryResult = await job_or_problem(retry(info.context.services, info.context.principal, id, delay))
        return answer

    @strawberry.mutation(
        **needs(Scope.JOBS_DELETE, "Remove a job that is over, with its history. Its events stay in the log.")
    )
    async def delete(self, info: Info, id: JobId) -> DeleteResult:
        answer: DeleteResult = await deleted_or_refusal(delete(info.context.services, info.context.principal, id))
        return answer

    @strawberry.mutation(**needs(Scope.JOBS_CONTROL, "Cancel all jobs that match, as cancel does one."))
    async def cancel_many(
        self, info: Info, filter: Chosen, reason: Reason = None, dry_run: DryRun = False
    ) -> BulkResult:
        return await _begin(info, BulkRequest(Action.CANCEL, filter.to_domain(), reason, dry_run=dry_run))

    @strawberry.mutation(
        **needs(
            Scope.JOBS_CONTROL,
            "Pause all recurring jobs that match, as pause does one; jobs that run once are skipped.",
        )
    )
    async def pause_many(
        self, info: Info, filter: Chosen, reason: Reason = None, dry_run: DryRun = False
    ) -> BulkResult:
        return await _begin(info, BulkRequest(Action.PAUSE, filter.to_domain(), reason, dry_run=dry_run))

    @strawberry.mutation(**needs(Scope.JOBS_CONTROL, "Let all paused jobs that match go on, as resume does one."))
    async def resume_many(self, info: Info, filter: Chosen, dry_run: DryRun = False) -> BulkResult:
        return await _begin(info, BulkRequest(Action.RESUME, filter.to_domain(), dry_run=dry_run))

    @strawberry.mutation(**needs(Scope.JOBS_CONTROL, "Run all failed jobs that match once more, as retry does one."))
    async def retry_many(
        self, info: Info, filter: Chosen, delay: Delay = _AT_ONCE, dry_run: DryRun = False
    ) -> BulkResult:
        return await _begin(info, BulkRequest(Action.RETRY, filter.to_domain(), None, delay, dry_run))

    @strawberry.mutation(**needs(Scope.JOBS_DELETE, "Delete all jobs that match and are over, as delete does one."))
    async def delete_many(self, info: Info, filter: Chosen, dry_run: DryRun = False) -> BulkResult:
        return await _begin(info, BulkRequest(Action.DELETE, filter.to_domain(), dry_run=dry_run))

    @strawberry.mutation(
        **needs(
            Scope.JOBS_CONTROL,
            (
                "Have a bulk operation go no further. What it has changed stays changed, and one that is over stays as it is; "
                "null when the id is unknown, or not visible to the caller."
            ),
        )
    )
    async def stop_bulk_operation(self, info: Info, id: BulkId) -> BulkOperation | None:
        return optional(await stop_operation(info.context.services, info.context.principal, id))

    @strawberry.mutation(
        **needs(
            Scope.WEBHOOKS_MANAGE,
            (
                "Have a URL be told of events from now on, by POST requests that are signed after Standard Webhooks. Setting "
                "the same url again, in the same product and env, replaces its events, filter and secret; for a day "
                "messages are "
                "signed with the secrets before as well."
            ),
        )
    )
    async def set_webhook(
        self, info: Info, input: Annotated[SetWebhookInput, argument(description="The webhook.")]
    ) -> SetWebhookResult:
        try:
            answer = await set_webhook(info.context.services, info.context.principal, input.to_domain())
        except BadInput as error:
            return InvalidInput.from_domain(error)
        except Denied as error:
            return Forbidden.from_domain(error)
        return WebhookSet.from_domain(answer)

    @strawberry.mutation(**needs(Scope.WEBHOOKS_MANAGE, "Tell a URL nothing any more, and forget what it was sent."))
    async def delete_webhook(self, info: Info, id: WebhookId) -> DeleteWebhookResult:
        if await delete_webhook(info.context.services, info.context.principal, id):
            return DeletedWebhook(id=id)
        return NotFound.of("webhook", id)

    @strawberry.mutation(
        **needs(
            Scope.WEBHOOKS_MANAGE,
            (
                "Attempt a delivery at once and, if that fails, as often as a new one; also one that was delivered. None of a "
                "webhook that is switched off: the error BAD_USER_INPUT says so."
            ),
        )
    )
    async def redeliver(self, info: Info, delivery_id: DeliveryId) -> RedeliverResult:
        delivery = await redeliver(info.context.services, info.context.principal, delivery_id)
        return NotFound.of("delivery", delivery_id) if delivery is None else Delivery.from_domain(delivery)


async def _begin(info: Info, request: BulkRequest) -> BulkResult:
    return await operation_or_problem(begin_bulk(info.context.services, info.context.principal, request))
