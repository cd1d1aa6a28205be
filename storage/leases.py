"""Leases of singletons. Holding one saves work; it guards nothing: the writes of its holder are fenced on their own."""

from __future__ import annotations

from datetime import datetime, timedelta

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from jobs.times import to_milliseconds
from storage.client import Collection, Database, aggregate
from storage.documents import Document, now_of
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
        is_free = {"$or": [{"$eq": ["$owner", self._owner]}, {"$lt": ["$until", "$$NOW"]}]}
        taken = {"owner": self._owner, "until": {"$add": ["$$NOW", self._length_ms]}}
        # The condition stands in the update, since an upsert's filter may not compare with the server's time. A lease that
        # was never held has no "until", which compares as less than any date.
        update = {field: {"$cond": [is_free, value, f"${field}"]} for field, value in taken.items()}
        try:
            with mongodb_errors():
                lease = await self._leases.find_one_and_update(
                    {"_id": self._name}, [{"$set": update}], upsert=True, return_document=ReturnDocument.AFTER
                )
        except DuplicateKeyError:
            return False
        return bool(lease["owner"] == self._owner)

    async def find_lapse(self) -> datetime | None:
        """The database's time, if the lease ended as long ago as it lasts, and nobody wanted it since; None otherwise.

        One that was given back has not lapsed.
        """
        is_old = {"$lt": [{"$add": ["$until", self._length_ms]}, "$$NOW"]}
        stages: list[Document] = [{"$match": {"_id": self._name, "$expr": is_old}}, {"$project": {"now": "$$NOW"}}]
        with mongodb_errors():
            found = await (await aggregate(self._leases, stages)).to_list(1)
        return now_of(found[0]) if found else None

    async def release(self) -> None:
        """Give it back, if it is still this owner's."""
        with mongodb_errors():
            await self._leases.delete_one({"_id": self._name, "owner": self._owner})
