"""Reading the event log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jobs.access import Reach
from jobs.errors import CursorExpired
from jobs.feed import JobEvent, last_missing
from jobs.origins import OriginFilter
from storage.changes import Changes
from storage.client import Collection, Database, aggregate
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.event_documents import event_from_document
from storage.filters import within_reach
from storage.origins import indexed_condition


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event of which this process cannot make anything, such as one of a newer version."""

    number: int
    error: Exception


@dataclass(frozen=True, slots=True)
class Passage:
    """Events that stand behind one another in the log: those within reach, and how far it was read to find them."""

    events: list[JobEvent]
    looked_at: int
    """How many there were, within reach or not."""
    end: int
    """The feed number of the last one; of an empty passage, the one behind which there was nothing."""
    missing: int | None
    """See :func:`jobs.feed.last_missing`: those that were pruned meanwhile."""


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

    async def read(self, reach: Reach, after: int, limit: int) -> Passage:
        """The up to ``limit`` events behind the feed number ``after``, in order.

        One within reach that cannot be read fails all of it, with whatever error it comes to.
        """
        documents = await self._documents(after, limit)
        missing = last_missing([document["_id"] for document in documents], after)
        return _passage(documents, reach, after, missing)

    async def read_of(self, reach: Reach, wanted: OriginFilter, after: int, limit: int) -> Passage:
        """As :meth:`read`, of those that may have been asked for by somebody who is meant: an index decides one condition.

        Whether any are missing is not told.
        """
        condition, index = indexed_condition(wanted, "actor")
        with mongodb_errors():
            cursor = self._events.find({"_id": {"$gt": after}, **condition}, hint=index).sort([("_id", 1)]).limit(limit)
            return _passage(await cursor.to_list(limit), reach, after)

    async def read_until_unreadable(self, after: int, limit: int) -> tuple[list[JobEvent], Unreadable | None]:
        """All events, for whoever hands them out, up to one that cannot be read: those before it, and which it is."""
        return _until_unreadable(await self._documents(after, limit))

    def news(self, told: Callable[[], None], most: int) -> Changes:
        """What is written to the log, for :meth:`continued`."""
        return Changes(self._events, {}, (), most, told)

    def continued(self, documents: Sequence[Document], after: int) -> tuple[list[JobEvent], Unreadable | None] | None:
        """As :meth:`read_until_unreadable`, of what ``news`` told; None where that does not go on right behind ``after``."""
        behind = [document for document in documents if document["_id"] > after]
        if [document["_id"] for document in behind] != list(range(after + 1, after + 1 + len(behind))):
            return None
        return _until_unreadable(behind)

    async def _documents(self, after: int, limit: int) -> list[Document]:
        with mongodb_errors():
            cursor = self._events.find({"_id": {"$gt": after}}).sort([("_id", 1)]).limit(limit)
            documents: list[Document] = await cursor.to_list(limit)
        return documents

    async def of_jobs(
        self, reach: Reach, job_ids: Sequence[str], after: int, limit: int
    ) -> Mapping[str, list[JobEvent]]:
        """Of each job that exists within reach, by id: up to ``limit`` of its events behind ``after``. One query."""
        stages: list[Document] = [
            {"$match": {"_id": {"$in": list(job_ids)}, **within_reach(reach)}},
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


def _passage(documents: Sequence[Document], reach: Reach, after: int, missing: int | None = None) -> Passage:
    within = [one for one in documents if reach.includes(one["product"], one["env"])]
    return Passage(
        [event_from_document(document) for document in within],
        looked_at=len(documents),
        end=documents[-1]["_id"] if documents else after,
        missing=missing,
    )


def _until_unreadable(documents: Sequence[Document]) -> tuple[list[JobEvent], Unreadable | None]:
    events: list[JobEvent] = []
    for document in documents:
        try:
            events.append(event_from_document(document))
        except Exception as error:  # whatever a defect or a newer version makes of it
            return events, Unreadable(document["_id"], error)
    return events, None
