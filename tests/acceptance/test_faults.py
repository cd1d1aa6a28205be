"""What may happen to the parts while jobs run, and what it costs: time, never a job."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest
from pymongo import MongoClient

from examples.shop.client import Gateway, JsonObject
from examples.shop.feed import JobFeed, open_feed
from examples.shop.scenarios import await_feed
from gateway.devstack import Servers
from gateway.devstack.stack import Devstack
from tests.conftest import StartServers
from tests.processes import ended
from tests.programs import LEASE_SECONDS, System, running

TAG: Final = "faults"
DEADLINE: Final = 60.0

pytestmark = pytest.mark.timeout(120)


def job(task: str, value: Any, **options: Any) -> JsonObject:
    origin = {"namespace": "demo", "product": "shop", "env": "test", "tags": [TAG]}
    return {**origin, "task": task, "input": value, **options}


@asynccontextmanager
async def watched(system: System) -> AsyncIterator[tuple[Gateway, JobFeed]]:
    """A caller of the gateway, and a subscription that is open."""
    async with (
        httpx.AsyncClient(timeout=30) as http,
        open_feed(system.url, TAG) as feed,
        asyncio.timeout(DEADLINE),
    ):
        gateway = Gateway(http, system.url)
        await await_feed(gateway, feed, TAG)
        yield gateway, feed


async def until(feed: JobFeed, job_id: str, kind: str, times: int = 1) -> None:
    await feed.follow_until(lambda: types(feed, job_id).count(kind) >= times)


def types(feed: JobFeed, job_id: str) -> list[str]:
    return [event["type"] for event in feed.of(job_id)]


def own(stack: Devstack) -> Servers:
    return Servers(stack.mongod.url, stack.redis.url)


async def test_a_run_whose_worker_was_killed_is_begun_again_within_its_lease_and_five_seconds(
    servers: Servers, mongodb: MongoClient[dict[str, Any]], database_name: str, redis_url: str
) -> None:
    own_redis = Servers(servers.mongodb_url, redis_url)
    async with running(own_redis, database_name, workers=2) as system, watched(system) as (gateway, feed):
        run = (await gateway.dispatch(job("sleep", {"seconds": 6})))["id"]
        await until(feed, run, "JOB_STARTED")
        pid = int(mongodb[database_name]["jobs"].find_one({"_id": run})["run"]["worker"].split(":")[1])  # type: ignore[index]  # it was just dispatched
        os.kill(pid, signal.SIGKILL)
        await until(feed, run, "JOB_STARTED", times=2)
        await until(feed, run, "JOB_COMPLETED")
        started = [event["at"] for event in stored(mongodb, database_name, run) if event["type"] == "job.started"]
        assert timedelta(seconds=LEASE_SECONDS - 1) < started[1] - started[0]
        assert started[1] - started[0] < timedelta(seconds=LEASE_SECONDS + 5)
        record = await gateway.record(run)
        assert (record["job"]["retryCount"], record["history"]["executions"][0]["attempts"]) == (0, 2)


def stored(mongodb: MongoClient[dict[str, Any]], database: str, job_id: str) -> list[dict[str, Any]]:
    return list(mongodb[database]["events"].find({"job_id": job_id}, sort=[("seq", 1)]))


async def test_redis_may_die_and_come_back_empty(own_servers: StartServers, database_name: str) -> None:
    stack = await own_servers()
    async with running(own(stack), database_name) as system, watched(system) as (gateway, feed):
        processes = system.pids()
        before = (await gateway.dispatch(job("sleep", {"seconds": 2})))["id"]
        await until(feed, before, "JOB_STARTED")
        await stack.redis.kill()
        meanwhile = (await gateway.dispatch(job("echo", "meanwhile")))["id"]
        await until(feed, before, "JOB_COMPLETED")
        await stack.redis.restart()
        after = (await gateway.dispatch(job("echo", "after")))["id"]
        for run in (meanwhile, after):
            await until(feed, run, "JOB_COMPLETED")
        # Without Redis nobody nudges a worker: it is found by the sweep once Redis is there again, and run once.
        assert types(feed, meanwhile) == ["JOB_SCHEDULED", "JOB_QUEUED", "JOB_STARTED", "JOB_COMPLETED"]
        assert system.pids() == processes


async def test_mongodb_may_be_restarted(own_servers: StartServers, database_name: str) -> None:
    stack = await own_servers()
    async with running(own(stack), database_name) as system, watched(system) as (gateway, feed):
        processes = system.pids()
        before = (await gateway.dispatch(job("sleep", {"seconds": 1})))["id"]
        await until(feed, before, "JOB_STARTED")
        await stack.mongod.restart()
        after = (await gateway.dispatch(job("echo", "after")))["id"]
        for run in (before, after):
            await until(feed, run, "JOB_COMPLETED")
        assert system.pids() == processes
        for run in (before, after):
            numbers = [event["seq"] for event in feed.of(run)]
            assert numbers == list(range(1, len(numbers) + 1))


async def test_a_killed_gateway_comes_back_and_a_subscription_goes_on_behind_its_cursor(
    servers: Servers, database_name: str, redis_url: str
) -> None:
    own_redis = Servers(servers.mongodb_url, redis_url)
    async with running(own_redis, database_name) as system:
        async with watched(system) as (gateway, feed):
            run = (await gateway.dispatch(job("sleep", {"seconds": 3})))["id"]
            await until(feed, run, "JOB_STARTED")
            told, cursor = types(feed, run), feed.arrived[-1]["cursor"]
        pid = system.gateway.pid
        assert pid is not None
        system.kill(system.gateway)
        # Until it has ended, its socket takes connections for nobody.
        await ended(pid)
        # Refused connections are tried again, with waits in between that grow.
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=6), timeout=30) as http:
            await http.get(system.url.replace("/graphql", "/readyz"))
        async with asyncio.timeout(DEADLINE), open_feed(system.url, TAG, after=cursor) as feed:
            await until(feed, run, "JOB_COMPLETED")
            assert [*told, *types(feed, run)] == ["JOB_SCHEDULED", "JOB_QUEUED", "JOB_STARTED", "JOB_COMPLETED"]


async def test_a_worker_that_is_told_to_stop_ends_its_run_first(
    servers: Servers, database_name: str, redis_url: str
) -> None:
    own_redis = Servers(servers.mongodb_url, redis_url)
    async with running(own_redis, database_name) as system, watched(system) as (gateway, feed):
        run = (await gateway.dispatch(job("sleep", {"seconds": 1})))["id"]
        await until(feed, run, "JOB_STARTED")
        await system.workers[0].stop()
        await until(feed, run, "JOB_COMPLETED")
        assert types(feed, run).count("JOB_STARTED") == 1
