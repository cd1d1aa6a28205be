"""Reading jobs. Every read is from the primary, of what a majority holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from jobs.access import Reach
from jobs.errors import FilterTooSlow
from jobs.filters import JobFilter
from jobs.job import Job
from jobs.lifecycle import JobStatus
from jobs.paging import Counted, Order, Page, PageRequest, Position, job_position
from storage.client import Collection, Database, aggregate
from storage.documents import LISTED, UNREAD, Document, job_from_document, now_of
from storage.errors import mongodb_errors, too_slow
from storage.filters import LIVING, beyond, job_filter, list_hint, listed_filter, sort_keys, within_reach

COUNT_BOUND: Final = 10_000
"""How far jobs are counted for a list; beyond it the count says "at least"."""

SCAN_TIMEOUT_MS: Final = 2_000
"""How long one read of a list may look through the input of jobs."""

_COUNT_TIMEOUT_MS: Final = 2_000
_WITH_NOW: Final[Document] = {"$set": {"now": "$$NOW"}}


UNPACED: Final[Document] = {"status": JobStatus.SCHEDULED.value, "paced": None}
IS_DUE: Final[Document] = {"$expr": {"$lte": ["$next_run_at", "$$NOW"]}}


@dataclass(frozen=True, slots=True)
class RunRef:
    """A queued run, as nudges name it. ``nudge`` makes the name of each nudge its own."""

    job_id: str
    number: int
    attempt: int
    nudge: int
    handler: str
    """``namespace.task``: where to look, so that a worker without the handler leaves the job alone."""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """When a job was created and is next due: as much of it as it takes to walk over all of a kind."""

    job_id: str
    created_at: datetime
    next_run_at: datetime | None


class JobReader:
    """The collection ``jobs`` as values."""

    def __init__(self, database: Database, scan_timeout_ms: int = SCAN_TIMEOUT_MS) -> None:
        self._jobs: Collection = database["jobs"]
        self._scan_timeout_ms = scan_timeout_ms

    async def find(self, reach: Reach, job_id: str) -> Job | None:
        wanted = {"_id": {"$eq": job_id}, **LIVING, **within_reach(reach)}
        with mongodb_errors():
            document = await self._jobs.find_one(wanted, UNREAD)
        return None if document is None else job_from_document(document)

    async def find_many(self, reach: Reach, job_ids: Sequence[str]) -> Mapping[str, Job]:
        """The jobs among these that exist within reach, by id; without their secrets, as in a page of them."""
        wanted = {"_id": {"$in": list(job_ids)}, **LIVING, **within_reach(reach)}
        found = await self._list(wanted, limit=len(job_ids))
        return {job.id: job for job in found}

    async def page(self, reach: Reach, conditions: JobFilter, order: Order, request: PageRequest) -> Page[Job]:
        """One page of the jobs within reach that match, by keyset: stable while jobs come and go.

        Raises :class:`jobs.errors.BadCursor`, and :class:`jobs.errors.FilterTooSlow` where the input of too many jobs would
        have to be looked at.
        """
        conditions = reach.narrowed(conditions)
        forward = not request.backward
        start, name = (request.after, "after") if forward else (request.before, "before")
        position = None if start is None else job_position(start, order, name)
        wanted = _bounded(conditions, order, request)
        within_ms = None if conditions.input is None else self._scan_timeout_ms
        with too_slow(within_ms):
            options = {"max_time_ms": within_ms, "hint": list_hint(conditions, order)}
            found = await self._slice(wanted, order, position, request.size + 1, forward, request.offset, options)
        items, more = found[: request.size], len(found) > request.size
        came_from = start is not None or request.offset > 0
        if forward:
            return Page(items, has_next=more, has_previous=came_from)
        return Page(items[::-1], has_next=came_from, has_previous=more)

    async def count(self, reach: Reach, conditions: JobFilter, bound: int = COUNT_BOUND) -> Counted:
        """How many jobs within reach match, counted no further than ``bound`` and no longer than two seconds."""
        try:
            with too_slow(_COUNT_TIMEOUT_MS), mongodb_errors():
                value = await self._jobs.count_documents(
                    job_filter(reach.narrowed(conditions)), limit=bound + 1, maxTimeMS=_COUNT_TIMEOUT_MS
                )
        except FilterTooSlow:
            return Counted(0, exact=False)
        return Counted(min(value, bound), exact=value <= bound)

    async def due(self, limit: int) -> tuple[datetime | None, list[Job]]:
        """Scheduled jobs whose time has come by the database's clock, oldest first, and that clock's time.

        Those that make up for missed runs are not among them: :class:`storage.catching_up.CatchingUp` has them.
        """
        return await self._at_now({**UNPACED, **IS_DUE}, "next_run_at", limit)

    async def expired(self, limit: int) -> tuple[datetime | None, list[Job]]:
        """Running jobs whose lease has run out by the database's clock, and that clock's time."""
        is_over = {"$expr": {"$lt": ["$run.lease_until", "$$NOW"]}}
        return await self._at_now({"status": JobStatus.RUNNING.value, **is_over}, "run.lease_until", limit)

    async def planned_by_cron(self, after: Planned | None, limit: int) -> list[Planned]:
        """Cron jobs in the order in which they were created, the first ones or those behind ``after``.

        Those that are over or paused as well: to leave them out, a read might have to look through any number of them.
        """
        wanted: Document = {"recurrence.kind": "cron"}
        if after is not None:
            later = [{"created_at": {"$gt": after.created_at}}, {"_id": {"$gt": after.job_id}}]
            wanted |= {"created_at": {"$gte": after.created_at}, "$or": later}
        keys = [("created_at", 1), ("_id", 1)]
        with mongodb_errors():
            cursor = self._jobs.find(wanted, {"created_at": 1, "next_run_at": 1}, sort=keys)
            documents = await cursor.limit(limit).to_list(limit)
        return [Planned(one["_id"], one["created_at"], one["next_run_at"]) for one in documents]

    async def next_due_at(self) -> datetime | None:
        """The earliest instant at which a scheduled job comes due, those apart that make up for missed runs."""
        with mongodb_errors():
            document = await self._jobs.find_one(
                UNPACED, {"next_run_at": 1}, sort=[("next_run_at", 1)], hint="due_unpaced"
            )
        return None if document is None else document["next_run_at"]

    async def backlog(self, tasks: Sequence[tuple[str, str]], limit: int, *, patience_ms: int) -> list[RunRef]:
        """Queued runs of these tasks (namespace, name) without a nudge in the last ``patience_ms``, the most urgent first."""
        if not tasks:
            return []
        longest_ago = {"$subtract": ["$$NOW", patience_ms]}
        # A run that was never nudged compares as the oldest of all: null sorts before dates.
        waiting = {"status": JobStatus.QUEUED.value, "$expr": {"$lt": ["$run.nudged_at", longest_ago]}}
        # One range of the index a task, merged in the order of urgency: what others have to run is not even looked at.
        wanted = {"$or": [{"namespace": namespace, "task": task, **waiting} for namespace, task in tasks]}
        fields = {"run.number": 1, "run.attempt": 1, "run.nudges": 1, "namespace": 1, "task": 1, "priority": 1}
        with mongodb_errors():
            cursor = self._jobs.find(wanted, fields)
            documents = await cursor.sort([("priority", -1), ("scheduled_at", 1)]).limit(limit).to_list(limit)
        return [_next_nudge(document) for document in documents]

    async def _at_now(self, wanted: Document, order: str, limit: int) -> tuple[datetime | None, list[Job]]:
        stages: list[Document] = [
            {"$match": wanted},
            {"$sort": {order: 1}},
            {"$limit": limit},
            {"$unset": ["outbox", "marks"]},
            _WITH_NOW,
        ]
        with mongodb_errors():
            documents = await (await aggregate(self._jobs, stages)).to_list(limit)
        now = now_of(documents[0]) if documents else None
        return now, [job_from_document(document) for document in documents]

    async def _slice(
        self,
        wanted: list[Document],
        order: Order,
        position: Position | None,
        size: int,
        forward: bool,
        skip: int,
        options: Document,
    ) -> list[Job]:
        alternatives = [{}] if position is None else beyond(position, forward=forward)
        found: list[Job] = []
        for alternative in alternatives:
            if len(found) < size:
                both = {"$and": [*wanted, alternative]}
                keys, missing = sort_keys(order, alternative, forward=forward), size - len(found)
                found += await self._list(both, sort=keys, limit=missing, skip=skip, **options)
        return found

    async def _list(
        self,
        wanted: Document,
        *,
        limit: int,
        sort: list[tuple[str, int]] | None = None,
        skip: int = 0,
        **options: Any,
    ) -> list[Job]:
        if not limit:
            return []
        with mongodb_errors():
            cursor = self._jobs.find(wanted, LISTED, sort=sort, **options).skip(skip).limit(limit)
            documents = await cursor.to_list(limit)
        return [job_from_document(document) for document in documents]


def _bounded(conditions: JobFilter, order: Order, request: PageRequest) -> list[Document]:
    """The filter, and the far end of the list when both ``after`` and ``before`` are given."""
    wanted = listed_filter(conditions, order)
    far_end, name = (request.after, "after") if request.backward else (request.before, "before")
    if far_end is None:
        return [wanted]
    return [wanted, {"$or": beyond(job_position(far_end, order, name), forward=request.backward)}]


def _next_nudge(document: Mapping[str, Any]) -> RunRef:
    run = document["run"]
    handler = f"{document['namespace']}.{document['task']}"
    return RunRef(document["_id"], run["number"], run["attempt"], run["nudges"] + 1, handler, document["priority"])
