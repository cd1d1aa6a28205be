"""A receiver of webhooks as they are in the world: slow, broken, lying, and now and then there."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, Final

from standardwebhooks import Webhook, WebhookVerificationError

from jobs.webhooks import DeliveryTerms
from tests.chaos.ledger import now
from tests.chaos.loader import KEYED, RECURRING
from tests.receivers import (
    Reply,
    Server,
    answering,
    break_off,
    drip,
    hang_up,
    say_nothing,
    serving,
    speak_something_else,
)

KEY: Final = b64encode(b"chaos" * 6 + b"!!").decode()
SECRET: Final = "whsec_" + b64encode(b"chaos" * 6).decode()
TERMS: Final = DeliveryTerms(timeout=timedelta(seconds=1), retries=(timedelta(seconds=0.3),) * 7)
"""As many tries as always, within seconds."""

TOLD: Final = ("job.completed", "job.failed", "job.cancelled")
PRODUCTS: Final = (KEYED, RECURRING)

_GOOD: Final = 0.6
_HOSTILE: Final[tuple[Reply, ...]] = (
    answering("500 Internal Server Error", b"x" * 100_000),
    answering("302 Found", Location="/"),
    answering("429 Too Many Requests", Retry_After="1"),
    answering("404 Not Found"),
    break_off,
    drip,
    hang_up,
    say_nothing,
    speak_something_else,
)
_TAKEN: Final = answering("204 No Content")


@dataclass(frozen=True, slots=True)
class Message:
    """What was sent, and whether it was taken. ``body`` is None where the signature was wrong."""

    id: str
    body: dict[str, Any] | None
    at: float
    taken: bool


@dataclass(slots=True)
class Receiver:
    """Takes most of what it is sent, and all of it in the end."""

    random: Random
    server: Server = field(default_factory=Server)
    messages: list[Message] = field(default_factory=list)
    friendly: bool = False

    @property
    def wanted(self) -> dict[str, Any]:
        """What it asks to be told, as the argument of ``setWebhook``."""
        return {
            "url": self.server.url("/hook"),
            "secret": SECRET,
            "events": [type_.replace(".", "_").upper() for type_ in TOLD],
            "filter": {"product": list(PRODUCTS)},
        }

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers, raw = self.server.requests.pop()
        try:
            body = Webhook(SECRET).verify(raw, headers)
        except WebhookVerificationError:
            body = None
        taken = self.friendly or self.random.random() < _GOOD
        self.messages.append(Message(headers["webhook-id"], body, now(), taken))
        await (_TAKEN if taken else self.random.choice(_HOSTILE))(reader, writer)


@asynccontextmanager
async def receiving(random: Random) -> AsyncIterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver(random)
    async with serving(receiver.answer) as server:
        receiver.server = server
        yield receiver
