"""Jobs and events of any age, by the clock of the database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from jobs.lifecycle import JobStatus
from storage.client import Database
from storage.documents import job_to_document
from tests.factories import make_job
from tests.integration.test_indexes import event

DAY: Final = timedelta(days=1)
MINUTE: Final = timedelta(minutes=1)


def ago(age: timedelta) -> dict[str, Any]:
    """By the clock of the database."""
    return {"$subtract": ["$$NOW", age // timedelta(milliseconds=1)]}


async def job(database: Database, name: str, status: JobStatus, age: timedelta) -> None:
    extras: dict[str, Any] = {"outbox": [], "event_seq": 7, "idempotency": None, "status": status.value}
    await database["jobs"].insert_one(job_to_document(make_job(job_id=name)) | extras)
    await database["jobs"].update_one({"_id": name}, [{"$set": {"completed_at": ago(age), "effective_at": ago(age)}}])


async def left(database: Database, collection: str = "jobs") -> set[Any]:
    """Tombstones are as good as gone."""
    return {one["_id"] async for one in database[collection].find({"deleted_at": None}, {"_id": 1})}


async def log(database: Database, *ages: timedelta, folded: int = 1000) -> None:
    """So many events, the first of which is the oldest, and statistics that have folded them."""
    for number, age in enumerate(ages, start=1):
        await database["events"].insert_one(event(number))
        await database["events"].update_one({"_id": number}, [{"$set": {"at": ago(age)}}])
    await database["projections"].insert_one({"_id": "statistics", "position": folded, "until": None})
