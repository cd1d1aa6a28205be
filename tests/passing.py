"""Time that passes: a test that has a day to wait for puts the stored instants of its jobs back instead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import MongoClient

from jobs.access import ANYBODY
from jobs.events import EventType
from jobs.feed import JobEvent, feed_cursor
from jobs.filters import EventFilter, JobFilter
from jobs.times import truncate
from resolvers.following import job_events
from storage.signals import Topic
from tests.gateway import DEADLINE, Answer, LiveGateway
from worker.context import TaskContext
from worker.tasks import TaskError


def instant(text: str) -> datetime:
    """What a gateway wrote, or RFC 3339 without seconds, as an instant in UTC."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def written(at: datetime) -> str:
    """An instant as a gateway writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Past:
    """The stored jobs behind a gateway, and ways to make them older."""

    def __init__(self, gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> None:
        self._gateway = gateway
        self._jobs = mongodb[gateway.gateway.database.name]["jobs"]

    def documents(self) -> list[dict[str, Any]]:
        """All that is stored of jobs, in the order of their ids."""
        return list(self._jobs.find().sort("_id"))

    def end(self, job_ids: Iterable[str], ago: timedelta) -> None:
        """Have jobs that are over be over for so long."""
        at = datetime.now(UTC) - ago
        change = {"completed_at": at, "effective_at": at}
        wanted = {"_id": {"$in": list(job_ids)}, "completed_at": {"$ne": None}}
        assert self._jobs.update_many(wanted, {"$set": change}).modified_count

    def set(self, job_id: str, **fields: object) -> None:
        """Have a job say something else of itself."""
        assert self._jobs.update_one({"_id": job_id}, {"$set": fields}).matched_count == 1

    def come_due(self, job_id: str, at: datetime | None = None) -> datetime:
        """Have a scheduled job be due now, or since ``at``."""
        # In whole milliseconds, as it is stored: no two runs of a job are due at the same one.
        due = truncate(at or datetime.now(UTC))
        change = {"scheduled_at": due, "next_run_at": due, "effective_at": due}
        assert self._jobs.update_one({"_id": job_id, "status": "scheduled"}, {"$set": change}).modified_count == 1
        self._gateway.services.signals.wake(Topic.SCHEDULED)
        return due


async def told_times(gateway: LiveGateway, job_id: str, type_: EventType, times: int) -> JobEvent:
    """Wait until a job has told something of this type so many times; the last of them."""
    wanted = EventFilter((type_,), JobFilter(ids=(job_id,)))
    events = job_events(gateway.services, ANYBODY, wanted, feed_cursor(0))
    async with asyncio.timeout(DEADLINE), aclosing(events):
        for _ in range(times - 1):
            await anext(events)
        return await anext(events)


async def over(gateway: LiveGateway, event: EventType, count: int, **changes: Any) -> list[str]:
    """So many jobs that have come to an end, by this event."""
    ids = [await gateway.dispatched(**changes) for _ in range(count)]
    for job_id in ids:
        await gateway.told(job_id, event)
    return ids


async def failed(gateway: LiveGateway, count: int, **changes: Any) -> list[str]:
    """Jobs that have failed: of a worker whose handler fails for this input."""
    return await over(gateway, EventType.JOB_FAILED, count, input="fail", **changes)


async def completed(gateway: LiveGateway, count: int, **changes: Any) -> list[str]:
    """Jobs that have completed."""
    return await over(gateway, EventType.JOB_COMPLETED, count, **changes)


async def statuses(gateway: LiveGateway, ids: list[str]) -> list[str | None]:
    """The statuses of jobs; None for those that are gone."""
    jobs: list[Answer | None] = [await gateway.job(job_id) for job_id in ids]
    return [None if job is None else job["status"] for job in jobs]


async def echo_or_fail(_: TaskContext, value: Any) -> Any:
    """A handler that answers its input, unless that is to fail."""
    if value == "fail":
        raise TaskError("BROKEN", "as it was asked to")
    return value
