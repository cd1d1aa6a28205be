"""Webhooks of a gateway under test: setting them, and receivers that note what they are sent and answer as they are told."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from standardwebhooks import Webhook

from jobs.webhooks import DeliveryTerms
from tests.gateway import Answer, LiveGateway
from tests.receivers import Reply, Server, answering, serving
from tests.secrecy import secret

KEY: Final = secret(b64encode(secret(sha256(b"key").digest(), "a sealing key")).decode(), "a sealing key")
"""What secrets are sealed with here."""

SETTINGS: Final[dict[str, Any]] = {"secret_keys": KEY, "allow_private_addresses": True}

_BRIEFLY: Final = (timedelta(milliseconds=50),) * 7

SOON: Final = DeliveryTerms(timeout=timedelta(seconds=20), retries=_BRIEFLY)
"""As many tries as always, with little time between them."""

IMPATIENT: Final = DeliveryTerms(timeout=timedelta(seconds=2), retries=_BRIEFLY)
"""Where a receiver does not answer: a busy machine may take a second to have a test answer as well."""

SECRET: Final = "whsec_" + b64encode(secret(sha256(b"secret").digest(), "the secret of a webhook")).decode()

DEADLINE: Final = 45.0
"""Seconds: a busy machine takes its time over hundreds of messages."""

SET: Final = """
    mutation ($input: SetWebhookInput!) {
        setWebhook(input: $input) {
            __typename
            ... on WebhookSet { secret webhook { id url events filter product env enabled disabledReason } }
            ... on InvalidInput { issues { path message } }
        }
    }
"""

DELIVERIES: Final = """
    query ($id: ID!, $first: Int! = 200, $after: String, $status: DeliveryStatus) {
        node(id: $id) { ... on Webhook { enabled disabledReason
            deliveries(first: $first, after: $after, status: $status) {
                nodes { id event jobId status reason nextAttemptAt attempts { responseStatus error durationMs } }
                pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
            }
        } }
    }
"""

OK: Final = answering("204 No Content")


@dataclass(frozen=True)
class Message:
    """One request to a receiver, already verified."""

    id: str
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def event(self) -> str:
        return str(self.body["event"]).removeprefix("job.")

    @property
    def job_id(self) -> str:
        return str(self.body["job"]["id"])


@dataclass
class Receiver:
    """Answers as ``reply`` says for the number of the request, from 0. ``secret``: what it verifies messages with."""

    reply: Callable[[int], Reply]
    secret: str = SECRET
    server: Server = field(default_factory=Server)
    messages: list[Message] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return self.server.url("/hook")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until messages have come that make it so."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers, body = self.server.requests[-1]
        message = Webhook(self.secret).verify(body, headers)
        number = len(self.messages)
        self.messages.append(Message(headers["webhook-id"], message, headers))
        self.news.set()
        await self.reply(number)(reader, writer)


@asynccontextmanager
async def receiving(reply: Callable[[int], Reply] = lambda _: OK, secret: str = SECRET) -> AsyncIterator[Receiver]:
    """A receiver that listens. What is not signed as it should be fails the test, since nobody notes it."""
    receiver = Receiver(reply, secret)
    async with serving(receiver.answer) as server:
        receiver.server = server
        yield receiver


async def set_webhook(gateway: LiveGateway, url: str, *events: str, **changes: object) -> Answer:
    """What the gateway answers to a webhook that is in order, but for ``changes``."""
    wanted = [f"JOB_{event.upper()}" for event in events or ("completed",)]
    given = {"url": url, "events": wanted, "secret": SECRET, **changes}
    answer: Answer = (await gateway.data(SET, input=given))["setWebhook"]
    return answer


async def webhook_id(gateway: LiveGateway, url: str, *events: str, **changes: object) -> str:
    """The id of a webhook that was set."""
    answer = await set_webhook(gateway, url, *events, **changes)
    assert answer["__typename"] == "WebhookSet", answer
    return str(answer["webhook"]["id"])


async def deliveries(gateway: LiveGateway, webhook: str, **arguments: object) -> list[Answer]:
    """The deliveries of a webhook, the newest first."""
    found: list[Answer] = (await gateway.data(DELIVERIES, id=webhook, **arguments))["node"]["deliveries"]["nodes"]
    return found


async def until_delivered(
    gateway: LiveGateway, webhook: str, is_so: Callable[[list[Answer]], bool], **arguments: object
) -> list[Answer]:
    """The deliveries of a webhook, once they are so."""
    async with asyncio.timeout(DEADLINE):
        while not is_so(found := await deliveries(gateway, webhook, **arguments)):
            await gateway.http.get("/healthz")
    return found


def all_over(found: list[Answer]) -> bool:
    return bool(found) and all(one["status"] != "PENDING" for one in found)
