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
from typing import Final

from pymongo import ReturnDocument, UpdateOne

from jobs.access import Reach
from jobs.errors import JobgateError
from jobs.paging import Page
from jobs.times import EPOCH
from jobs.webhooks import Delivery, DeliveryStatus, Try, Verdict, Webhook
from storage.client import Collection, Database, aggregate
from storage.delivery_documents import UNSAID, death, delivery_from_document, page_from_documents, try_to_document
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.indexes import DUE
from storage.webhooks import Target, Webhooks

_KEPT_ATTEMPTS: Final = 20
_LOOK_AGAIN: Final = timedelta(seconds=1)
_PENDING: Final = DeliveryStatus.PENDING.value
_PLACE: Final = dict.fromkeys(("webhook_id", "chain", "number", "due_at", "token"), 1)
"""What is needed to choose what is attempted: not what it says."""


class SwitchedOff(JobgateError):
    """The webhook is told nothing before it is set again."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process is to attempt now; ``token`` fences what it writes about it."""

    delivery: Delivery
    body: str
    target: Target
    """As the webhook was set when this was claimed."""
    token: str


@dataclass(frozen=True, slots=True)
class Claims:
    """What was claimed. ``moved``: others were put out of the way, so that what is due behind them can be seen now."""

    claimed: Sequence[Claimed]
    moved: bool


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

    async def claim(self, limit: int, room: Room, token: str, now: datetime, hold: timedelta) -> Claims:
        """Up to ``limit`` deliveries that are due, the most overdue first, and no more to a webhook than there is room for.

        They are this process's alone until ``hold`` is over: then somebody else may take them. What is due to webhooks that
        are switched off, or are no more, does not stay due.
        """
        due: Document = {"status": _PENDING, "due_at": {"$lte": now}, "webhook_id": {"$nin": room.full}}
        with mongodb_errors():
            looked_at = await self._deliveries.find(due, _PLACE, sort=[("due_at", 1)], limit=limit, hint=DUE).to_list(
                limit
            )
            heads = await self._heads({one["chain"] for one in looked_at})
            # Others may have concluded some of them meanwhile: then their chains may be empty.
            found = [one for one in looked_at if one["chain"] in heads]
            targets = await self._webhooks.targets({one["webhook_id"] for one in found})
            told = [one for one in found if one["webhook_id"] in targets and targets[one["webhook_id"]].off is None]
            firsts = [one for one in told if one["number"] == heads[one["chain"]]["number"]]
            waiting = [one for one in told if one["number"] > heads[one["chain"]]["number"]]
            untold = [one for one in found if one not in told]
            await self._park(waiting, heads, now)
            await self._drop(untold, targets)
            taken = await self._take_all(room.fitting(firsts), token, now + hold)
        claimed = [
            Claimed(delivery_from_document(one), one["body"], targets[one["webhook_id"]], token) for one in taken
        ]
        return Claims(claimed, moved=bool(waiting or untold))

    async def next_due(self, room: Room) -> datetime | None:
        """When the next delivery is due that :meth:`claim` would find; None when none is pending."""
        # All are due at some time: only where the first field is asked for does MongoDB look for the second in the index.
        wanted = {"status": _PENDING, "due_at": {"$gte": EPOCH}, "webhook_id": {"$nin": room.full}}
        with mongodb_errors():
            document = await self._deliveries.find_one(wanted, {"due_at": 1}, sort=[("due_at", 1)], hint=DUE)
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
            "$push": {"attempts": {"$each": [try_to_document(last)], "$slice": -_KEPT_ATTEMPTS}},
            **({"$currentDate": {"completed_at": True}} if over else {}),
        }
        with mongodb_errors():
            known = await self._deliveries.find_one_and_update(
                {"_id": claimed.delivery.id, "status": _PENDING, "token": claimed.token}, update, {"chain": 1}
            )
            if known is not None and over:
                await self._release_next(known["chain"])
        return known is not None

    async def give_back(self, claimed: Claimed, due_at: datetime) -> None:
        """The attempt was not made, or nobody knows how it went: somebody is to make it at ``due_at``."""
        with mongodb_errors():
            await self._deliveries.update_one(
                {"_id": claimed.delivery.id, "token": claimed.token}, {"$set": {"due_at": due_at, "token": None}}
            )

    async def bury(self, webhook_id: str, reason: str, disabled_at: datetime) -> None:
        """What waited for a webhook when it was switched off is dead; not what it is told of once it was set again.

        What is being attempted just now is its worker's to judge.
        """
        waited = {"webhook_id": webhook_id, "status": _PENDING, "token": None, "created_at": {"$lte": disabled_at}}
        with mongodb_errors():
            await self._deliveries.update_many(waited, death(reason))

    async def forget(self, webhook_ids: Sequence[str]) -> None:
        """Remove all of webhooks that are no more."""
        with mongodb_errors():
            await self._deliveries.delete_many({"webhook_id": {"$in": list(webhook_ids)}})

    async def redeliver(self, reach: Reach, delivery_id: str) -> Delivery | None:
        """Have it attempted at once, with all its retries; None when there is none to a webhook within reach.

        Raises :class:`SwitchedOff`.
        """
        known, webhook = await self._find(reach, delivery_id)
        if webhook is None:
            return None
        if not webhook.enabled:
            raise SwitchedOff
        again = {"status": _PENDING, "due_at": "$$NOW", "token": None, "reason": None, "tries": 0, "completed_at": None}
        # What is being attempted just now stays its worker's, and is not made twice.
        idle = {"_id": {"$eq": delivery_id}, "token": None}
        with mongodb_errors():
            document = await self._deliveries.find_one_and_update(
                idle, [{"$set": again}], UNSAID, return_document=ReturnDocument.AFTER
            )
        return known if document is None else delivery_from_document(document)

    async def find(self, reach: Reach, delivery_id: str) -> Delivery | None:
        delivery, webhook = await self._find(reach, delivery_id)
        return None if webhook is None else delivery

    async def pages(
        self, reach: Reach, webhook_ids: Sequence[str], status: DeliveryStatus | None, size: int, before: int | None
    ) -> Mapping[str, Page[Delivery]]:
        """Of each webhook that exists within reach, by id: its deliveries, newest event first; of events before ``before``.

        One query.
        """
        wanted: Document = {} if status is None else {"status": status.value}
        if before is not None:
            wanted["number"] = {"$lt": before}
        listed = [{"$match": wanted}, {"$sort": {"number": -1}}, {"$limit": size + 1}, {"$project": UNSAID}]
        belonging = {"from": "deliveries", "localField": "_id", "foreignField": "webhook_id", "pipeline": listed}
        found = await self._webhooks.with_each(reach, webhook_ids, {**belonging, "as": "deliveries"})
        return {one["_id"]: page_from_documents(one["deliveries"], size, before) for one in found}

    async def _find(self, reach: Reach, delivery_id: str) -> tuple[Delivery | None, Webhook | None]:
        """The delivery, and its webhook where that is within reach."""
        with mongodb_errors():
            document = await self._deliveries.find_one({"_id": {"$eq": delivery_id}}, UNSAID)
        if document is None:
            return None, None
        return delivery_from_document(document), await self._webhooks.find(reach, document["webhook_id"])

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
        # Whatever concludes the first releases the next. If it is killed before it can, the next is due no later than the first
        # was: each is found without being looked at every now and then, which many of them would crowd out others with.
        earliest = now + _LOOK_AGAIN
        writes = [
            UpdateOne(
                _as_seen(one),
                {"$set": {"token": None, "due_at": max(earliest, heads[one["chain"]]["due_at"]), "parked": True}},
            )
            for one in waiting
        ]
        await self._deliveries.bulk_write(writes, ordered=False)
        await self._release({one["chain"] for one in waiting})

    async def _drop(self, untold: Sequence[Document], targets: Mapping[str, Target]) -> None:
        """End what is due to webhooks that are to be told nothing."""
        if not untold:
            return
        # Planned, or given back, by somebody who did not know yet that their webhook was deleted or switched off.
        for webhook_id in {one["webhook_id"] for one in untold} - targets.keys():
            if await self._webhooks.is_gone(webhook_id):
                await self._deliveries.delete_many({"webhook_id": webhook_id})
        dead = [(one, targets[one["webhook_id"]]) for one in untold if one["webhook_id"] in targets]
        writes = [UpdateOne(_as_seen(one), death(switched_off(target.off))) for one, target in dead]
        if writes:
            await self._deliveries.bulk_write(writes, ordered=False)
            await self._release({one["chain"] for one, _ in dead})

    async def _release(self, chains: Ids[str]) -> None:
        await asyncio.gather(*map(self._release_next, chains))

    async def _release_next(self, chain: str) -> None:
        """The next of a chain need not wait any longer."""
        document = await self._deliveries.find_one({"chain": chain, "status": _PENDING}, sort=[("number", 1)])
        if document is not None and document["parked"]:
            await self._deliveries.update_one(
                {"_id": document["_id"], "status": _PENDING, "parked": True},
                [{"$set": {"due_at": "$$NOW", "parked": False}}],
            )

    async def _take_all(self, wanted: Sequence[Document], token: str, until: datetime) -> list[Document]:
        """Those that nobody else took. What keeps one from being taken is raised only where none was: taken is taken."""
        settings = {"$set": {"token": token, "due_at": until, "parked": False}}
        answers = await asyncio.gather(
            *(
                self._deliveries.find_one_and_update(_as_seen(one), settings, return_document=ReturnDocument.AFTER)
                for one in wanted
            ),
            return_exceptions=True,
        )
        taken: list[Document] = [one for one in answers if isinstance(one, dict)]
        failures = [one for one in answers if isinstance(one, BaseException)]
        if failures and not taken:
            raise failures[0]
        return taken


def switched_off(why: str | None) -> str:
    """Why a delivery is dead that waited for a webhook which was switched off."""
    return f"the webhook was switched off: {why}"


def _as_seen(one: Document) -> Document:
    """Matches it only if nobody has had anything to do with it since."""
    return {"_id": one["_id"], "status": _PENDING, "due_at": one["due_at"], "token": one["token"]}
