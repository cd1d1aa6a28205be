"""Webhooks as documents, and their secrets."""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from jobs.events import EventType
from jobs.filters import JobFilter
from jobs.lifecycle import JobStatus
from jobs.times import to_milliseconds
from jobs.webhooks import Webhook
from storage.client import Collection, Database
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.sealing import Sealer

ROTATION: Final = timedelta(days=1)
"""For so long a secret that was replaced goes on signing beside the new one."""


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """What is to be set. ``since``: the feed number of the newest event."""

    url: str
    events: tuple[EventType, ...]
    filter: JobFilter
    product: str | None
    env: str | None
    since: int
    secret: bytes
    now: datetime


class Webhooks:
    """The collection ``webhooks``: one for each URL in a product and env, or in all of them."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._webhooks: Collection = database["webhooks"]
        self._sealer = sealer

    @property
    def can_keep_secrets(self) -> bool:
        """Whether there is a key to seal secrets with."""
        return self._sealer.can_seal

    async def set(self, new: NewWebhook, new_id: str) -> Webhook:
        """Store it as ``new_id``, or under the id that it has: then it is switched on, and both secrets sign for a while.

        Raises ``StoreUnavailable``; what it sets is the same if it is asked for again.
        """
        place = {"product": new.product, "env": new.env, "url": new.url}
        inserted = {
            "_id": new_id,
            **place,
            **self._settings(new, new_id),
            "previous": None,
            "since": new.since,
            "created_at": new.now,
        }
        while True:
            with mongodb_errors():
                known = await self._webhooks.find_one({name: {"$eq": value} for name, value in place.items()})
                if known is not None:
                    document = await self._replace(known["_id"], new)
                    if document is not None:
                        return webhook_from_document(document)
                    continue
                try:
                    await self._webhooks.insert_one(inserted)
                except DuplicateKeyError:
                    # Somebody else was faster to set it.
                    continue
            return webhook_from_document(inserted)

    async def list_all(self) -> list[Webhook]:
        """All there are, the oldest first."""
        with mongodb_errors():
            return [webhook_from_document(one) async for one in self._webhooks.find({}, _SHOWN).sort([("_id", 1)])]

    async def list_enabled(self) -> list[Webhook]:
        with mongodb_errors():
            return [webhook_from_document(one) async for one in self._webhooks.find({"enabled": True}, _SHOWN)]

    async def urls(self, webhook_ids: Ids[str]) -> Mapping[str, str]:
        """Where those of them lead that there are, by id."""
        if not webhook_ids:
            return {}
        with mongodb_errors():
            found = self._webhooks.find({"_id": {"$in": list(webhook_ids)}}, {"url": 1})
            return {one["_id"]: one["url"] async for one in found}

    async def find(self, webhook_id: str) -> Webhook | None:
        with mongodb_errors():
            document = await self._webhooks.find_one({"_id": {"$eq": webhook_id}}, _SHOWN)
        return None if document is None else webhook_from_document(document)

    async def secrets_of(self, webhook_id: str, now: datetime) -> Sequence[bytes]:
        """What messages to it are signed with, the newest first; nothing when there is no such webhook any more.

        Raises :class:`storage.sealing.CannotOpen`, ``StoreUnavailable``.
        """
        with mongodb_errors():
            document = await self._webhooks.find_one({"_id": webhook_id}, {"secret": 1, "previous": 1})
        if document is None:
            return ()
        previous = document["previous"]
        sealed = [document["secret"], *([previous["secret"]] if previous and previous["until"] > now else [])]
        return [self._sealer.open(one, webhook_id) for one in sealed]

    async def delete(self, webhook_id: str) -> bool:
        """Whether it was there."""
        with mongodb_errors():
            return bool((await self._webhooks.delete_one({"_id": {"$eq": webhook_id}})).deleted_count)

    async def note_failure(self, webhook_id: str) -> datetime | None:
        """An attempt has failed: since when all of them have, this one included. None when there is no such webhook."""
        since = {"$set": {"failing_since": {"$ifNull": ["$failing_since", "$$NOW"]}}}
        with mongodb_errors():
            document = await self._webhooks.find_one_and_update(
                {"_id": webhook_id}, [since], {"failing_since": 1}, return_document=ReturnDocument.AFTER
            )
        return None if document is None else document["failing_since"]

    async def note_success(self, webhook_id: str) -> None:
        with mongodb_errors():
            await self._webhooks.update_one(
                {"_id": webhook_id, "failing_since": {"$ne": None}}, {"$set": {"failing_since": None}}
            )

    async def disable(self, webhook_id: str, reason: str) -> None:
        """Switch it off until it is set again."""
        with mongodb_errors():
            await self._webhooks.update_one(
                {"_id": webhook_id, "enabled": True}, {"$set": {"enabled": False, "disabled_reason": reason}}
            )

    def _settings(self, new: NewWebhook, webhook_id: str) -> Document:
        return {
            "events": [event.value for event in new.events],
            "filter": filter_to_document(new.filter),
            "secret": self._sealer.seal(new.secret, webhook_id),
            "enabled": True,
            "disabled_reason": None,
            "failing_since": None,
        }

    async def _replace(self, webhook_id: str, new: NewWebhook) -> Document | None:
        until = {"$add": ["$$NOW", to_milliseconds(ROTATION)]}
        # One that was switched off begins anew: it is not told of what happened meanwhile.
        since = {"$cond": ["$enabled", "$since", {"$literal": new.since}]}
        settings = {name: {"$literal": value} for name, value in self._settings(new, webhook_id).items()}
        update = [{"$set": {"previous": {"secret": "$secret", "until": until}, "since": since}}, {"$set": settings}]
        found: Document | None = await self._webhooks.find_one_and_update(
            {"_id": webhook_id}, update, return_document=ReturnDocument.AFTER
        )
        return found


_SHOWN: Final = {"secret": 0, "previous": 0}
_LISTS: Final = ("ids", "product", "env", "namespace", "task", "tags", "error_code")


def webhook_from_document(document: Mapping[str, Any]) -> Webhook:
    return Webhook(
        id=document["_id"],
        url=document["url"],
        events=tuple(map(EventType, document["events"])),
        filter=filter_from_document(document["filter"]),
        product=document["product"],
        env=document["env"],
        since=document["since"],
        created_at=document["created_at"],
        enabled=document["enabled"],
        disabled_reason=document["disabled_reason"],
    )


def filter_to_document(conditions: JobFilter) -> Document:
    """The conditions that there are. Those on the input are not among them: events cannot be compared with these."""
    lists = {name: getattr(conditions, name) for name in _LISTS}
    given = {
        **{name: None if values is None else list(values) for name, values in lists.items()},
        "status": None if conditions.status is None else [status.value for status in conditions.status],
        "recurring": conditions.recurring,
        "from_": conditions.from_,
        "to": conditions.to,
        "idempotency_key": conditions.idempotency_key,
    }
    return {name: value for name, value in given.items() if value is not None}


def filter_from_document(document: Mapping[str, Any]) -> JobFilter:
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
    }
    if "status" in given:
        given["status"] = tuple(map(JobStatus, given["status"]))
    return JobFilter(**given)
