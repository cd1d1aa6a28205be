"""Deliveries as documents: one for each event that a webhook is told of, from the time that it is due to its end.

The order within a job is kept by its chain: of all pending deliveries of one job to one webhook, only the first is attempted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection as Ids
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import ReturnDocument, UpdateOne

from jobs.events import EventType
from jobs.paging import Page
from jobs.webhooks import Delivery, DeliveryStatus, Try, Verdict
from storage.client import Collection, Database, aggregate
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.webhooks import Webhooks

_KEPT_ATTEMPTS: Final = 20
_LOOK_AGAIN: Final = timedelta(seconds=1)
_LOOK_AT_PARKED: Final = timedelta(minutes=5)
_PENDING: Final = DeliveryStatus.PENDING.value
_PLACE: Final = dict.fromkeys(("webhook_id", "chain", "number", "due_at", "token"), 1)
"""What is needed to choose what is attempted: not what it says."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process is to attempt now; ``token`` fences what it writes about it."""

    delivery: Delivery
    url: str
    token: str


@dataclass(frozen=True, slots=True)
class Room:
    """How many attempts one process may make to each webhook at a time, and how many are under way."""

    to_each: int
    under_way: Counter[str]

    @property
    def full(self) -> list[str]:
        """The webhooks to which there may be no more, until half of their room is free: one look serves several attempts."""
        return [webhook for webhook, count in self.under_way.items() if count > self.to_each // 2]

    def fitting(self, found: Sequence[Document]) -> list[Document]:
        """Those of what was found that there is room for, the first ones of each webhook."""
        counts, fitting = Counter(self.under_way), []
        for one in found:
            counts[one["webhook_id"]] += 1
            if counts[one["webhook_id"]] <= self.to_each:
                fitting.append(one)
        return fitting


class Deliveries:
    """The collection ``deliveries``."""

    def __init__(self, database: Database, webhooks: Webhooks) -> None:
        self._deliveries: Collection = database["deliveries"]
        self._webhooks = webhooks

    async def claim(self, limit: int, room: Room, token: str, now: datetime, hold: timedelta) -> list[Claimed]:
        """Up to ``limit`` deliveries that are due, the most overdue first, and no more to a webhook than there is room for.

        They are this process's alone until ``hold`` is over: then somebody else may take them.
        """
        due: Document = {"status": _PENDING, "due_at": {"$lte": now}, "webhook_id": {"$nin": room.full}}
        with mongodb_errors():
            looked_at = await self._deliveries.find(due, _PLACE).sort([("due_at", 1)]).limit(limit).to_list(limit)
            heads = await self._heads({one["chain"] for one in looked_at})
            # Others may have concluded some of them meanwhile: then their chains may be empty.
            found = [one for one in looked_at if one["chain"] in heads]
            await self._park([one for one in found if one["number"] > heads[one["chain"]]["number"]], heads, now)
            urls = await self._webhooks.urls({one["webhook_id"] for one in found})
            firsts = [one for one in found if one["number"] == heads[one["chain"]]["number"]]
            there = room.fitting([one for one in firsts if one["webhook_id"] in urls])
            claimed = await asyncio.gather(*(self._take(one, token, now + hold) for one in there))
            orphans = [one["_id"] for one in firsts if one["webhook_id"] not in urls]
            if orphans:
                # Planned by somebody who did not know yet that their webhook was deleted.
                await self._deliveries.delete_many({"_id": {"$in": orphans}})
        return [Claimed(one, urls[one.webhook_id], token) for one in claimed if one is not None]

    async def next_due(self, room: Room) -> datetime | None:
        """When the next delivery is due that :meth:`claim` would find; None when none is pending."""
        with mongodb_errors():
            document = await self._deliveries.find_one(
                {"status": _PENDING, "webhook_id": {"$nin": room.full}}, {"due_at": 1}, sort=[("due_at", 1)]
            )
        return None if document is None else document["due_at"]

    async def conclude(self, claimed: Claimed, last: Try, verdict: Verdict) -> bool:
        """Note an attempt and what it leads to; False when another has taken the delivery meanwhile: nothing changes then."""
        over = verdict.status is not DeliveryStatus.PENDING
        settings: Document = {
            "status": verdict.status.value,
            "due_at": verdict.next_attempt_at,
            "token": None,
            "reason": verdict.reason,
        }
        update = {
            "$set": settings,
            "$inc": {"tries": 0 if last.succeeded else 1},
            "$push": {"attempts": {"$each": [_try_to_document(last)], "$slice": -_KEPT_ATTEMPTS}},
            **({"$currentDate": {"completed_at": True}} if over else {}),
        }
        with mongodb_errors():
            known = await self._deliveries.find_one_and_update(
                {"_id": claimed.delivery.id, "status": _PENDING, "token": claimed.token}, update, {"chain": 1}
            )
            if known is not None and over:
                await self._release_next(known["chain"])
        return known is not None

    async def give_back(self, claimed: Claimed, now: datetime) -> None:
        """The attempt was not made, or nobody knows how it went: somebody else is to make it at once."""
        with mongodb_errors():
            await self._deliveries.update_one(
                {"_id": claimed.delivery.id, "token": claimed.token}, {"$set": {"due_at": now, "token": None}}
            )

    async def bury(self, webhook_id: str, reason: str) -> None:
        """What waits for a webhook that is switched off is dead."""
        dead = {"status": DeliveryStatus.DEAD.value, "reason": reason, "due_at": None, "token": None}
        with mongodb_errors():
            await self._deliveries.update_many(
                {"webhook_id": webhook_id, "status": _PENDING},
                {"$set": dead, "$currentDate": {"completed_at": True}},
            )

    async def forget(self, webhook_id: str) -> None:
        """Remove all of a webhook that is no more."""
        with mongodb_errors():
            await self._deliveries.delete_many({"webhook_id": {"$eq": webhook_id}})

    async def redeliver(self, delivery_id: str) -> Delivery | None:
        """Have it attempted at once, with all its retries; None when it is not known."""
        again = {"status": _PENDING, "due_at": "$$NOW", "token": None, "reason": None, "tries": 0, "completed_at": None}
        # What is being attempted just now stays its worker's, and is not made twice.
        idle = {"_id": {"$eq": delivery_id}, "token": None}
        with mongodb_errors():
            document = await self._deliveries.find_one_and_update(
                idle, [{"$set": again}], return_document=ReturnDocument.AFTER
            )
        return await self.find(delivery_id) if document is None else delivery_from_document(document)

    async def find(self, delivery_id: str) -> Delivery | None:
        with mongodb_errors():
            document = await self._deliveries.find_one({"_id": {"$eq": delivery_id}})
        return None if document is None else delivery_from_document(document)

    async def page(
        self, webhook_id: str, status: DeliveryStatus | None, size: int, before: int | None
    ) -> Page[Delivery]:
        """Those of a webhook, the newest events first; those of events before the number ``before``."""
        wanted: Document = {"webhook_id": {"$eq": webhook_id}}
        if status is not None:
            wanted["status"] = status.value
        if before is not None:
            wanted["number"] = {"$lt": before}
        with mongodb_errors():
            cursor = self._deliveries.find(wanted).sort([("number", -1)]).limit(size + 1)
            found = [delivery_from_document(one) for one in await cursor.to_list(size + 1)]
        return Page(found[:size], has_next=len(found) > size, has_previous=before is not None)

    async def _heads(self, chains: Ids[str]) -> Mapping[str, Document]:
        """The first pending delivery of each chain."""
        if not chains:
            return {}
        first = {"$first": "$$ROOT"}
        stages: list[Document] = [
            {"$match": {"chain": {"$in": list(chains)}, "status": _PENDING}},
            {"$sort": {"chain": 1, "number": 1}},
            {"$project": {"chain": 1, "number": 1, "due_at": 1}},
            {"$group": {"_id": "$chain", "first": first}},
        ]
        found = await (await aggregate(self._deliveries, stages)).to_list(len(chains))
        return {one["_id"]: one["first"] for one in found}

    async def _park(self, waiting: Sequence[Document], heads: Mapping[str, Document], now: datetime) -> None:
        """What is not its chain's first is not due before that; else it would stand in the way of all others.

        The first may have been concluded meanwhile, before it could find these parked: so its chain is looked at once more.
        """
        if not waiting:
            return
        earliest, latest = now + _LOOK_AGAIN, now + _LOOK_AT_PARKED
        writes = [
            UpdateOne(
                {"_id": one["_id"], "due_at": one["due_at"], "token": one["token"]},
                {
                    "$set": {
                        "token": None,
                        "due_at": max(earliest, min(heads[one["chain"]]["due_at"], latest)),
                        "parked": True,
                    }
                },
            )
            for one in waiting
        ]
        await self._deliveries.bulk_write(writes, ordered=False)
        for chain in {one["chain"] for one in waiting}:
            await self._release_next(chain)

    async def _release_next(self, chain: str) -> None:
        """The next of a chain need not wait any longer."""
        document = await self._deliveries.find_one({"chain": chain, "status": _PENDING}, sort=[("number", 1)])
        if document is not None and document["parked"]:
            await self._deliveries.update_one(
                {"_id": document["_id"], "parked": True}, [{"$set": {"due_at": "$$NOW", "parked": False}}]
            )

    async def _take(self, one: Document, token: str, until: datetime) -> Delivery | None:
        document = await self._deliveries.find_one_and_update(
            {"_id": one["_id"], "status": _PENDING, "due_at": one["due_at"], "token": one["token"]},
            {"$set": {"token": token, "due_at": until, "parked": False}},
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else delivery_from_document(document)


def delivery_number(delivery_id: str) -> int:
    """The feed number of the event that a delivery tells of."""
    return int(delivery_id.rpartition("_")[2])


def delivery_from_document(document: Mapping[str, Any]) -> Delivery:
    return Delivery(
        id=document["_id"],
        webhook_id=document["webhook_id"],
        event=EventType(document["event"]),
        job_id=document["job_id"],
        status=DeliveryStatus(document["status"]),
        body=document["body"],
        tries=document["tries"],
        attempts=tuple(map(_try_from_document, document["attempts"])),
        next_attempt_at=document["due_at"],
        created_at=document["created_at"],
        reason=document["reason"],
    )


def _try_to_document(one: Try) -> Document:
    return {
        "at": one.at,
        "ms": round(one.duration / timedelta(milliseconds=1)),
        "status": one.status,
        "error": one.error,
    }


def _try_from_document(document: Mapping[str, Any]) -> Try:
    return Try(document["at"], timedelta(milliseconds=document["ms"]), document["status"], document["error"])
