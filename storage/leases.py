"""Leases of singletons. Holding one saves work; it guards nothing: the writes of its holder are fenced on their own."""

from __future__ import annotations

from datetime import timedelta

from pymongo.errors import DuplicateKeyError

from jobs.times import to_milliseconds
from storage.client import Collection, Database
from storage.errors import mongodb_errors


class Lease:
    """The lease called ``name``, as seen by one ``owner``; by the database's clock."""

    def __init__(self, database: Database, name: str, owner: str, length: timedelta) -> None:
        self._leases: Collection = database["leases"]
        self._name = name
        self._owner = owner
        self._length_ms = to_milliseconds(length)

    async def acquire(self) -> bool:
        """Take or renew it; False while another owner holds it."""
        free = {"$or": [{"owner": self._owner}, {"$expr": {"$lt": ["$until", "$$NOW"]}}]}
        held = {"owner": {"$literal": self._owner}, "until": {"$add": ["$$NOW", self._length_ms]}}
        try:
            with mongodb_errors():
                await self._leases.update_one({"_id": self._name, **free}, [{"$set": held}], upsert=True)
        except DuplicateKeyError:
            return False
        return True

    async def release(self) -> None:
        """Give it back, if it is still this owner's."""
        with mongodb_errors():
            await self._leases.delete_one({"_id": self._name, "owner": self._owner})
