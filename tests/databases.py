"""Databases for tests, one after the other. One that was made is cleaned and used again: its indexes take most of a second.

A database rests between two tests, for what a process that was killed had still under way. One that a test has left otherwise
than ``storage.indexes`` makes it, or with very much in it, is dropped.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from pymongo import IndexModel, MongoClient

from storage.indexes import INDEXES

_RESTING: Final = 3
_MANY: Final = 1_000
_PROFILE: Final = "system.profile"

Document = dict[str, Any]


class Databases:
    """Those of one test process on one server."""

    def __init__(self, client: MongoClient[Document]) -> None:
        self._client = client
        self._resting: deque[str] = deque()

    def take(self) -> str:
        """The name of a database with nothing in it, that no other test uses meanwhile."""
        if len(self._resting) <= _RESTING:
            return new_name()
        name = self._resting.popleft()
        self._clean(name)
        return name

    def give_back(self, name: str) -> None:
        self._resting.append(name)

    def drop_all(self) -> None:
        for name in self._resting:
            self._client.drop_database(name)

    def _clean(self, name: str) -> None:
        database = self._client[name]
        database.command("profile", 0)
        database.drop_collection(_PROFILE)
        there = database.list_collection_names()
        if not all(self._is_as_made(name, one) for one in there):
            self._client.drop_database(name)
            return
        for one in there:
            database[one].delete_many({})
            # A plan that was good for other documents would be used for those of the next test.
            database.command("planCacheClear", one)

    def _is_as_made(self, name: str, collection: str) -> bool:
        indexes = self._client[name][collection].index_information()
        wanted = {"_id_": _known([("_id", 1)], {}), **dict(map(_definition, INDEXES.get(collection, [])))}
        found = {index: _known(one["key"], one) for index, one in indexes.items()}
        return found == wanted and self._client[name][collection].estimated_document_count() <= _MANY


def new_name() -> str:
    """A name that no database has."""
    return f"test_{uuid.uuid4().hex[:12]}"


def _definition(index: IndexModel) -> tuple[str, Document]:
    document = index.document
    return document["name"], _known(document["key"].items(), document)


def _known(key: Any, options: Mapping[str, Any]) -> Document:
    return {"key": [(field, int(way)) for field, way in key], "only": options.get("partialFilterExpression")}
