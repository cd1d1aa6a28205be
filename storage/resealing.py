"""Sealing anew under the newest key, so that older keys can go: of webhooks and of the inputs of jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo import UpdateOne

from storage.client import Collection, Database
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.sealed_parts import FIELD
from storage.sealing import CannotOpen, Sealer
from storage.secret_inputs import input_owner

BATCH: Final = 500
"""So many documents are read at a time."""

_WEBHOOK_FIELDS: Final = ("secret", "previous")


@dataclass(frozen=True, slots=True)
class Resealed:
    """Documents, counted."""

    done: int = 0
    """All their secrets are sealed by the newest key now, and were not before."""
    changed: int = 0
    """Left as they are, since something else changed them meanwhile."""
    unreadable: int = 0
    """Have a secret that none of the keys opens. What else they have is sealed anew all the same."""

    def __add__(self, other: Resealed) -> Resealed:
        return Resealed(self.done + other.done, self.changed + other.changed, self.unreadable + other.unreadable)


class Resealing:
    """The secrets of an installation. What is sealed by the newest key is not touched: it can be repeated at any time."""

    def __init__(self, database: Database, sealer: Sealer, batch: int = BATCH) -> None:
        self._database = database
        self._sealer = sealer
        self._batch = batch

    async def webhooks(self) -> Resealed:
        """The secrets of webhooks, also those before that go on signing. Raises ``StoreUnavailable``."""
        return await self._all(self._database["webhooks"], _WEBHOOK_FIELDS, _resealed_webhook)

    async def inputs(self) -> Resealed:
        """The secrets of the inputs of jobs, whether or not they are over. Raises ``StoreUnavailable``."""
        return await self._all(self._database["jobs"], (FIELD,), _resealed_input)

    async def _all(
        self, collection: Collection, fields: Sequence[str], resealed: Callable[[Document, _Opening], Document]
    ) -> Resealed:
        total, beyond = Resealed(), Document()
        # By their ids, a bounded number at a time: no index knows which they are, and no read may take longer than its time.
        while True:
            with mongodb_errors():
                found = await (
                    collection.find(beyond, dict.fromkeys(fields, 1))
                    .sort("_id", 1)
                    .limit(self._batch)
                    .to_list(self._batch)
                )
            if not found:
                return total
            beyond = {"_id": {"$gt": found[-1]["_id"]}}
            total += await self._batch_of(collection, found, resealed)

    async def _batch_of(
        self, collection: Collection, found: Sequence[Document], resealed: Callable[[Document, _Opening], Document]
    ) -> Resealed:
        writes, unreadable = [], 0
        for document in found:
            opening = _Opening(self._sealer)
            new = resealed(document, opening)
            unreadable += opening.has_failed
            old = {name: document[name] for name in new}
            if new != old:
                # Only what was read: whoever sets a webhook meanwhile has the last word.
                still = {"_id": document["_id"], **{name: {"$eq": value} for name, value in old.items()}}
                writes.append(UpdateOne(still, {"$set": new}))
        if not writes:
            return Resealed(unreadable=unreadable)
        with mongodb_errors():
            done = (await collection.bulk_write(writes, ordered=False)).matched_count
        return Resealed(done, len(writes) - done, unreadable)


class _Opening:
    """Seals anew what of one document can be opened."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self.has_failed = False

    def reseal(self, sealed: Mapping[str, Any], owner: str) -> Document:
        resealed = self.reseal_if_readable(sealed, owner)
        self.has_failed |= not self._sealer.is_newest(resealed)
        return resealed

    def reseal_if_readable(self, sealed: Mapping[str, Any], owner: str) -> Document:
        if self._sealer.is_newest(sealed):
            return dict(sealed)
        try:
            return self._sealer.seal(self._sealer.open(sealed, owner), owner)
        except CannotOpen:
            return dict(sealed)


def _resealed_webhook(document: Document, opening: _Opening) -> Document:
    owner = document["_id"]
    # One before that cannot be opened signs nothing, and is soon gone.
    previous = [{**one, "secret": opening.reseal_if_readable(one["secret"], owner)} for one in document["previous"]]
    return {"secret": opening.reseal(document["secret"], owner), "previous": previous}


def _resealed_input(document: Document, opening: _Opening) -> Document:
    if FIELD not in document:
        return {}
    parts = document[FIELD]
    return {FIELD: [{**one, **opening.reseal(_box(one), input_owner(document["_id"], one["place"]))} for one in parts]}


def _box(part: Mapping[str, Any]) -> Document:
    return {name: value for name, value in part.items() if name != "place"}
