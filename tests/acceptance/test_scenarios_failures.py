"""Scenarios G and I of ``mission/semantics.md`` §8, one job at a time: what has failed, and what is cancelled twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.events import EventType
from tests.gateway import DEADLINE, LiveGateway, serving
from tests.passing import Past, completed, echo_or_fail, failed, instant, statuses, told_times, written

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
MINUTE_MS: Final = 60_000
LATER: Final = {"startAt": "2099-01-01T00:00:00Z"}

RETRY: Final = """
    mutation ($id: ID!, $delay: Milliseconds!) { retry(id: $id, delay: $delay) { ... on Job { status nextRunAt } } }
"""


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    handlers = {"demo.echo": echo_or_fail}
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway, gateway.worker(handlers):
        yield gateway


@pytest.fixture
def past(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> Past:
    return Past(gateway, mongodb)


async def test_jobs_that_failed_in_the_last_hour_are_retried_unless_that_was_done_too_often(
    gateway: LiveGateway, past: Past
) -> None:
    recent, worn, old = await failed(gateway, 3)
    past.set(worn, retry_count=10)
    past.end([old], HOUR + timedelta(seconds=1))
    document = "query ($filter: JobFilter) { jobs(filter: $filter) { nodes { id retryCount } } }"
    conditions = {"status": ["FAILED"], "from": written(datetime.now(UTC) - HOUR)}
    found = (await gateway.data(document, filter=conditions))["jobs"]["nodes"]
    assert {node["id"] for node in found} == {recent, worn}
    before = gateway.services.clock.now()
    for node in found:
        if node["retryCount"] < 10:
            answer = (await gateway.data(RETRY, id=node["id"], delay=MINUTE_MS))["retry"]
            late = instant(answer["nextRunAt"]) - before - timedelta(milliseconds=MINUTE_MS)
            assert timedelta(seconds=-1) < late < timedelta(seconds=10)
    assert await statuses(gateway, [recent, worn, old]) == ["SCHEDULED", "FAILED", "FAILED"]
    past.come_due(recent)
    await told_times(gateway, recent, EventType.JOB_FAILED, 2)


async def test_the_statistics_of_the_last_day(gateway: LiveGateway, past: Past) -> None:
    await failed(gateway, 1)
    [*_, old] = await completed(gateway, 4)
    await completed(gateway, 1, product="other")
    past.end([old], DAY + timedelta(seconds=1))
    document = """
        query ($filter: JobFilter) {
            stats(filter: $filter) { total completed failed successRate completedFirstTry avgRetryCount }
        }
    """
    conditions = {"product": ["shop"], "from": written(datetime.now(UTC) - DAY)}
    expected = {
        "total": 4,
        "completed": 3,
        "failed": 1,
        "successRate": 75.0,
        "completedFirstTry": 3,
        "avgRetryCount": 0.0,
    }
    async with asyncio.timeout(DEADLINE):
        while (await gateway.data(document, filter=conditions))["stats"] != expected:
            pass  # They follow what happens.


async def test_cancelling_twice_changes_nothing_more(gateway: LiveGateway, past: Past) -> None:
    job_id = await gateway.dispatched(schedule=LATER)
    document = """
        mutation ($id: ID!, $reason: String) { cancel(id: $id, reason: $reason) { ... on Job { status cancelReason } } }
    """
    first = await gateway.data(document, id=job_id, reason="done already")
    await gateway.told(job_id, EventType.JOB_CANCELLED)
    [before] = past.documents()
    assert await gateway.data(document, id=job_id, reason="another") == first
    assert first == {"cancel": {"status": "CANCELLED", "cancelReason": "done already"}}
    [after] = past.documents()
    assert (after["revision"], after["cancelled"]) == (before["revision"], before["cancelled"])
