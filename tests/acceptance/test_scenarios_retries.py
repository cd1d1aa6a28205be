"""Scenario F of ``mission/semantics.md`` §8: the four ways to retry. The waits are looked at, not waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import pytest
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.events import EventType
from jobs.lifecycle import JobStatus
from tests.gateway import LiveGateway, serving
from tests.passing import Past, told_times
from worker.context import TaskContext
from worker.tasks import TaskError

CODES: Final = ["TIMEOUT", "RATE_LIMITED", "SERVICE_UNAVAILABLE"]
FINAL: Final = ["INVALID_EMAIL", "UNSUBSCRIBED"]
SHORT: Final = timedelta(seconds=3)
"""What is waited for: a busy machine may take so long to have a test hear of a failure."""
NEAR: Final = timedelta(milliseconds=250)
"""A worker plans by its clock, and the failure is told by that of the database, a little later."""

MIXES: Final[dict[str, tuple[dict[str, Any], list[float]]]] = {
    "three codes": (
        {"retries": 5, "retryConfig": {"initialDelay": 2000, "maxDelay": 60_000, "retryableErrors": CODES}},
        [2, 4, 8, 16, 32],
    ),
    "all but two": (
        {"retries": 3, "retryConfig": {"initialDelay": 5000, "nonRetryableErrors": FINAL}},
        [5, 10, 20],
    ),
    "half a second": (
        {"retries": 5, "retryConfig": {"initialDelay": 500, "maxDelay": 30_000}},
        [0.5, 1, 2, 4, 8],
    ),
    "jitter": ({"retries": 4, "retryConfig": {"initialDelay": 20_000, "jitter": 0.3}}, [20, 40, 80, 160]),
}
"""What a dispatch says, and the seconds between a failure and the next attempt."""


async def fail(context: TaskContext, code: str) -> None:
    raise TaskError(code, f"attempt {context.attempt}")


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway, gateway.worker({"demo.echo": fail}):
        yield gateway


@pytest.fixture
def past(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> Past:
    return Past(gateway, mongodb)


async def waits(gateway: LiveGateway, past: Past, job_id: str, retries: int) -> list[tuple[timedelta, timedelta]]:
    """How long each retry is put off, from when the attempt before it began and from when its failure was told.

    It was decided between the two. Each is then let off its wait, unless that is short.
    """
    found = []
    for number in range(1, retries + 1):
        began = await told_times(gateway, job_id, EventType.JOB_STARTED, number)
        failure = await told_times(gateway, job_id, EventType.JOB_RETRYING, number)
        # As it was then: a moment later it may have gone on by itself.
        job = failure.snapshot
        assert (job.status, job.execution_count) == (JobStatus.SCHEDULED, 1)
        found.append((job.scheduled_at - began.at, job.scheduled_at - failure.at))
        if found[-1][0] > SHORT:
            past.come_due(job_id)
    return found


@pytest.mark.parametrize("mix", MIXES)
async def test_retries_are_spaced_as_the_policy_says_and_then_spent(gateway: LiveGateway, past: Past, mix: str) -> None:
    options, seconds = MIXES[mix]
    share = options["retryConfig"].get("jitter", 0)
    job_id = await gateway.dispatched(input="RATE_LIMITED", **options)
    planned = await waits(gateway, past, job_id, len(seconds))
    for (longest, shortest), expected in zip(planned, seconds, strict=True):
        least = timedelta(seconds=expected)
        assert longest >= least - NEAR, (planned, seconds)
        assert shortest <= least * (1 + share) + NEAR, (planned, seconds)
    if share:
        # That next to nothing is added four times is less likely than anything else that may go wrong.
        assert any(
            shortest - timedelta(seconds=expected) > NEAR
            for (_, shortest), expected in zip(planned, seconds, strict=True)
        )
    await gateway.told(job_id, EventType.JOB_FAILED)
    job = await gateway.job(job_id)
    assert (job["status"], job["retryCount"], job["errorCode"], job["nextRunAt"]) == (
        *("FAILED", len(seconds), "RATE_LIMITED"),
        None,
    )
    assert job["lastError"] == f"attempt {len(seconds) + 1}"


@pytest.mark.parametrize(
    ("mix", "code", "retried"),
    [
        *(("three codes", code, True) for code in CODES),
        ("three codes", "INVALID_EMAIL", False),
        ("three codes", "TIMEOUTS", False),
        *(("all but two", code, False) for code in FINAL),
        ("all but two", "TIMEOUT", True),
        ("half a second", "ANYTHING", True),
    ],
)
async def test_the_code_decides_whether_an_error_is_retried(
    gateway: LiveGateway, mix: str, code: str, retried: bool
) -> None:
    job_id = await gateway.dispatched(input=code, **MIXES[mix][0])
    await gateway.told(job_id, EventType.JOB_RETRYING if retried else EventType.JOB_FAILED)
    job = await gateway.job(job_id)
    assert (job["errorCode"], job["executionCount"]) == (code, 1)
    if not retried:
        assert (job["status"], job["retryCount"]) == ("FAILED", 0)
