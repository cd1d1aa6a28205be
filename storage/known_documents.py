"""The collection ``documents``: GraphQL documents by the SHA-256 of their text. None of them ever changes."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from pymongo import UpdateOne

from storage.client import Collection, Database
from storage.errors import mongodb_errors

_PREFIX: Final = "sha256:"
_ID: Final = re.compile(r"[0-9a-f]{64}")
_REMEMBERED: Final = 1_000
_MOST: Final = 10_000


class KnownDocument(NamedTuple):
    """A document that is registered, without its text."""

    id: str
    name: str
    created_at: datetime


def document_id(text: str) -> str:
    """The id that a text has."""
    return sha256(text.encode()).hexdigest()


def plain_id(given: str) -> str:
    """An id as clients may write it, with or without the name of the hash in front."""
    return given.removeprefix(_PREFIX)


class KnownDocuments:
    """Remembers those that are asked for; of those that are not there, nothing: they may be registered at any time."""

    def __init__(self, database: Database) -> None:
        self._documents: Collection = database["documents"]
        self._texts: OrderedDict[str, str] = OrderedDict()

    async def register(self, names: Mapping[str, str]) -> None:
        """Make documents known, given as text and name. Those that are known stay as they are. Raises ``StoreUnavailable``."""
        with mongodb_errors():
            await self._documents.bulk_write([_write(text, name) for text, name in names.items()], ordered=False)

    async def find(self, document_id: str) -> str | None:
        """The text; None when nothing is registered by this id. Raises ``StoreUnavailable``."""
        wanted = plain_id(document_id)
        if wanted in self._texts:
            self._texts.move_to_end(wanted)
            return self._texts[wanted]
        if not _ID.fullmatch(wanted):
            return None
        with mongodb_errors():
            found = await self._documents.find_one({"_id": wanted}, {"text": True})
        if found is None:
            return None
        text: str = found["text"]
        self._texts[wanted] = text
        if len(self._texts) > _REMEMBERED:
            self._texts.popitem(last=False)
        return text

    def remembered(self, document_id: str) -> str | None:
        """The text, if it was asked for of late."""
        return self._texts.get(plain_id(document_id))

    async def all(self) -> list[KnownDocument]:
        """Those that are registered, by id; the first ten thousand. Raises ``StoreUnavailable``."""
        with mongodb_errors():
            found: Iterable[dict[str, Any]] = (
                await self._documents.find({}, {"text": False}).sort("_id", 1).limit(_MOST).to_list(_MOST)
            )
        return [KnownDocument(one["_id"], one["name"], one["created_at"]) for one in found]


def _write(text: str, name: str) -> UpdateOne:
    fields = {"text": {"$literal": text}, "name": {"$literal": name}, "created_at": "$$NOW"}
    kept = {field: {"$ifNull": [f"${field}", value]} for field, value in fields.items()}
    return UpdateOne({"_id": document_id(text)}, [{"$set": kept}], upsert=True)
