"""Reading the event log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.errors import CursorExpired
from jobs.feed import JobEvent
from storage.client import Collection, Database, aggregate
from storage.documents import Document, event_from_document
from storage.errors import mongodb_errors


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event of which this process cannot make anything, such as one of a newer version."""

    number: int
    error: Exception


class EventLog:
    """The collection ``events``: dense feed numbers, in the order in which they were given."""

    def __init__(self, database: Database) -> None:
        self._events: Collection = database["events"]
        self._jobs: Collection = database["jobs"]

    async def head(self) -> int:
        """The feed number of the newest event; 0 while there is none."""
        return await self._edge(-1)

    async def start(self) -> int:
        """The feed number before the oldest event that there is; 0 while there is none."""
        return max(await self._edge(1) - 1, 0)

    async def read(self, after: int, limit: int) -> list[JobEvent]:
        """Up to ``limit`` events behind the feed number ``after``, in order.

        Those that were pruned meanwhile are missing: :func:`jobs.feed.last_missing` tells. An event that cannot be read fails
        all of it, with whatever error it comes to.
        """
        return [event_from_document(document) for document in await self._documents(after, limit)]

    async def read_until_unreadable(self, after: int, limit: int) -> tuple[list[JobEvent], Unreadable | None]:
        """As :meth:`read`, but for an event that cannot be read: those before it, and which it is."""
        events: list[JobEvent] = []
        for document in await self._documents(after, limit):
            try:
                events.append(event_from_document(document))
            except Exception as error:  # whatever a defect or a newer version makes of it
                return events, Unreadable(document["_id"], error)
        return events, None

    async def _documents(self, after: int, limit: int) -> list[Document]:
        with mongodb_errors():
            cursor = self._events.find({"_id": {"$gt": after}}).sort([("_id", 1)]).limit(limit)
            documents: list[Document] = await cursor.to_list(limit)
        return documents

    async def of_jobs(self, job_ids: Sequence[str], after: int, limit: int) -> Mapping[str, list[JobEvent]]:
        """Of each job that exists, by id: up to ``limit`` of its events behind the feed number ``after``. One query."""
        stages: list[Document] = [
            {"$match": {"_id": {"$in": list(job_ids)}}},
            {"$project": {"_id": 1}},
            {
                "$lookup": {
                    "from": "events",
                    "localField": "_id",
                    "foreignField": "job_id",
                    "pipeline": [{"$match": {"_id": {"$gt": after}}}, {"$sort": {"_id": 1}}, {"$limit": limit}],
                    "as": "events",
                }
            },
        ]
        with mongodb_errors():
            jobs = await (await aggregate(self._jobs, stages)).to_list(len(job_ids))
        return {job["_id"]: [event_from_document(event) for event in job["events"]] for job in jobs}

    async def check_reaches(self, after: int) -> None:
        """Raise :class:`CursorExpired` when events behind ``after`` are no longer there."""
        first = await self._edge(1)
        if first > after + 1:
            raise CursorExpired

    async def _edge(self, direction: int) -> int:
        with mongodb_errors():
            document = await self._events.find_one({}, {"_id": 1}, sort=[("_id", direction)])
        return 0 if document is None else int(document["_id"])
