"""Scenarios G, H, I and K of ``mission/semantics.md`` §8 on many jobs at once: failures, maintenance, cancelling, cleaning.

``test_scenarios_failures`` has what G and I say of one job at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.events import EventType
from jobs.times import truncate
from tests.gateway import DEADLINE, Answer, LiveGateway, serving
from tests.passing import Past, completed, echo_or_fail, failed, instant, statuses, told_times, written

SECOND: Final = timedelta(seconds=1)
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
LATER: Final = {"startAt": "2099-01-01T00:00:00Z"}
NIGHTLY: Final = {"cron": "0 3 * * *", "startAt": "2099-01-01T00:00:00Z"}

MANY: Final = """
    mutation ($filter: JobFilter!%s) {
        %s(filter: $filter%s) { __typename ... on BulkOperation { status matched count skipped } }
    }
"""
ARGUMENTS: Final = {"reason": "String", "delay": "Milliseconds!", "dryRun": "Boolean!"}

HISTORY: Final = """
    query ($id: ID!) { history(jobId: $id, first: 200) { executions { number scheduledFor status } } }
"""


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    handlers = {"demo.echo": echo_or_fail}
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway, gateway.worker(handlers):
        yield gateway


@pytest.fixture
def past(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> Past:
    return Past(gateway, mongodb)


async def many(
    gateway: LiveGateway, operation: str, conditions: dict[str, Any], **given: object
) -> tuple[int, int, int]:
    """Do something with all jobs that match: how many matched, were changed, and were skipped."""
    declared = "".join(f", ${name}: {ARGUMENTS[name]}" for name in given)
    passed = "".join(f", {name}: ${name}" for name in given)
    document = MANY % (declared, operation, passed)
    answer = (await gateway.data(document, filter=conditions, **given))[operation]
    assert (answer["__typename"], answer["status"]) == ("BulkOperation", "COMPLETED")
    return answer["matched"], answer["count"], answer["skipped"]


async def runs_of(gateway: LiveGateway, job_id: str) -> list[Answer]:
    """The runs of a job, the oldest first."""
    history = (await gateway.data(HISTORY, id=job_id))["history"]
    return list(reversed(history["executions"]))


async def at_rest(gateway: LiveGateway, job_id: str) -> Answer:
    """A job that was told to pause, from the end of the run that a worker may have been at."""
    async with asyncio.timeout(DEADLINE):
        while (job := await gateway.job(job_id))["status"] != "PAUSED":
            pass
    return job


def settled(past: Past) -> list[dict[str, Any]]:
    """All that is stored of jobs, but for what the relay takes from them."""
    return [{**document, "outbox": None} for document in past.documents()]


# G


async def test_what_has_failed_since_local_midnight_is_retried(gateway: LiveGateway, past: Past) -> None:
    midnight = datetime.now(ZoneInfo("Asia/Kolkata")).replace(hour=0, minute=0, second=0, microsecond=0)
    first, today, yesterday = await failed(gateway, 3)
    [fine] = await completed(gateway, 1)
    ends = {
        first: midnight,
        today: midnight + timedelta(milliseconds=1),
        yesterday: midnight - timedelta(milliseconds=1),
        fine: midnight,
    }
    for job_id, at in ends.items():
        past.set(job_id, completed_at=at, effective_at=at)
    conditions = {"status": ["FAILED"], "from": midnight.isoformat()}
    assert await many(gateway, "retryMany", conditions) == (2, 2, 0)
    for job_id in (first, today):
        await told_times(gateway, job_id, EventType.JOB_FAILED, 2)
        job = await gateway.job(job_id)
        assert (job["status"], job["retryCount"], job["executionCount"]) == ("FAILED", 1, 2)
    for job_id, status in ((yesterday, "FAILED"), (fine, "COMPLETED")):
        job = await gateway.job(job_id)
        assert (job["status"], job["retryCount"], job["executionCount"]) == (status, 0, 1)


async def test_jobs_that_are_retried_with_a_delay_wait_for_it(gateway: LiveGateway, past: Past) -> None:
    ids = await failed(gateway, 2)
    before = gateway.services.clock.now()
    assert await many(gateway, "retryMany", {"ids": ids, "status": ["FAILED"]}, delay=60_000) == (2, 2, 0)
    for job_id in ids:
        job = await gateway.job(job_id)
        assert (job["status"], job["retryCount"], job["lastError"]) == ("SCHEDULED", 1, "as it was asked to")
        assert -SECOND < instant(job["nextRunAt"]) - before - MINUTE < 10 * SECOND
        past.come_due(job_id)
        await told_times(gateway, job_id, EventType.JOB_FAILED, 2)


# H


async def test_after_maintenance_a_product_goes_on_without_a_burst(gateway: LiveGateway, past: Past) -> None:
    quick = await gateway.dispatched(schedule={"every": 1000, "missed": "RUN_ALL", "overlap": "QUEUE_ONE"})
    nightly = await gateway.dispatched(schedule=NIGHTLY)
    once = await gateway.dispatched(schedule=LATER)
    elsewhere = await gateway.dispatched(product="bank", schedule=NIGHTLY)
    await gateway.told(quick, EventType.JOB_COMPLETED)
    assert await many(gateway, "pauseMany", {"product": ["shop"]}, reason="maintenance") == (3, 2, 1)
    rested = [await at_rest(gateway, job_id) for job_id in (quick, nightly)]
    assert [(job["pauseReason"], job["nextRunAt"]) for job in rested] == [("maintenance", None)] * 2
    assert await statuses(gateway, [once, elsewhere]) == ["SCHEDULED", "SCHEDULED"]
    taken = rested[0]["executionCount"]
    # The work takes an hour, 3 600 occurrences long. Meanwhile other jobs of the product run.
    anchor = an_hour_passes(past, quick)
    await completed(gateway, 1)
    assert (await gateway.job(quick))["executionCount"] == taken
    resumed_at = gateway.services.clock.now()
    conditions = {"product": ["shop"], "status": ["PAUSED"]}
    assert await many(gateway, "resumeMany", conditions) == (2, 2, 0)
    await told_times(gateway, quick, EventType.JOB_COMPLETED, taken + 2)
    runs = (await runs_of(gateway, quick))[taken : taken + 2]
    due = [instant(run["scheduledFor"]) for run in runs]
    assert [run["number"] for run in runs] == [taken + 1, taken + 2]
    assert due[1] - due[0] >= SECOND
    assert [(at - anchor) % SECOND for at in due] == [timedelta(0)] * 2
    assert due[0] > resumed_at
    job = await gateway.job(nightly)
    assert (job["status"], job["pauseReason"], job["nextRunAt"]) == ("SCHEDULED", None, "2099-01-01T03:00:00.000Z")
    assert (await gateway.job(elsewhere))["revision"] == 1


def an_hour_passes(past: Past, job_id: str) -> datetime:
    """Have a paused job with an interval be an hour older; the first instant of its grid."""
    [job] = [document for document in past.documents() if document["_id"] == job_id]
    anchor: datetime = job["recurrence"]["anchor"] - HOUR
    due = job["scheduled_at"] - HOUR
    at = job["paused"]["at"] - HOUR
    past.set(
        job_id,
        **{"recurrence.anchor": anchor, "scheduled_at": due, "effective_at": due, "paused.at": at, "updated_at": at},
    )
    return anchor


async def test_a_pause_can_be_counted_before(gateway: LiveGateway, past: Past) -> None:
    ids = [await gateway.dispatched(schedule=schedule) for schedule in (NIGHTLY, NIGHTLY, LATER)]
    for job_id in ids:
        await gateway.told(job_id, EventType.JOB_SCHEDULED)
    before = settled(past)
    assert await many(gateway, "pauseMany", {"product": ["shop"]}, dryRun=True) == (3, 2, 1)
    assert await many(gateway, "pauseMany", {"product": ["shop"], "recurring": True}, dryRun=True) == (2, 2, 0)
    assert settled(past) == before
    assert await many(gateway, "pauseMany", {"product": ["shop"], "recurring": True}) == (2, 2, 0)
    assert await statuses(gateway, ids) == ["PAUSED", "PAUSED", "SCHEDULED"]
    # A second time there is nothing left to do.
    assert await many(gateway, "pauseMany", {"product": ["shop"], "recurring": True}) == (2, 0, 2)


# I


async def test_what_is_scheduled_of_a_product_is_cancelled_and_counted(gateway: LiveGateway, past: Past) -> None:
    scheduled = [await gateway.dispatched(schedule=schedule) for schedule in (LATER, LATER, NIGHTLY)]
    resting, elsewhere = [await gateway.dispatched(product=one, schedule=NIGHTLY) for one in ("shop", "bank")]
    await many(gateway, "pauseMany", {"ids": [resting]})
    [done] = await completed(gateway, 1)
    conditions: dict[str, Any] = {"product": ["shop"], "status": ["SCHEDULED"]}
    assert await many(gateway, "cancelMany", conditions, reason="campaign over", dryRun=True) == (3, 3, 0)
    assert await statuses(gateway, scheduled) == ["SCHEDULED"] * 3
    assert await many(gateway, "cancelMany", conditions, reason="campaign over") == (3, 3, 0)
    for job_id in scheduled:
        job = await gateway.job(job_id)
        assert (job["status"], job["cancelReason"], job["nextRunAt"]) == ("CANCELLED", "campaign over", None)
        assert (await gateway.told(job_id, EventType.JOB_CANCELLED)).reason == "campaign over"
    assert await statuses(gateway, [resting, elsewhere, done]) == ["PAUSED", "SCHEDULED", "COMPLETED"]


async def test_cancelling_all_twice_changes_nothing_more(gateway: LiveGateway, past: Past) -> None:
    ids = [await gateway.dispatched(schedule=LATER) for _ in range(3)]
    conditions: dict[str, Any] = {"product": ["shop"], "status": ["SCHEDULED"]}
    assert await many(gateway, "cancelMany", conditions, reason="done already") == (3, 3, 0)
    for job_id in ids:
        await gateway.told(job_id, EventType.JOB_CANCELLED)
    before = settled(past)
    assert await many(gateway, "cancelMany", conditions, reason="another") == (0, 0, 0)
    wider = {"product": ["shop"], "status": ["SCHEDULED", "CANCELLED"]}
    assert await many(gateway, "cancelMany", wider, reason="another") == (3, 0, 3)
    assert settled(past) == before


# K

AGES: Final = (30, -30, 90, -90)
"""In days: a minute more, or a minute less where it is negative."""


@pytest.fixture
async def over(gateway: LiveGateway, past: Past) -> dict[tuple[str, int], str]:
    """Jobs that completed, failed and were cancelled, by how long ago that was."""
    found: dict[tuple[str, int], str] = {}
    cancelled = [await gateway.dispatched(schedule=LATER) for _ in AGES]
    await many(gateway, "cancelMany", {"ids": cancelled})
    ids = {"completed": await completed(gateway, len(AGES)), "failed": await failed(gateway, len(AGES))}
    for kind, some in {**ids, "cancelled": cancelled}.items():
        for days, job_id in zip(AGES, some, strict=True):
            past.end([job_id], abs(days) * DAY + (MINUTE if days > 0 else -MINUTE))
            found[kind, days] = job_id
    return found


@pytest.fixture
async def live(gateway: LiveGateway, past: Past) -> list[str]:
    """Jobs that are not over, and have waited for a hundred days."""
    ids = [await gateway.dispatched(schedule=schedule) for schedule in (LATER, NIGHTLY)]
    await many(gateway, "pauseMany", {"ids": ids})
    for job_id in ids:
        past.set(job_id, scheduled_at=datetime.now(UTC) - 100 * DAY, effective_at=datetime.now(UTC) - 100 * DAY)
    return ids


def before_days(days: int) -> str:
    return written(truncate(datetime.now(UTC)) - days * DAY)


async def left(gateway: LiveGateway, over: dict[tuple[str, int], str]) -> set[tuple[str, int]]:
    """Which of the jobs that were over are still there."""
    return {key for key, status in zip(over, await statuses(gateway, list(over.values())), strict=True) if status}


async def test_what_completed_more_than_thirty_days_ago_is_deleted(
    gateway: LiveGateway, over: dict[tuple[str, int], str], live: list[str]
) -> None:
    conditions = {"status": ["COMPLETED"], "to": before_days(30)}
    assert await many(gateway, "deleteMany", conditions, dryRun=True) == (3, 3, 0)
    assert await left(gateway, over) == over.keys()
    assert await many(gateway, "deleteMany", conditions) == (3, 3, 0)
    gone = {("completed", days) for days in (30, 90, -90)}
    assert await left(gateway, over) == over.keys() - gone
    assert await statuses(gateway, live) == ["SCHEDULED", "PAUSED"]


async def test_what_was_over_more_than_ninety_days_ago_is_deleted_with_its_history(
    gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]], over: dict[tuple[str, int], str], live: list[str]
) -> None:
    old = before_days(90)
    conditions = {"status": ["COMPLETED", "CANCELLED", "FAILED"], "to": old}
    assert await many(gateway, "deleteMany", conditions) == (3, 3, 0)
    gone = {(kind, 90) for kind in ("completed", "failed", "cancelled")}
    assert await left(gateway, over) == over.keys() - gone
    runs = mongodb[gateway.gateway.database.name]["executions"]
    for key in gone:
        assert (await gateway.data(HISTORY, id=over[key]))["history"] is None
    ids = [over[key] for key in gone]
    await gateway.until(lambda: runs.count_documents({"job_id": {"$in": ids}}) == 0)
    for kind, number in (("completed", 1), ("failed", 1), ("cancelled", 0)):
        assert len(await runs_of(gateway, over[kind, -90])) == number
    # Without a status, those that are not over match as well: they are skipped.
    assert await many(gateway, "deleteMany", {"product": ["shop"], "to": old}) == (2, 0, 2)
    assert await statuses(gateway, live) == ["SCHEDULED", "PAUSED"]
