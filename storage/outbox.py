"""Moving events from the outboxes of jobs to the log: the relay's writes.

The order of the four steps is what makes a crash between any two of them harmless: a run's record, then its event, is stored
before the job forgets about it, and both are recognised when they are moved a second time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from jobs.errors import JobgateError
from jobs.feed import JobEvent
from storage.changes import Changes
from storage.client import Collection, Database
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.event_documents import event_from_document
from storage.outbox_entries import EVENT_FIELDS, WAITING, in_order, record_of, untold

logger = logging.getLogger("jobgate.outbox")

_DUPLICATE_KEY: Final = 11000
_OLDEST: Final = 1
_NEWEST: Final = -1
_MANY: Final = 20
"""Where more jobs call at once, looking for them costs MongoDB less."""

_REMEMBERED: Final = 10_000
_ALONE: Final = {**WAITING, "in_bulk": None}
_IN_BULK: Final = {**WAITING, "in_bulk": True}


class Deposed(JobgateError):
    """Another relay writes the log: it took the feed number that this one was about to give."""


class Outbox:
    """The outboxes of all jobs, and the collections that they are emptied into."""

    def __init__(self, database: Database, news: Callable[[], None] = lambda: None) -> None:
        self._jobs: Collection = database["jobs"]
        self._news = Changes(self._jobs, WAITING, tuple(EVENT_FIELDS), _MANY, news)
        self._events: Collection = database["events"]
        self._executions: Collection = database["executions"]
        self._forgetting: asyncio.Task[None] | None = None
        self._told: Mapping[str, int] = {}
        """Of the jobs that are just having their events forgotten, the number of the last one that the log has."""
        self._head: int | None = None
        """The number that this relay has given last; None before that, and where it is not known whether it was given."""
        self._last_told: dict[str, int] = {}
        """The same of all jobs whose events were moved of late: those that call are known as they were, some of them late.

        Not for what is found by looking: where the forgetting has failed, that has to be moved, and forgotten, once more.
        """

    def begin(self) -> None:
        """Look at the log before going on with it: others may have relayed until now."""
        self._head = None

    def follow(self) -> None:
        """From now on, have ``news`` called as soon as a job has something to tell, which :meth:`advance_called` then moves."""
        self._news.start()

    async def unfollow(self) -> None:
        """The opposite; whatever has called is forgotten, and to be found by looking."""
        await self._news.close()

    async def advance_called(self, told: Callable[[], None] = lambda: None) -> list[JobEvent] | None:
        """As :meth:`advance`, of the jobs that have called for it since, without looking; None where others may wait."""
        jobs = self._news.take()
        if jobs is None:
            return None
        return await self._move(untold(list({job["_id"]: job for job in jobs}.values()), self._last_told), told)

    async def relay(self, limit: int, told: Callable[[], None] = lambda: None) -> list[JobEvent]:
        """As :meth:`advance`, and complete: the jobs have forgotten what the log has."""
        events = await self.advance(limit, told)
        await self.settle()
        return events

    async def settle(self) -> None:
        """Wait until the jobs have forgotten what the log has. Raises ``StoreUnavailable``: then they are told of once more."""
        forgetting, self._forgetting = self._forgetting, None
        if forgetting is not None:
            try:
                await forgetting
            finally:
                self._told = {}

    async def advance(self, limit: int, told: Callable[[], None] = lambda: None) -> list[JobEvent]:
        """Move the events of the ``limit`` jobs that have waited longest, and answer them. Raises :class:`Deposed`.

        What operations on many jobs have to tell comes behind what single jobs do. If the latter are more than ``limit``, as
        many of those that have waited least are moved as well, and some of the former: what happens now does not wait for a
        backlog to be gone, and no backlog waits for what happens now. Each job's events stay in their order, since it is moved
        with all that it has to tell; the order of different jobs means nothing to anybody.

        ``told`` is called as soon as the log has them: neither readers nor the next events need wait until the jobs have
        forgotten these. That goes on beside the next call, which raises what came of it.
        """
        found = await self._waiting(limit)
        jobs = untold(found, self._told)
        if not jobs:
            if len(found) >= limit:
                # Behind those that are forgetting there may be others.
                await self.settle()
                return await self.advance(limit, told)
            if self._forgetting is not None and self._forgetting.done():
                await self.settle()
            return []
        return await self._move(jobs, told)

    async def _move(self, jobs: Sequence[Document], told: Callable[[], None]) -> list[JobEvent]:
        if not jobs:
            return []
        await self._record_executions(jobs)
        events = in_order(jobs)
        appended = await self._append(events)
        told()
        if len(appended) < len(events):
            await self._forget_executions_of_gone(jobs)
        await self.settle()
        self._told = {job["_id"]: job["outbox"][-1]["seq"] for job in jobs}
        self._last_told |= self._told
        for oldest in [*islice(self._last_told, max(0, len(self._last_told) - _REMEMBERED))]:
            del self._last_told[oldest]
        self._forgetting = asyncio.create_task(self._forget(jobs), name="outboxes")
        return [event_from_document(event) for event in appended]

    async def _forget(self, jobs: Sequence[Document]) -> None:
        await self._empty([job for job in jobs if not job["deleted_at"]])
        await self._bury([job["_id"] for job in jobs if job["deleted_at"]])

    async def _waiting(self, limit: int) -> list[Document]:
        jobs = await self._find(WAITING, _OLDEST, limit)
        if len(jobs) == limit and not jobs[-1].get("in_bulk"):
            jobs += await self._find(_ALONE, _NEWEST, limit)
            jobs += await self._find(_IN_BULK, _OLDEST, limit)
        return list({job["_id"]: job for job in jobs}.values())

    async def _find(self, wanted: Document, first: int, limit: int) -> list[Document]:
        with mongodb_errors():
            cursor = self._jobs.find(wanted, EVENT_FIELDS, hint="outbox")
            found: list[Document] = (
                await cursor.sort([("in_bulk", first), ("outbox.0.at", first)]).limit(limit).to_list(limit)
            )
        return found

    async def _record_executions(self, jobs: Sequence[Document]) -> None:
        ended = [(job, entry["execution"]) for job in jobs for entry in job["outbox"] if entry["execution"]]
        if not ended:
            return
        writes = [
            UpdateOne({"_id": f"{job['_id']}:{run['number']}"}, {"$setOnInsert": record_of(job, run)}, upsert=True)
            for job, run in ended
        ]
        try:
            with mongodb_errors():
                await self._executions.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            _tell_of_doubles(error)

    async def _append(self, events: list[Document]) -> list[Document]:
        while events:
            head, self._head = await self._last_number(), None
            numbered = [{**event, "_id": number} for number, event in enumerate(events, start=head + 1)]
            try:
                with mongodb_errors():
                    await self._events.insert_many(numbered, ordered=True)
            except BulkWriteError as error:
                _check_not_deposed(error)
                events = await self._missing(events)
            else:
                self._head = head + len(numbered)
                return numbered
        return []

    async def _last_number(self) -> int:
        """The number of the newest event. As long as nobody else relays it need not be read; if somebody does, it is taken."""
        if self._head is not None:
            return self._head
        with mongodb_errors():
            last = await self._events.find_one({}, {"_id": 1}, sort=[("_id", -1)])
        return 0 if last is None else int(last["_id"])

    async def _missing(self, events: Sequence[Document]) -> list[Document]:
        """The events that are not in the log yet: an earlier relay may have died before it emptied the outboxes."""
        with mongodb_errors():
            cursor = self._events.find(
                {"$or": [{"job_id": event["job_id"], "seq": event["seq"]} for event in events]}, {"job_id": 1, "seq": 1}
            )
            known = {(event["job_id"], event["seq"]) for event in await cursor.to_list(len(events))}
        return [event for event in events if (event["job_id"], event["seq"]) not in known]

    async def _forget_executions_of_gone(self, jobs: Sequence[Document]) -> None:
        """Another relay had all this before: it may also have removed a job whose runs have just been recorded anew."""
        ids = [job["_id"] for job in jobs]
        # What a majority is known to have may be less than there is where a primary has just been elected. Where there is more
        # than a majority has, the removal that follows is not acknowledged either.
        newest = self._jobs.with_options(read_concern=ReadConcern("local"))
        with mongodb_errors():
            there = {job["_id"] async for job in newest.find({"_id": {"$in": ids}}, {"_id": 1})}
            await self._executions.delete_many({"job_id": {"$in": [one for one in ids if one not in there]}})

    async def _bury(self, job_ids: Sequence[str]) -> None:
        """Remove deleted jobs with their history. Nothing can have happened to them since: nothing moves a tombstone."""
        if not job_ids:
            return
        with mongodb_errors():
            await self._executions.delete_many({"job_id": {"$in": list(job_ids)}})
            await self._jobs.delete_many({"_id": {"$in": list(job_ids)}, "deleted_at": {"$ne": None}})

    async def _empty(self, jobs: Sequence[Document]) -> None:
        if not jobs:
            return
        writes = [
            UpdateOne(
                {"_id": job["_id"], "outbox.seq": {"$lte": job["outbox"][-1]["seq"]}},
                {"$pull": {"outbox": {"seq": {"$lte": job["outbox"][-1]["seq"]}}}},
            )
            for job in jobs
        ]
        with mongodb_errors():
            await self._jobs.bulk_write(writes, ordered=False)


async def oldest_untold(jobs: Collection) -> datetime | None:
    """When the oldest event happened that a job has not forgotten; None when all have told everything. By index."""
    found = [
        await jobs.find_one(wanted, {"outbox.at": 1}, hint="outbox", sort=[("in_bulk", 1), ("outbox.0.at", 1)])
        for wanted in (_ALONE, _IN_BULK)
    ]
    return min((job["outbox"][0]["at"] for job in found if job is not None), default=None)


def _tell_of_doubles(error: BulkWriteError) -> None:
    """An occurrence was run twice. It cannot be undone, and what comes after it must not wait for ever."""
    for failure in error.details["writeErrors"]:
        if failure["code"] != _DUPLICATE_KEY:
            raise error
        logger.error(
            "a run is not in the history, since another one is there for its occurrence: %s", failure["errmsg"]
        )


def _check_not_deposed(error: BulkWriteError) -> None:
    for failure in error.details["writeErrors"]:
        if failure["code"] != _DUPLICATE_KEY:
            raise error
        if "_id" in failure["keyPattern"]:
            raise Deposed("another relay writes the event log") from error
