"""Counting the statistics anew, and putting right what is wrong, while everything goes on.

All is read from one snapshot: the counters, what is not folded into them yet, and what there is to count. The difference is
then added to the counters as they are by then, which is right whatever was folded meanwhile: adding knows no order.

What there is to count are the jobs, the runs in their histories, and the runs that the log tells of. Runs of which neither
tells any more, because their jobs were deleted or their histories pruned, stay counted: nothing from before the log is lowered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any, Final

from pymongo import UpdateOne

from jobs.errors import JobgateError
from jobs.lifecycle import JobStatus
from jobs.recount import added, corrections
from jobs.spans import FOREVER, Bucket, ceiling
from jobs.statistics import Cell, Counters, Fact, Standing, fold
from jobs.times import EPOCH
from storage.client import Database, aggregate, snapshot
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.facts import (
    ORIGIN,
    cell_from_document,
    cell_id,
    counters_from_document,
    fact_from_event,
    increment,
    origin_of,
    run_end,
)
from storage.filters import LIVING
from storage.leases import Lease
from storage.outbox_entries import EVENT_FIELDS, WAITING, event_of
from storage.projection import POSITION, TOLD

_AT_MOST: Final = timedelta(minutes=10)
_WRITES: Final = 1000
_TOLD_LATE: Final = timedelta(days=1)
"""How much later an event may have happened than one behind it in the log: as long as the relay takes over a backlog."""

_JOIN_JOB: Final[list[Document]] = [
    {
        "$lookup": {
            "from": "jobs",
            "localField": "job_id",
            "foreignField": "_id",
            "pipeline": [{"$project": dict.fromkeys(ORIGIN, 1)}],
            "as": "job",
        }
    }
]


class RepairUnderWay(JobgateError):
    """Somebody else counts the statistics anew at the moment."""


@dataclass(frozen=True, slots=True)
class Correction:
    """The counters of one cell that were wrong, and by how much; the longest as it is now."""

    cell: Cell
    change: Counters


async def repair_statistics(database: Database, owner: str) -> list[Correction]:
    """Count everything anew and correct the counters; what was corrected.

    Raises :class:`RepairUnderWay`, ``StoreUnavailable``.
    """
    lease = Lease(database, "statistics-repair", owner, _AT_MOST)
    if not await lease.acquire():
        raise RepairUnderWay("another process repairs the statistics, or did so until it was killed: wait 10 minutes")
    try:
        async with snapshot(database) as session:
            reading = _Reading(database, session)
            kept = await reading.kept()
            changes = corrections(added([kept, await reading.pending()]), *await reading.found())
        await _apply(database, kept, changes)
    finally:
        await lease.release()
    return [Correction(cell, change) for cell, change in changes.items()]


async def _apply(database: Database, kept: Mapping[Cell, Counters], changes: Mapping[Cell, Counters]) -> None:
    writes = [write for cell, change in changes.items() for write in _writes(cell, kept.get(cell, Counters()), change)]
    for start in range(0, len(writes), _WRITES):
        with mongodb_errors():
            await database["statistics"].bulk_write(writes[start : start + _WRITES], ordered=False)


def _writes(cell: Cell, kept: Counters, change: Counters) -> Iterator[UpdateOne]:
    raised = {name: length for name, length in change.longest.items() if length > kept.longest.get(name, 0)}
    update = increment(cell, Counters(change.counts, raised))
    # The relay's fence needs a number: a document without one it would take for one that has everything already.
    update["$setOnInsert"]["folded"] = 0
    yield UpdateOne({"_id": cell_id(cell)}, update, upsert=True)
    for name in change.longest.keys() - raised.keys():
        field = f"longest.{name}"
        yield UpdateOne({"_id": cell_id(cell), field: kept.longest[name]}, {"$set": {field: change.longest[name]}})


class _Reading:
    """One snapshot of all that counts."""

    def __init__(self, database: Database, session: Any) -> None:
        self._database = database
        self._session = session
        self._folded: dict[Cell, int] = {}

    async def kept(self) -> dict[Cell, Counters]:
        """The counters as they are."""
        documents = await self._rows("statistics", [{"$match": {"_id": {"$gt": ""}}}])
        self._folded = {cell_from_document(document): document["folded"] for document in documents}
        return {cell_from_document(document): counters_from_document(document) for document in documents}

    async def pending(self) -> dict[Cell, Counters]:
        """What will be folded into them sooner or later: the rest of a batch, of the log, and what is not in the log yet."""
        position, until = 0, 0
        for document in await self._rows("projections", [{"$match": {"_id": POSITION}}]):
            position, until = document["position"], document["until"] or document["position"]
        events = await self._rows("events", [{"$match": {"_id": {"$gt": position}}}, {"$project": TOLD}])
        begun = fold(fact_from_event(event) for event in events if event["_id"] <= until)
        rest = {cell: counters for cell, counters in begun.items() if self._folded.get(cell, 0) < until}
        later = fold(fact_from_event(event) for event in events if event["_id"] > until)
        return added([rest, later, fold(map(fact_from_event, await self._untold()))])

    async def found(self) -> tuple[dict[Cell, Counters], datetime]:
        """All that there is to count, and from when on that is complete."""
        untold = await self._without_record(await self._untold())
        facts = [
            fold(await self._jobs()),
            fold(await self._recorded_runs()),
            fold(_only_run(event) for event in [*await self._lost_runs(), *untold]),
        ]
        return added(facts), await self._complete_from()

    async def _jobs(self) -> Iterator[Fact]:
        standing = {**{field: f"${field}" for field in ORIGIN}, "status": "$status", "retry_count": "$retry_count"}
        living = {"_id": {"$gt": ""}, **LIVING}
        groups = await self._rows("jobs", [{"$match": living}, {"$group": {"_id": standing, "n": {"$sum": 1}}}])
        return (fact for group in groups for fact in repeat(_standing_fact(group["_id"]), group["n"]))

    async def _recorded_runs(self) -> list[Fact]:
        runs = {"$project": {"job": 1, "status": 1, "scheduled_for": 1, "started_at": 1, "completed_at": 1}}
        stages: list[Document] = [{"$match": {"_id": {"$gt": ""}}}, *_JOIN_JOB, {"$unwind": "$job"}, runs]
        found = await self._rows("executions", stages)
        return [Fact(origin_of(run["job"]), run=run_end(run)) for run in found]

    async def _lost_runs(self) -> list[Document]:
        """The events of runs whose records, or whose jobs, are gone."""
        has_run: list[Document] = [
            {"$match": {"_id": {"$gt": 0}, "run": {"$ne": None}}},
            {"$project": {**TOLD, "job_id": 1}},
        ]
        return await self._rows("events", [*has_run, *_JOIN_RECORD, *_JOIN_JOB, _EITHER_MISSING])

    async def _untold(self) -> list[Document]:
        """The events that are not in the log yet."""
        there: list[Document] = [{"$match": WAITING}, {"$project": EVENT_FIELDS}]
        jobs = await self._rows("jobs", there, hint="outbox")
        events = []
        for job in jobs:
            latest: list[Document] = [{"$match": {"job_id": job["_id"]}}, {"$sort": {"seq": -1}}, {"$limit": 1}]
            told = [event["seq"] for event in await self._rows("events", latest)]
            events += [event_of(job, entry) for entry in job["outbox"] if entry["seq"] > max(told, default=0)]
        return events

    async def _without_record(self, events: Sequence[Document]) -> list[Document]:
        keyed = {f"{event['job_id']}:{event['run']['number']}": event for event in events if event["run"]}
        known = await self._rows("executions", [{"$match": {"_id": {"$in": list(keyed)}}}, {"$project": {"_id": 1}}])
        recorded = {document["_id"] for document in known}
        return [event for key, event in keyed.items() if key not in recorded]

    async def _complete_from(self) -> datetime:
        """From the first whole day that the log tells of; from the beginning, if nothing was ever removed from it."""
        oldest = await self._rows("events", [{"$match": {"_id": {"$gt": 0}}}, {"$sort": {"_id": 1}}, {"$limit": 1}])
        if not oldest:
            return FOREVER
        return EPOCH if oldest[0]["_id"] == 1 else ceiling(oldest[0]["at"] + _TOLD_LATE, Bucket.DAY)

    async def _rows(self, collection: str, stages: list[Document], **options: Any) -> list[Document]:
        with mongodb_errors():
            cursor = await aggregate(self._database[collection], stages, session=self._session, **options)
            rows: list[Document] = await cursor.to_list(None)
        return rows


_RECORD_ID: Final = {"$concat": ["$job_id", ":", {"$toString": "$run.number"}]}
_JOIN_RECORD: Final[list[Document]] = [
    {"$set": {"record_id": _RECORD_ID}},
    {
        "$lookup": {
            "from": "executions",
            "localField": "record_id",
            "foreignField": "_id",
            "pipeline": [{"$project": {"_id": 1}}],
            "as": "record",
        }
    },
]
_EITHER_MISSING: Final[Document] = {"$match": {"$or": [{"record": []}, {"job": []}]}}


def _standing_fact(group: Mapping[str, Any]) -> Fact:
    return Fact(origin_of(group), after=Standing(JobStatus(group["status"]), group["retry_count"]))


def _only_run(event: Mapping[str, Any]) -> Fact:
    """What an event says of a run, without what it says of its job, which is counted as it is."""
    return fact_from_event({**event, "before": None})
