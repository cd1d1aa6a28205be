"""Bulk operations on the product as its users run it: processes of their own, one of which is killed half-way."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.job import Job
from jobs.schedule import ScheduleSpec
from storage.client import Collection, Database
from storage.documents import Document
from storage.job_updates import NewJob
from storage.transitions import JobWriter
from tests.factories import make_job
from tests.programs import running

REASON: Final = "the product is closed"
WAITING: Final = 6000
"""More than are looked at before the answer, and enough that whoever goes on is caught in the midst of it."""

DUE: Final = 200
"""These the workers run meanwhile."""

OTHERS: Final = 50
LATER: Final = ScheduleSpec(start_at=datetime(2099, 1, 1, tzinfo=UTC))

CANCEL: Final = """
mutation ($reason: String) {
  cancelMany(filter: { tags: ["wanted"] }, reason: $reason) {
    __typename ... on BulkOperation { id status matched }
  }
}"""

pytestmark = pytest.mark.timeout(120)


def jobs(tag: str, count: int, name: str, schedule: ScheduleSpec) -> list[Job]:
    now = datetime.now(UTC).replace(microsecond=0)
    return [
        make_job(job_id=f"job_{name}_{number:05}", now=now, tags=(tag,), schedule=schedule) for number in range(count)
    ]


async def store(database: Database, jobs: list[Job]) -> None:
    await JobWriter(database).insert_many([NewJob(job, "ann", nudged=False) for job in jobs])


async def ask(http: httpx.AsyncClient, url: str, query: str, **variables: Any) -> dict[str, Any]:
    answer = (await http.post(url, json={"query": query, "variables": variables})).json()
    assert "errors" not in answer, answer
    data: dict[str, Any] = answer["data"]
    return data


async def until(collection: Collection, wanted: dict[str, Any], holds: Callable[[Document | None], bool]) -> Document:
    """What is found once it is as it should be: looked at now, and whenever something in the collection has changed."""
    async with collection.watch() as changes:
        while not holds(found := await collection.find_one(wanted)):
            await changes.next()
    return found or {}


def is_in_the_midst(operation: Document | None) -> bool:
    assert operation is not None
    assert operation["status"] == "running", "it was over before anybody could be killed"
    return operation["count"] + operation["skipped"] > operation["matched"] // 3 and operation["session"] is not None


async def test_a_bulk_operation_whose_process_is_killed_half_way_is_finished_by_another_exactly(
    servers: Servers,
    database: Database,
    database_name: str,
    redis_url: str,
    mongodb: MongoClient[dict[str, Any]],
) -> None:
    await store(database, [*jobs("wanted", WAITING, "waiting", LATER), *jobs("other", OTHERS, "other", LATER)])
    own_redis = Servers(servers.mongodb_url, redis_url)
    async with (
        running(own_redis, database_name, workers=2) as system,
        httpx.AsyncClient(timeout=60) as http,
        asyncio.timeout(90),
    ):
        await store(database, jobs("wanted", DUE, "due", ScheduleSpec()))
        begun = (await ask(http, system.url, CANCEL, reason=REASON))["cancelMany"]
        assert (begun["status"], begun["matched"]) == ("RUNNING", WAITING + DUE)
        owner = (await until(database["operations"], {"_id": begun["id"]}, is_in_the_midst))["owner"]
        os.kill(int(owner.split(":")[1]), signal.SIGKILL)
        over = {"_id": begun["id"], "status": {"$ne": "running"}}
        finished = await until(database["operations"], over, lambda found: found is not None)
        assert finished["owner"] != owner
        restless = {"$or": [{"outbox.0": {"$exists": True}}, {"status": {"$in": ["queued", "running"]}}]}
        await until(database["jobs"], restless, lambda found: found is None)
    stored = mongodb[database_name]
    mine = {job["_id"] for job in stored["jobs"].find({"cancelled.reason": REASON}, {"_id": 1})}
    told = Counter(event["job_id"] for event in stored["events"].find({"type": "job.cancelled"}, {"job_id": 1}))
    assert finished["status"] == "completed"
    assert finished["count"] + finished["skipped"] == finished["matched"] == WAITING + DUE
    assert told == Counter(dict.fromkeys(mine, 1))
    assert len(mine) == finished["count"] >= WAITING
    assert stored["jobs"].count_documents({"tags": "wanted", "status": "completed"}) == finished["skipped"]
    assert stored["jobs"].count_documents({"tags": "other", "status": "scheduled"}) == OTHERS
    after = stored["events"].find({"status": "cancelled", "type": {"$ne": "job.cancelled"}})
    assert list(after) == []
