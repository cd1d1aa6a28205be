"""Setting webhooks, and looking at what they were sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from jobs.access import EVERYWHERE, Principal, Scope, check_reach
from jobs.addresses import AddressRefused, BadUrl, check_host, parse_url
from jobs.audit import AuditAction
from jobs.cursors import decode_cursor, encode_cursor
from jobs.errors import InvalidInput, Issue
from jobs.events import EventType
from jobs.filters import JobFilter
from jobs.paging import Page, page_size
from jobs.standard_webhooks import BadSecret, new_secret, secret_from_text, secret_to_text
from jobs.webhooks import WEBHOOK_PREFIX, Delivery, DeliveryStatus, Webhook
from resolvers.audit import note
from resolvers.reading import check_event_filter
from resolvers.services import Services
from storage.deliveries import SwitchedOff
from storage.delivery_documents import delivery_number
from storage.signals import Topic
from storage.webhooks import NewWebhook

MAX_URL: Final = 2000
MAX_WEBHOOKS: Final = 1000
"""In one installation: each event is compared with all of them."""

_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """What a caller wants to be told of, and where."""

    url: str
    events: tuple[EventType, ...]
    secret: str | None = field(default=None, repr=False)
    product: str | None = None
    env: str | None = None
    filter: JobFilter = field(default_factory=JobFilter)


@dataclass(frozen=True, slots=True)
class WebhookSet:
    """A webhook, and its secret where it was chosen for the caller: nobody can read it again."""

    webhook: Webhook
    secret: str | None = field(repr=False)


async def set_webhook(services: Services, principal: Principal, request: WebhookRequest) -> WebhookSet:
    """Have a URL be told of events from now on; the same URL in the same product and env is set anew.

    Raises ``Forbidden``, ``InvalidInput``, ``StoreUnavailable``.
    """
    check_reach(principal, request.product, request.env, Scope.WEBHOOKS_MANAGE)
    check_event_filter(principal, request.filter, ("input", "filter"))
    known = await services.webhooks.list_all(EVERYWHERE)
    issues = [*_issues(services, request), *_too_many(known, request)]
    if issues:
        raise InvalidInput(issues)
    chosen = new_secret() if request.secret is None else None
    new = NewWebhook(
        url=request.url,
        events=tuple(dict.fromkeys(request.events)),
        filter=request.filter,
        product=request.product,
        env=request.env,
        since=await services.events.head(),
        secret=chosen or secret_from_text(request.secret or ""),
        now=services.clock.now(),
        payloads=principal.may(Scope.PAYLOADS_READ),
    )
    new_id = f"{WEBHOOK_PREFIX}{services.new_id()}"
    noted_id = _id_there(known, request) or new_id
    await note(services, principal, AuditAction.SET_WEBHOOK, [noted_id])
    webhook = await services.webhooks.set(new, new_id)
    if webhook.id != noted_id:
        # Somebody was faster to set or to delete it: what was noted is about a webhook that this did not set.
        await note(services, principal, AuditAction.SET_WEBHOOK, [webhook.id])
    return WebhookSet(webhook, None if chosen is None else secret_to_text(chosen))


async def list_webhooks(services: Services, principal: Principal) -> Sequence[Webhook]:
    """All that the caller may see, the oldest first."""
    return await services.webhooks.list_all(principal.reach)


async def find_webhook(services: Services, principal: Principal, webhook_id: str) -> Webhook | None:
    """The webhook, or None when there is none that the caller may see."""
    return await services.webhooks.find(principal.reach, webhook_id)


async def delete_webhook(services: Services, principal: Principal, webhook_id: str) -> bool:
    """Tell it nothing any more, and forget what it was sent; False when there is none that the caller may see.

    Raises ``StoreUnavailable``.
    """
    # Asked first: whoever has answered this for certain knows of the webhook, also just after an election.
    is_gone = await services.webhooks.is_gone(webhook_id)
    is_seen = await services.webhooks.find(principal.reach, webhook_id) is not None
    there = is_seen and await _delete_seen(services, principal, webhook_id)
    # Also when it was not: the first try may have got no further. Where there is one that is not the caller's, nothing is
    # forgotten, and in as many steps: nobody can tell by the time that it is there.
    await services.deliveries.forget([webhook_id] if is_gone or there else [])
    return there


async def _delete_seen(services: Services, principal: Principal, webhook_id: str) -> bool:
    """Whether it was still there. It is deleted only once that is noted, and so only where it was seen."""
    await note(services, principal, AuditAction.DELETE_WEBHOOK, [webhook_id])
    return await services.webhooks.delete(principal.reach, webhook_id)


async def list_deliveries(
    services: Services,
    principal: Principal,
    webhook_ids: Sequence[str],
    first: int,
    after: str | None,
    status: DeliveryStatus | None,
) -> Mapping[str, Page[Delivery]]:
    """What each webhook that exists and that the caller may see is sent, the newest events first, by its id.

    Raises ``InvalidInput``, ``BadCursor``, ``StoreUnavailable``.
    """
    size = page_size(first, "first")
    before = None if after is None else decode_cursor(after, "delivery", _number)
    return await services.deliveries.pages(principal.reach, webhook_ids, status, size, before)


async def find_delivery(services: Services, principal: Principal, delivery_id: str) -> Delivery | None:
    """The delivery, or None when there is none that the caller may see."""
    return await services.deliveries.find(principal.reach, delivery_id)


async def redeliver(services: Services, principal: Principal, delivery_id: str) -> Delivery | None:
    """Send it once more, with all its retries; None when there is none that the caller may see.

    Raises ``InvalidInput`` when its webhook is switched off, ``StoreUnavailable``.
    """
    if await services.deliveries.find(principal.reach, delivery_id) is None:
        return None
    await note(services, principal, AuditAction.REDELIVER, [delivery_id])
    try:
        delivery = await services.deliveries.redeliver(principal.reach, delivery_id)
    except SwitchedOff as off:
        message = "is for a webhook that is switched off: set that again first"
        raise InvalidInput([Issue(("deliveryId",), message)]) from off
    if delivery is not None:
        services.signals.wake(Topic.DELIVERIES)
    return delivery


def delivery_cursor(delivery: Delivery) -> str:
    """The cursor that leads behind a delivery in its webhook's list."""
    return encode_cursor(["delivery", delivery_number(delivery.id)])


