"""Reading the event log."""

from __future__ import annotations

from jobs.errors import CursorExpired
from jobs.feed import JobEvent
from storage.client import Collection, Database
from storage.documents import event_from_document
from storage.errors import mongodb_errors


class EventLog:
    """The collection ``events``: dense feed numbers, in the order in which they were given."""

    def __init__(self, database: Database) -> None:
        self._events: Collection = database["events"]

    async def head(self) -> int:
        """The feed number of the newest event; 0 while there is none."""
        return await self._edge(-1)

    async def read(self, after: int, limit: int) -> list[JobEvent]:
        """Up to ``limit`` events behind the feed number ``after``, in order."""
        with mongodb_errors():
            cursor = self._events.find({"_id": {"$gt": after}}).sort([("_id", 1)]).limit(limit)
            return [event_from_document(document) for document in await cursor.to_list(limit)]

    async def of_job(self, job_id: str, after: int, limit: int) -> list[JobEvent]:
        """Up to ``limit`` events of one job behind its event number ``after``, in order."""
        with mongodb_errors():
            cursor = (
                self._events.find({"job_id": {"$eq": job_id}, "seq": {"$gt": after}}).sort([("seq", 1)]).limit(limit)
            )
            return [event_from_document(document) for document in await cursor.to_list(limit)]

    async def check_reaches(self, after: int) -> None:
        """Raise :class:`CursorExpired` when events behind ``after`` are no longer there."""
        first = await self._edge(1)
        if first > after + 1:
            raise CursorExpired

    async def _edge(self, direction: int) -> int:
        with mongodb_errors():
            document = await self._events.find_one({}, {"_id": 1}, sort=[("_id", direction)])
        return 0 if document is None else int(document["_id"])
