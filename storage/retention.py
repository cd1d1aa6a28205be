"""Removing what has been kept long enough, one small batch a call, by the database's clock.

Everything here may be done by several processes at once: each write is fenced by its own filter.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Final

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from jobs.bulk import BulkStatus
from jobs.lifecycle import JobStatus
from jobs.retention import RETENTION, why_deleted
from jobs.times import to_milliseconds
from storage.client import Collection, Database
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.filters import LIVING
from storage.outbox import oldest_untold
from storage.outbox_entries import WAITING
from storage.projection import POSITION
from storage.steering_updates import delete_update
from storage.updates import in_bulk

logger = logging.getLogger("jobgate.prune")

BATCH: Final = 500
"""Documents that one call removes at most."""

_FINISHED: Final = (BulkStatus.COMPLETED.value, BulkStatus.STOPPED.value)

_ABANDONED: Final = timedelta(hours=1)
"""No request for a bulk operation takes that long: what it has gathered by then was left behind."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one call has removed, and whether there may be more that is old enough."""

    count: int
    more: bool


class Retention:
    """The collections that grow, and what is old in them. ``batch``: how much one call takes at most."""

    def __init__(self, database: Database, batch: int = BATCH) -> None:
        self._jobs: Collection = database["jobs"]
        self._executions: Collection = database["executions"]
        self._events: Collection = database["events"]
        self._operations: Collection = database["operations"]
        self._deliveries: Collection = database["deliveries"]
        self._audit: Collection = database["audit"]
        self._batches: Collection = database["operation_batches"]
        self._projections: Collection = database["projections"]
        self._batch = batch

    async def prune_jobs(self, status: JobStatus, age: timedelta) -> Pruned:
        """Delete jobs that ended in ``status`` at least ``age`` ago. The relay buries them once it has told of it.

        Nothing is deleted while a batch waits for the relay already: live jobs' events would wait behind it.
        """
        wanted = {"status": status.value, **LIVING, **ended(age)}
        if await self._relay_is_behind():
            return Pruned(0, more=True)
        ids = await self._oldest(self._jobs, wanted)
        # The filter once more, whatever was found: a job that was retried meanwhile is not over, or not for long enough.
        update = [*delete_update(RETENTION, why_deleted(status, age)), in_bulk()]
        count = await self._delete_jobs([UpdateOne({"_id": job_id, **wanted}, update) for job_id in ids])
        return Pruned(count, more=count > 0 and len(ids) == self._batch)

    async def prune_executions(self, age: timedelta) -> Pruned:
        """Remove runs that ended at least ``age`` ago, whatever became of their jobs. Tallies keep counting them."""
        return await self._remove(self._executions, ended(age))

    async def prune_operations(self, age: timedelta) -> Pruned:
        """Remove bulk operations that were finished, or stopped, at least ``age`` ago."""
        return await self._remove(self._operations, {"status": {"$in": list(_FINISHED)}, **ended(age)})

    async def prune_deliveries(self, age: timedelta) -> Pruned:
        """Remove deliveries that were taken or given up at least ``age`` ago."""
        return await self._remove(self._deliveries, ended(age))

    async def prune_audit(self, age: timedelta) -> Pruned:
        """Remove entries of the audit that were made at least ``age`` ago."""
        return await self._remove(self._audit, {"$expr": _is_old("at", age)}, "at")

    async def prune_batches(self) -> Pruned:
        """Remove the ids of jobs that no bulk operation needs: its process died before it was stored, or as it was stopped."""
        with mongodb_errors():
            running = await self._operations.distinct("_id", {"status": BulkStatus.RUNNING.value})
            left = {"operation_id": {"$nin": running}, "$expr": _is_old("created_at", _ABANDONED)}
            cursor = self._batches.find(left, {"_id": 1}).sort([("created_at", 1)]).limit(self._batch)
            ids = [batch["_id"] for batch in await cursor.to_list(self._batch)]
            if ids:
                await self._batches.delete_many({"_id": {"$in": ids}})
        return Pruned(len(ids), more=len(ids) == self._batch)

    async def prune_events(self, age: timedelta) -> Pruned:
        """Shorten the log at its front, up to the first event that is younger than ``age`` or still needed.

        From the front only, in the order of its numbers: what is left stays without a gap.
        """
        waiting_since = await self._waiting_since()
        fields = {"at": 1, "is_old": _is_old("at", age)}
        with mongodb_errors():
            cursor = self._events.find({"_id": {"$lte": await self._last_unneeded()}}, fields)
            front = await cursor.sort([("_id", 1)]).limit(self._batch).to_list(self._batch)
            old = list(takewhile(lambda event: event["is_old"] and _is_moved(event, waiting_since), front))
            if not old:
                return Pruned(0, more=False)
            result = await self._events.delete_many({"_id": {"$lte": old[-1]["_id"]}})
        return Pruned(result.deleted_count, more=len(old) == self._batch)

    async def _relay_is_behind(self) -> bool:
        with mongodb_errors():
            waiting = await self._jobs.count_documents(WAITING, hint="outbox", limit=self._batch)
        return bool(waiting >= self._batch)

    async def _waiting_since(self) -> datetime | None:
        """When the oldest event happened that a job has not forgotten.

        It may be in the log as well, where the relay that goes on will look for it: gone, it would be told a second time.
        """
        with mongodb_errors():
            return await oldest_untold(self._jobs)

    async def _last_unneeded(self) -> int:
        """The number up to which nobody needs the log.

        The newest event stays, since the next number comes from it. So does what a projection has not taken yet; that of
        the statistics begins with the first event, before it has said how far it is.
        """
        with mongodb_errors():
            projections = self._projections.find({"_id": {"$gt": ""}}, {"position": 1})
            positions: dict[str, int] = {one["_id"]: one["position"] async for one in projections}
            head = await self._events.find_one({}, {"_id": 1}, sort=[("_id", -1)])
        newest: int = 0 if head is None else head["_id"]
        return min(newest - 1, *({POSITION: 0} | positions).values())

    async def _oldest(self, collection: Collection, wanted: Document, by: str = "completed_at") -> list[Any]:
        with mongodb_errors():
            cursor = collection.find(wanted, {"_id": 1}).sort([(by, 1)]).limit(self._batch)
            return [document["_id"] for document in await cursor.to_list(self._batch)]

    async def _remove(self, collection: Collection, wanted: Document, by: str = "completed_at") -> Pruned:
        ids = await self._oldest(collection, wanted, by)
        if not ids:
            return Pruned(0, more=False)
        with mongodb_errors():
            result = await collection.delete_many({"_id": {"$in": ids}, **wanted})
        return Pruned(result.deleted_count, more=len(ids) == self._batch)

    async def _delete_jobs(self, deletions: list[UpdateOne]) -> int:
        if not deletions:
            return 0
        try:
            with mongodb_errors():
                result = await self._jobs.bulk_write(deletions, ordered=False)
        except BulkWriteError as error:
            # Such as one that its last event would make larger than a document may be: it stays, and the others go.
            for failure in error.details["writeErrors"]:
                logger.error("a job could not be deleted: %s", failure["errmsg"])
            return int(error.details["nModified"])
        return int(result.modified_count)


def ended(age: timedelta) -> Document:
    """A filter: what has ended, at least ``age`` ago."""
    return {"completed_at": {"$type": "date"}, "$expr": _is_old("completed_at", age)}


def _is_old(field: str, age: timedelta) -> Document:
    return {"$lte": [f"${field}", {"$subtract": ["$$NOW", to_milliseconds(age)]}]}


def _is_moved(event: Document, waiting_since: datetime | None) -> bool:
    return waiting_since is None or event["at"] < waiting_since