def _issues(services: Services, request: WebhookRequest) -> list[Issue]:
    issues = [
        Issue(("input", name), message)
        for name, message in (
            ("url", _url_problem(request.url, allow_private=services.allow_private)),
            ("secret", _secret_problem(request.secret)),
            ("events", None if request.events else "must name one event at least"),
            ("product", _name_problem(request.product)),
            ("env", _name_problem(request.env)),
        )
        if message is not None
    ]
    if not services.webhooks.can_keep_secrets:
        message = "cannot be kept: JOBGATE_SECRET_KEYS is not set in this installation"
        issues.append(Issue(("input", "secret"), message))
    return issues


def _url_problem(url: str, *, allow_private: bool) -> str | None:
    if len(url) > MAX_URL:
        return f"is longer than {MAX_URL} characters"
    try:
        parsed = parse_url(url)
        check_host(parsed, allow_private=allow_private)
    except BadUrl as error:
        return str(error)
    except AddressRefused:
        return "does not lead to a public address"
    if parsed.scheme != "https" and not allow_private:
        return "must begin with https://, so that nobody on the way can read what it is told"
    return None


def _secret_problem(secret: str | None) -> str | None:
    try:
        if secret is not None:
            secret_from_text(secret)
    except BadSecret as error:
        return str(error)
    return None


def _name_problem(name: str | None) -> str | None:
    if name is None or 0 < len(name) <= _LONGEST_NAME:
        return None
    return f"must have 1 to {_LONGEST_NAME} characters"


def _too_many(known: Sequence[Webhook], request: WebhookRequest) -> list[Issue]:
    if _id_there(known, request) is None and len(known) >= MAX_WEBHOOKS:
        return [Issue(("input", "url"), "there are as many webhooks as there may be")]
    return []


def _id_there(known: Sequence[Webhook], request: WebhookRequest) -> str | None:
    """The id of the webhook that is set anew; None for a new one."""
    place = (request.product, request.env, request.url)
    return next((one.id for one in known if (one.product, one.env, one.url) == place), None)


def _number(parts: Sequence[object]) -> int | None:
    match parts:
        case [int(number)] if not isinstance(number, bool) and 0 < number < 2**63:
            return number
    return None
