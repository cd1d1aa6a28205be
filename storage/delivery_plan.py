"""Planning deliveries: the log projected onto the webhooks that want to be told of it.

Events are planned in the order of the log, behind a position. The id of a delivery is made of its webhook and the event's
number, so that whoever plans the same events again, after a crash or beside another, plans nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from pymongo.errors import BulkWriteError, DuplicateKeyError

from jobs.access import EVERYWHERE
from jobs.events import EventType
from jobs.feed import JobEvent
from jobs.webhooks import DELIVERY_PREFIX, DeliveryStatus, Webhook, body_of, told_as
from storage.client import Collection, Database
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.events import EventLog
from storage.webhooks import Webhooks

POSITION: Final = "deliveries"

_BATCH: Final = 500
_DUPLICATE_KEY: Final = 11000


class DeliveryPlan:
    """What the collection ``deliveries`` is filled with, and how far."""

    def __init__(self, database: Database, webhooks: Webhooks) -> None:
        self._deliveries: Collection = database["deliveries"]
        self._projections: Collection = database["projections"]
        self._log = EventLog(database)
        self._webhooks = webhooks

    async def extend(self, now: datetime, limit: int = _BATCH) -> tuple[int, bool] | None:
        """Plan the deliveries of the next events; answer how many, and whether more events may be waiting.

        None when there is nobody to be told of anything. Safe to be called by anybody at any time. Raises ``StoreUnavailable``.
        """
        position, head = await self._position(), await self._log.head()
        if position >= head:
            return 0, False
        if not await self._webhooks.list_enabled():
            # Whoever sets one from now on is told of what comes behind an even newer event.
            await self._advance(position, head)
            return None
        events = (await self._log.read(EVERYWHERE, position, limit)).events
        # Read after the events: one that was set before any of these happened is among them.
        webhooks = await self._webhooks.list_enabled()
        planned = [new for event in events for new in _planned(event, webhooks, now)]
        await self._insert(planned)
        if events:
            await self._advance(position, events[-1].number)
        return len(planned), len(events) == limit

    async def _position(self) -> int:
        with mongodb_errors():
            document = await self._projections.find_one({"_id": POSITION})
        return 0 if document is None else int(document["position"])

    async def _advance(self, position: int, to: int) -> None:
        """Somebody who was faster has planned the same."""
        wanted = {"_id": POSITION, "position": position}
        with suppress(DuplicateKeyError), mongodb_errors():
            await self._projections.update_one(wanted, {"$set": {"position": to}}, upsert=position == 0)

    async def _insert(self, planned: Sequence[Document]) -> None:
        if not planned:
            return
        try:
            with mongodb_errors():
                await self._deliveries.insert_many(planned, ordered=False)
        except BulkWriteError as error:
            if any(failure["code"] != _DUPLICATE_KEY for failure in error.details["writeErrors"]):
                raise


def _planned(event: JobEvent, webhooks: Sequence[Webhook], now: datetime) -> list[Document]:
    named = ((webhook, told_as(webhook, event)) for webhook in webhooks)
    return [_new(event, webhook, name, now) for webhook, name in named if name is not None]


def _new(event: JobEvent, webhook: Webhook, name: EventType, now: datetime) -> Document:
    return {
        "_id": f"{DELIVERY_PREFIX}{webhook.id.partition('_')[2]}_{event.number}",
        "webhook_id": webhook.id,
        "chain": f"{webhook.id}:{event.job_id}",
        "number": event.number,
        "event": name.value,
        "job_id": event.job_id,
        "body": body_of(name, event, payloads=webhook.payloads),
        "status": DeliveryStatus.PENDING.value,
        "tries": 0,
        "attempts": [],
        "due_at": now,
        "token": None,
        "parked": False,
        "reason": None,
        "created_at": now,
        "completed_at": None,
    }
