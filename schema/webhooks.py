"""Webhooks and their deliveries as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Self

import strawberry
from strawberry import argument

from jobs.filters import JobFilter as DomainFilter
from jobs.paging import Page
from jobs.times import to_milliseconds
from jobs.webhooks import Delivery as DomainDelivery
from jobs.webhooks import Try
from jobs.webhooks import Webhook as DomainWebhook
from resolvers.webhooks import WebhookRequest, delivery_cursor
from resolvers.webhooks import WebhookSet as DomainWebhookSet
from schema.arguments import After, First
from schema.context import DeliverySlice, Info
from schema.enums import DeliveryStatus, EventType
from schema.events import distinct
from schema.jobs import JobFilter
from schema.node import Node, PageInfo
from schema.problems import Forbidden, InvalidInput, NotFound
from schema.scalars import JSON, Milliseconds


def _unshown(field: Any) -> Any:
    """The field, but left out where an object is printed: in a traceback, or a log."""
    field.repr = False
    return field


@strawberry.type(description="One attempt at a delivery.")
class DeliveryAttempt:
    at: datetime = strawberry.field(description="When it began.")
    response_status: int | None = strawberry.field(
        description="The HTTP status of the answer; null when there was none."
    )
    duration_ms: Milliseconds = strawberry.field(description="How long it took.")
    error: str | None = strawberry.field(description="Why there was no answer.")

    @classmethod
    def from_domain(cls, one: Try) -> Self:
        return cls(
            at=one.at,
            response_status=one.status,
            duration_ms=Milliseconds(to_milliseconds(one.duration)),
            error=one.error,
        )


@strawberry.type(description="One event on its way to one webhook. Its id is the webhook-id of all its messages.")
class Delivery(Node):
    event: EventType = strawberry.field(description="What the webhook is told of.")
    job_id: strawberry.ID = strawberry.field(description="The job that it happened to.")
    status: DeliveryStatus = strawberry.field(description="What has become of it.")
    attempts: list[DeliveryAttempt] = strawberry.field(description="The latest attempts, 20 at most, oldest first.")
    next_attempt_at: datetime | None = strawberry.field(
        description="When it is attempted next, at the earliest: what happened to the job earlier comes first."
    )
    created_at: datetime = strawberry.field(description="When it became due.")
    reason: str | None = strawberry.field(description="Why it is dead.")

    @classmethod
    def from_domain(cls, delivery: DomainDelivery) -> Self:
        return cls(
            id=strawberry.ID(delivery.id),
            event=delivery.event,
            job_id=strawberry.ID(delivery.job_id),
            status=delivery.status,
            attempts=[DeliveryAttempt.from_domain(one) for one in delivery.attempts],
            next_attempt_at=delivery.next_attempt_at,
            created_at=delivery.created_at,
            reason=delivery.reason,
        )


@strawberry.type(description="A page of deliveries, the newest events first.")
class DeliveryConnection:
    nodes: list[Delivery] = strawberry.field(description="The deliveries of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")

    @classmethod
    def from_domain(cls, page: Page[DomainDelivery]) -> Self:
        return cls(
            nodes=[Delivery.from_domain(one) for one in page.items], page_info=PageInfo.of(page, delivery_cursor)
        )


@strawberry.type(description="A URL that is told of events by signed POST requests. Its secret is shown to nobody.")
class Webhook(Node):
    url: str = strawberry.field(description="Where messages go.")
    product: str | None = strawberry.field(description="Of jobs of this product only; null: of any.")
    env: str | None = strawberry.field(description="Of jobs in this environment only; null: in any.")
    events: list[EventType] = strawberry.field(description="What it is told of.")
    filter: JSON | None = strawberry.field(description="Of which jobs, as it was given; null: of all.")
    enabled: bool = strawberry.field(description="Whether it is told anything. Setting it again switches it on.")
    disabled_reason: str | None = strawberry.field(description="Why it was switched off.")
    created_at: datetime = strawberry.field(description="When it was set first.")

    @strawberry.field(description="What it is sent, the newest events first, as long as that is kept.")
    async def deliveries(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        status: Annotated[DeliveryStatus | None, argument(description="Only these; all unless given.")] = None,
    ) -> DeliveryConnection:
        page = await info.context.deliveries.load(DeliverySlice(first, after, status, self.id))
        return DeliveryConnection.from_domain(page or NO_DELIVERIES)

    @classmethod
    def from_domain(cls, webhook: DomainWebhook) -> Self:
        return cls(
            id=strawberry.ID(webhook.id),
            url=webhook.url,
            product=webhook.product,
            env=webhook.env,
            events=list(webhook.events),
            filter=_shown(webhook.filter),
            enabled=webhook.enabled,
            disabled_reason=webhook.disabled_reason,
            created_at=webhook.created_at,
        )


@strawberry.input(description="Which URL is to be told of what.")
class SetWebhookInput:
    url: str = strawberry.field(description="Where messages go: https, and a public address.")
    events: list[EventType] = strawberry.field(
        description="What it is told of. Retries and new schedules are JOB_SCHEDULED as well; JOB_STARTED is told once a run."
    )
    secret: str | None = _unshown(
        strawberry.field(
            default=None,
            description="whsec_ and 24 to 64 bytes in base64. Chosen for you, and shown once, when left out.",
        )
    )
    product: str | None = strawberry.field(default=None, description="Of jobs of this product only.")
    env: str | None = strawberry.field(default=None, description="Of jobs in this environment only.")
    filter: JobFilter | None = strawberry.field(
        default=None, description="Of jobs that matched this filter once the event had happened."
    )

    def to_domain(self) -> WebhookRequest:
        """Raises ``InvalidInput``."""
        return WebhookRequest(
            url=self.url,
            events=distinct(self.events, ("input", "events")),
            secret=self.secret,
            product=self.product,
            env=self.env,
            filter=self.filter.to_domain() if self.filter else DomainFilter(),
        )


@strawberry.type(description="A webhook that was set.")
class WebhookSet:
    webhook: Webhook = strawberry.field(description="The webhook.")
    secret: str | None = _unshown(
        strawberry.field(
            description="What its messages are signed with. Only when it was chosen for you, and only now."
        )
    )

    @classmethod
    def from_domain(cls, answer: DomainWebhookSet) -> Self:
        return cls(webhook=Webhook.from_domain(answer.webhook), secret=answer.secret)


@strawberry.type(description="A webhook that is no more.")
class DeletedWebhook:
    id: strawberry.ID = strawberry.field(description="The id that it had.")


NO_DELIVERIES: Final[Page[DomainDelivery]] = Page([], has_next=False, has_previous=False)
"""Of a webhook that was deleted since it was found."""

SetWebhookResult = Annotated[
    WebhookSet | InvalidInput | Forbidden,
    strawberry.union("SetWebhookResult", description="The webhook, or why it was not set."),
]
DeleteWebhookResult = Annotated[
    DeletedWebhook | NotFound | Forbidden,
    strawberry.union("DeleteWebhookResult", description="The id of what was deleted, or why nothing was."),
]
RedeliverResult = Annotated[
    Delivery | NotFound | Forbidden,
    strawberry.union("RedeliverResult", description="The delivery as it is now, or why it is not sent again."),
]


def _shown(conditions: DomainFilter) -> JSON | None:
    """The filter under the names of ``JobFilter``, less what was not given."""
    given = {
        "ids": conditions.ids,
        "status": None if conditions.status is None else [status.name for status in conditions.status],
        "recurring": conditions.recurring,
        "product": conditions.product,
        "env": conditions.env,
        "namespace": conditions.namespace,
        "task": conditions.task,
        "tags": conditions.tags,
        "from": conditions.from_.isoformat() if conditions.from_ else None,
        "to": conditions.to.isoformat() if conditions.to else None,
        "errorCode": conditions.error_code,
        "idempotencyKey": conditions.idempotency_key,
    }
    shown = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return JSON({name: value for name, value in shown.items() if value is not None}) or None
