"""Two hundred mixed jobs and one subscription: left in peace, and with workers killed and Redis emptied."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
import redis.asyncio

from examples.shop.client import Gateway, JsonObject
from examples.shop.expectations import Expectation, differences
from examples.shop.feed import JobFeed, open_feed
from examples.shop.scenarios import await_feed
from gateway.devstack import Servers
from tests.programs import System, running

TAG: Final = "mixed"
DEADLINE: Final = 120.0
"""No measure: whoever hangs is told so."""

Case = tuple[JsonObject, Expectation]


def echo(number: int) -> Case:
    return _request("echo", {"n": number}), Expectation(results=({"n": number},))


def nap(_: int) -> Case:
    return _request("sleep", {"seconds": 1}), Expectation(results=({"slept": 1},))


def later(number: int) -> Case:
    due = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    return _request("echo", number, schedule={"startAt": due}), Expectation(results=(number,))


def every_second(_: int) -> Case:
    return _request("echo", "tick", schedule={"every": 1000, "limit": 3}), Expectation(runs=3, results=("tick",) * 3)


def failing(_: int) -> Case:
    request = _request("fail", {"code": "BUSY"}, retries=2, retryConfig={"initialDelay": 100})
    return request, Expectation("FAILED", retries=2, failed=1, error_code="BUSY")


# So many of each: two hundred jobs.
MIX: Final[dict[Callable[[int], Case], int]] = {echo: 60, nap: 30, later: 40, every_second: 20, failing: 50}


def _request(task: str, value: Any, **options: Any) -> JsonObject:
    origin = {"namespace": "demo", "product": "shop", "env": "test", "tags": [TAG]}
    return {**origin, "task": task, "input": value, **options}


Act = Callable[[System, JobFeed, str], Awaitable[None]]


async def leave_alone(_: System, __: JobFeed, ___: str) -> None:
    """Nothing happens."""


async def kill_and_flush(system: System, feed: JobFeed, redis_url: str) -> None:
    """Each worker is killed in the middle of a run, and Redis is emptied each time."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        for worker in system.workers:
            await feed.follow_until(lambda: any(is_running(feed, event["jobId"]) for event in feed.arrived))
            system.kill(worker)
            await client.flushall()
            seen = feed.size
            await feed.follow_until(lambda: feed.size > seen + 100)  # noqa: B023  # it is called in this round only


SETTINGS: Final[dict[Act, dict[str, str]]] = {leave_alone: {"JOBGATE_LEASE_SECONDS": "30"}, kill_and_flush: {}}
"""Where nobody is killed, no lease is to run out either, however slow the store may be for once."""


def is_running(feed: JobFeed, job_id: str) -> bool:
    return bool(feed.of(job_id)[-1]["status"] == "RUNNING")


async def dispatch_all(gateway: Gateway) -> list[tuple[str, Expectation]]:
    """The mix, shuffled together as it would come from several frontends at once."""
    rounds = [[make(number) for make, count in MIX.items() if number < count] for number in range(max(MIX.values()))]
    cases = [case for round_ in rounds for case in round_]
    jobs = await asyncio.gather(*(gateway.dispatch(request) for request, _ in cases))
    return [(job["id"], expected) for job, (_, expected) in zip(jobs, cases, strict=True)]


@pytest.mark.timeout(200)
@pytest.mark.parametrize("act", [leave_alone, kill_and_flush])
async def test_every_job_ends_as_it_should_and_every_event_is_seen_once(
    servers: Servers, database_name: str, redis_url: str, act: Act
) -> None:
    own_redis = Servers(servers.mongodb_url, redis_url)
    async with (
        running(own_redis, database_name, workers=2, JOBGATE_CONCURRENCY="10", **SETTINGS[act]) as system,
        httpx.AsyncClient(timeout=30) as http,
        open_feed(system.url, TAG) as feed,
        asyncio.timeout(DEADLINE),
    ):
        gateway = Gateway(http, system.url)
        await await_feed(gateway, feed, TAG)
        jobs = await dispatch_all(gateway)
        assert len(jobs) == 200
        await act(system, feed, redis_url)
        await feed.follow_until(lambda: all(feed.is_over(job_id) for job_id, _ in jobs))

        wrong = {job_id: await complaints(gateway, feed, job_id, expected, act) for job_id, expected in jobs}
        assert {job_id: found for job_id, found in wrong.items() if found} == {}
        begun_again = sum(starts(feed, job_id) - expected.events()["JOB_STARTED"] for job_id, expected in jobs)
        assert (begun_again > 0) is (act is kill_and_flush)
        await check_replay(system.url, feed)


async def complaints(gateway: Gateway, feed: JobFeed, job_id: str, expected: Expectation, act: Act) -> list[str]:
    found = differences(expected, await gateway.record(job_id), feed.of(job_id))
    # A run whose worker was killed is begun once more: the one thing that may be told more often then.
    return [one for one in found if act is leave_alone or not one.startswith("JOB_STARTED")]


def starts(feed: JobFeed, job_id: str) -> int:
    return sum(event["type"] == "JOB_STARTED" for event in feed.of(job_id))


async def check_replay(url: str, live: JobFeed) -> None:
    """The log tells behind a cursor exactly what was told live."""
    first, *others = live.arrived
    async with open_feed(url, TAG, after=first["cursor"]) as replay:
        await replay.follow_until(lambda: replay.size == len(others))
        assert replay.arrived == others
