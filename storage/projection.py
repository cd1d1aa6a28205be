"""The log folded into counters: statistics as a projection.

The position says up to which event everything is folded. Before a batch is folded, the position is given the number of the
batch's last event: whoever goes on after a crash folds exactly the same events again, and each counter's document, which
remembers the last number that it has folded, takes them once. So it does when two relays fold at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from jobs.errors import StoreUnavailable
from jobs.statistics import Cell, Counters, fold
from storage.client import Collection, Database
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.facts import ORIGIN, fact_from_event, fold_write

POSITION: Final = "statistics"
TOLD: Final = dict.fromkeys((*ORIGIN, "type", "status", "retry_count", "before", "run"), 1)
_BATCH: Final = 5000
_DUPLICATE_KEY: Final = 11000


class Projection:
    """The collections ``statistics`` and ``projections``, kept up with the log."""

    def __init__(self, database: Database) -> None:
        self._events: Collection = database["events"]
        self._statistics: Collection = database["statistics"]
        self._projections: Collection = database["projections"]

    async def fold(self, limit: int = _BATCH) -> bool:
        """Fold up to ``limit`` events; whether there may be more. Safe to be called by anybody at any time.

        Raises ``StoreUnavailable``: nothing of the batch is lost or counted twice then.
        """
        position, until = await self._position()
        behind: Document = {"$gt": position} if until is None else {"$gt": position, "$lte": until}
        with mongodb_errors():
            cursor = self._events.find({"_id": behind}, TOLD).sort([("_id", 1)])
            # A batch that was begun has to be folded as it was, whatever the limit is now.
            events = await (cursor.limit(limit) if until is None else cursor).to_list(None)
        if until is None:
            if not events:
                return False
            until = events[-1]["_id"]
            if not await self._begin(position, until):
                return True
        elif not events or events[-1]["_id"] < until:
            # Nothing is pruned before it is folded: this is a new primary that does not know yet what a majority has.
            raise StoreUnavailable("MongoDB", "the log is not read to its end yet")
        await self._add(fold(map(fact_from_event, events)), until)
        await self._end(position, until)
        return True

    async def _position(self) -> tuple[int, int | None]:
        with mongodb_errors():
            document = await self._projections.find_one({"_id": POSITION})
        return (0, None) if document is None else (document["position"], document["until"])

    async def _begin(self, position: int, until: int) -> bool:
        """Say which events are about to be folded; False when somebody else was faster to say so."""
        wanted = {"_id": POSITION, "position": position, "until": None}
        try:
            with mongodb_errors():
                result = await self._projections.update_one(wanted, {"$set": {"until": until}}, upsert=position == 0)
        except DuplicateKeyError:
            return False
        return bool(result.matched_count or result.upserted_id)

    async def _end(self, position: int, until: int) -> None:
        wanted = {"_id": POSITION, "position": position, "until": until}
        with mongodb_errors():
            await self._projections.update_one(wanted, {"$set": {"position": until, "until": None}})

    async def _add(self, cells: Mapping[Cell, Counters], until: int) -> None:
        there = list(cells.items())
        writes = [fold_write(cell, counters, until, create=True) for cell, counters in there]
        taken = await self._write(writes)
        # Either they have these events already, or somebody has just created them: only those take a second try.
        await self._write([fold_write(*there[index], until, create=False) for index in taken])

    async def _write(self, writes: Sequence[UpdateOne]) -> list[int]:
        """Write all; answer which could not be created because they were there."""
        if not writes:
            return []
        try:
            with mongodb_errors():
                await self._statistics.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            if not error.details["writeErrors"]:
                raise
            return [_taken(failure, error) for failure in error.details["writeErrors"]]
        return []


def _taken(failure: Mapping[str, Any], error: BulkWriteError) -> int:
    if failure["code"] != _DUPLICATE_KEY:
        raise error
    index: int = failure["index"]
    return index
