"""Webhooks as documents, and their secrets."""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from jobs.access import Reach
from jobs.events import EventType
from jobs.filters import JobFilter
from jobs.lifecycle import JobStatus
from jobs.times import to_milliseconds
from jobs.webhooks import Webhook
from storage.client import Collection, Database, aggregate
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.filters import within_reach
from storage.sealing import CannotOpen, Sealer

ROTATION: Final = timedelta(days=1)
"""For so long a secret that was replaced goes on signing beside the new one."""

_CERTAIN_WITHIN_MS: Final = 5_000
"""It takes a majority to be certain: a primary that reaches none any more would be waiting for ever."""

_MOST_FORMER: Final = 5
"""So many replaced secrets sign at most: who sets more within a day than that has lost the oldest."""


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """What is to be set. ``since``: the feed number of the newest event."""

    url: str
    events: tuple[EventType, ...]
    filter: JobFilter
    product: str | None
    env: str | None
    since: int
    secret: bytes = field(repr=False)
    now: datetime
    payloads: bool
    """Whether whoever sets it may read errors as they are."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the messages of a webhook go. ``off``: why it is switched off; None while it is on."""

    url: str
    generation: int
    """Raised each time that it is set: tells what is known of a webhook from what is known of it as it is now."""
    off: str | None


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
        """Store it as ``new_id``, or under the id that it has: then it is switched on, and the secrets before sign for a while.

        Raises ``StoreUnavailable``; what it sets is the same if it is asked for again.
        """
        place = {"product": new.product, "env": new.env, "url": new.url}
        while True:
            with mongodb_errors():
                known = await self._webhooks.find_one({name: {"$eq": value} for name, value in place.items()})
                document = await (self._insert(new, new_id) if known is None else self._replace(known, new))
            # Else somebody was faster to set or to delete it.
            if document is not None:
                return webhook_from_document(document)

    async def list_all(self, reach: Reach) -> list[Webhook]:
        """All there are within reach, the oldest first."""
        with mongodb_errors():
            found = self._webhooks.find(within_reach(reach), _SHOWN).sort([("_id", 1)])
            return [webhook_from_document(one) async for one in found]

    async def list_enabled(self) -> list[Webhook]:
        with mongodb_errors():
            return [webhook_from_document(one) async for one in self._webhooks.find({"enabled": True}, _SHOWN)]

    async def targets(self, webhook_ids: Ids[str]) -> Mapping[str, Target]:
        """Where those of them lead that there are, by id."""
        if not webhook_ids:
            return {}
        shown = dict.fromkeys(("url", "generation", "enabled", "disabled_reason"), 1)
        with mongodb_errors():
            found = self._webhooks.find({"_id": {"$in": list(webhook_ids)}}, shown)
            return {one["_id"]: _target_from_document(one) async for one in found}

    async def with_each(self, reach: Reach, webhook_ids: Sequence[str], belonging: Document) -> list[Document]:
        """Those of them that there are within reach: their ids, and what a ``$lookup`` finds to belong to each."""
        stages: list[Document] = [
            {"$match": {"_id": {"$in": list(webhook_ids)}, **within_reach(reach)}},
            {"$project": {"_id": 1}},
            {"$lookup": belonging},
        ]
        with mongodb_errors():
            found: list[Document] = await (await aggregate(self._webhooks, stages)).to_list(len(webhook_ids))
        return found

    async def find(self, reach: Reach, webhook_id: str) -> Webhook | None:
        with mongodb_errors():
            document = await self._webhooks.find_one({"_id": {"$eq": webhook_id}, **within_reach(reach)}, _SHOWN)
        return None if document is None else webhook_from_document(document)

    async def secrets_of(self, webhook_id: str, now: datetime) -> Sequence[bytes]:
        """What messages to it are signed with, the newest first; nothing when there is no such webhook any more.

        Raises :class:`storage.sealing.CannotOpen`, ``StoreUnavailable``.
        """
        with mongodb_errors():
            document = await self._webhooks.find_one({"_id": webhook_id}, {"secret": 1, "previous": 1})
        if document is None:
            return ()
        former = [one["secret"] for one in document["previous"] if one["until"] > now]
        # One whose key is gone, that of a receiver which is late to change over, must not keep the new one from signing.
        opened = [secret for one in former if (secret := self._opened(one, webhook_id)) is not None]
        return [self._sealer.open(document["secret"], webhook_id), *opened]

    async def delete(self, reach: Reach, webhook_id: str) -> bool:
        """Whether it was there."""
        wanted = {"_id": {"$eq": webhook_id}, **within_reach(reach)}
        with mongodb_errors():
            return bool((await self._webhooks.delete_one(wanted)).deleted_count)

    async def is_gone(self, webhook_id: str) -> bool:
        """Whether it is certain that there is no such webhook.

        Not finding one is not enough: a primary that has just been elected may answer from before it was set.
        """
        certain = self._webhooks.with_options(read_concern=ReadConcern("linearizable"))
        with mongodb_errors():
            return (
                await certain.find_one({"_id": {"$eq": webhook_id}}, {"_id": 1}, max_time_ms=_CERTAIN_WITHIN_MS) is None
            )

    async def note_failure(self, webhook_id: str, generation: int) -> datetime | None:
        """An attempt has failed: since when all of them have, this one included.

        None when it was made for another ``generation`` of the webhook: what that did is forgotten.
        """
        since = {"$set": {"failing_since": {"$ifNull": ["$failing_since", "$$NOW"]}}}
        with mongodb_errors():
            document = await self._webhooks.find_one_and_update(
                {"_id": webhook_id, "generation": generation},
                [since],
                {"failing_since": 1},
                return_document=ReturnDocument.AFTER,
            )
        return None if document is None else document["failing_since"]

    async def note_success(self, webhook_id: str) -> None:
        with mongodb_errors():
            await self._webhooks.update_one(
                {"_id": webhook_id, "failing_since": {"$ne": None}}, {"$set": {"failing_since": None}}
            )

    async def disable(
        self, webhook_id: str, generation: int, reason: str, failing_since: datetime | None = None
    ) -> datetime | None:
        """Switch it off until it is set again; answer when that was.

        None when nothing changed: it is off, was set after this ``generation``, or has not only failed ``failing_since`` then
        (None: whatever else it has answered).
        """
        wanted: Document = {"_id": webhook_id, "enabled": True, "generation": generation}
        if failing_since is not None:
            wanted["failing_since"] = failing_since
        off = {"enabled": False, "disabled_reason": {"$literal": reason}, "disabled_at": "$$NOW"}
        with mongodb_errors():
            document = await self._webhooks.find_one_and_update(
                wanted, [{"$set": off}], {"disabled_at": 1}, return_document=ReturnDocument.AFTER
            )
        return None if document is None else document["disabled_at"]

    async def _insert(self, new: NewWebhook, new_id: str) -> Document | None:
        place = {"product": new.product, "env": new.env, "url": new.url}
        lasting = {"previous": [], "generation": 1, "since": new.since, "created_at": new.now}
        document = {"_id": new_id, **place, **self._settings(new, new_id), **lasting}
        try:
            await self._webhooks.insert_one(document)
        except DuplicateKeyError:
            return None
        return document

    def _settings(self, new: NewWebhook, webhook_id: str) -> Document:
        return {
            "events": [event.value for event in new.events],
            "filter": filter_to_document(new.filter),
            "secret": self._sealer.seal(new.secret, webhook_id),
            "enabled": True,
            "disabled_reason": None,
            "disabled_at": None,
            "failing_since": None,
            "payloads": new.payloads,
        }

    async def _replace(self, known: Document, new: NewWebhook) -> Document | None:
        webhook_id, generation = known["_id"], known["generation"]
        # One that was switched off begins anew: it is not told of what happened meanwhile.
        since = {"$cond": ["$enabled", "$since", {"$literal": new.since}]}
        settings = {name: {"$literal": value} for name, value in self._settings(new, webhook_id).items()}
        lasting = {"previous": self._former(known, new.secret), "since": since, "generation": generation + 1}
        found: Document | None = await self._webhooks.find_one_and_update(
            {"_id": webhook_id, "generation": generation},
            [{"$set": lasting}, {"$set": settings}],
            return_document=ReturnDocument.AFTER,
        )
        return found

    def _former(self, known: Document, secret: bytes) -> Document:
        """The secrets that go on signing beside the new one, as an expression: each once, the latest first.

        Told apart once they are opened, since each sealing of the same looks different. None that cannot be opened: it signs
        nothing.
        """
        replaced = self._opened(known["secret"], known["_id"])
        older = [
            one
            for one in known["previous"]
            if self._opened(one["secret"], known["_id"]) not in (None, secret, replaced)
        ]
        until = {"$add": ["$$NOW", to_milliseconds(ROTATION)]}
        latest = [] if replaced in (None, secret) else [{"secret": {"$literal": known["secret"]}, "until": until}]
        valid = {"$filter": {"input": {"$literal": older}, "cond": {"$gt": ["$$this.until", "$$NOW"]}}}
        return {"$slice": [{"$concatArrays": [latest, valid]}, _MOST_FORMER]}

    def _opened(self, sealed: Mapping[str, Any], webhook_id: str) -> bytes | None:
        try:
            return self._sealer.open(sealed, webhook_id)
        except CannotOpen:
            return None


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
        payloads=document.get("payloads", True),
    )


def _target_from_document(document: Mapping[str, Any]) -> Target:
    return Target(
        document["url"], document["generation"], off=None if document["enabled"] else document["disabled_reason"]
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
