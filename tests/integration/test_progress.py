"""How often progress is told: few events, however often a handler reports and however often a job is tried."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.devstack import Servers
from jobs.dispatch import RetrySpec
from jobs.events import EventType
from jobs.feed import JobEvent
from storage.client import Database
from tests.installation import Installation, installed
from worker.context import TaskContext


@pytest.fixture
async def installation(database: Database, servers: Servers, redis_url: str) -> AsyncIterator[Installation]:
    async with installed(database, servers.mongodb_url, redis_url) as installation:
        yield installation


def check_pace(events: list[JobEvent]) -> None:
    """Four times a second at most, by the log's own times, from the first start of a job to its end."""
    [began, *_], [*_, ended] = (of_type(events, kind) for kind in (EventType.JOB_STARTED, EventType.JOB_COMPLETED))
    intervals = (ended.at - began.at) / timedelta(seconds=0.25)
    assert len(of_type(events, EventType.JOB_PROGRESS)) <= 1 + intervals


def of_type(events: list[JobEvent], kind: EventType) -> list[JobEvent]:
    return [event for event in events if event.type is kind]


async def test_of_many_reports_the_log_holds_four_a_second(installation: Installation) -> None:
    enough, reports = asyncio.Event(), itertools.count()

    async def report(context: TaskContext, _: Any) -> Any:
        while not enough.is_set():
            await context.progress(0.5, f"{next(reports)} so far")

    await installation.worker({"demo.report": report})
    job = await installation.dispatch("demo.report")
    await installation.until(job, EventType.JOB_PROGRESS, times=4)
    enough.set()
    check_pace(await installation.until(job, EventType.JOB_COMPLETED))
    assert next(reports) > 100


async def test_of_the_reports_of_many_attempts_the_log_holds_four_a_second(installation: Installation) -> None:
    async def report_and_fail(context: TaskContext, _: Any) -> Any:
        await context.progress(0.5)
        if context.attempt <= 10:
            raise ValueError("not yet")

    await installation.worker({"demo.report": report_and_fail})
    policy = RetrySpec(initial_delay_ms=1, max_delay_ms=1)
    job = await installation.dispatch("demo.report", retries=10, retry=policy)
    check_pace(await installation.until(job, EventType.JOB_COMPLETED))
