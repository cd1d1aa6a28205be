"""A gateway whose stores go away, and come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.devstack import Devstack
from jobs.events import EventType
from tests.conftest import StartServers
from tests.gateway import DISPATCH, Answer, LiveGateway, serving
from tests.processes import frozen

VALID = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd"}


@asynccontextmanager
async def serving_on(stack: Devstack) -> AsyncIterator[LiveGateway]:
    async with serving(stack.mongod.url, stack.redis.url, "test") as gateway:
        yield gateway


async def readiness(gateway: LiveGateway) -> tuple[int, Answer]:
    response = await gateway.http.get("/readyz")
    return response.status_code, response.json()


async def until_dispatched(gateway: LiveGateway) -> str:
    """Ask until a job is dispatched, as a client would; each answer takes its time while the store is away."""
    async with asyncio.timeout(30):
        while "errors" in (answer := await gateway.ask(DISPATCH, input=VALID)):
            assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAVAILABLE"]
    return str(answer["data"]["dispatch"]["id"])


async def test_without_mongodb_a_dispatch_is_answered_in_time_and_works_again_later(
    own_servers: StartServers,
) -> None:
    stack = await own_servers()
    async with serving_on(stack) as gateway:
        first = await gateway.dispatched()
        await stack.mongod.kill()
        async with asyncio.timeout(15):
            answer, ready, alive = await asyncio.gather(
                gateway.ask(DISPATCH, input=VALID), readiness(gateway), gateway.http.get("/healthz")
            )
        [error] = answer["errors"]
        assert answer["data"] is None
        assert (error["path"], error["extensions"]) == (["dispatch"], {"code": "UNAVAILABLE", "retryAfter": 1.0})
        assert error["message"].startswith("MongoDB is unavailable: ")
        assert (ready[0], list(ready[1]["stores"])) == (503, ["mongodb"])
        assert alive.status_code == 200

        await stack.mongod.restart()
        again = await until_dispatched(gateway)
        jobs = await gateway.data("{ jobs { nodes { id } } }")
        assert [job["id"] for job in jobs["jobs"]["nodes"]] == [again, first]
        assert await readiness(gateway) == (200, {"status": "ready"})


async def test_without_redis_jobs_are_dispatched_and_their_events_told(own_servers: StartServers) -> None:
    stack = await own_servers()
    async with serving_on(stack) as gateway, gateway.socket() as socket:
        await socket.subscribe("1", "subscription { jobEvents { type jobId } }")
        await gateway.until_subscribers(1)
        await stack.redis.kill()
        job_id = await gateway.dispatched()
        told = [await socket.next("1", "jobEvents") for _ in range(2)]
        assert told == [{"type": kind, "jobId": job_id} for kind in ("JOB_SCHEDULED", "JOB_QUEUED")]
        status, body = await readiness(gateway)
        assert (status, body["status"], list(body["stores"])) == (503, "unavailable", ["redis"])

        await stack.redis.restart()
        assert await readiness(gateway) == (200, {"status": "ready"})
        await gateway.told(await gateway.dispatched(), EventType.JOB_QUEUED)


async def test_a_frozen_redis_holds_up_no_dispatch(own_servers: StartServers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections stay open and nothing is answered: for less time than anything waits for Redis."""
    monkeypatch.setattr("storage.redis._ANSWER_SECONDS", 60.0)
    stack = await own_servers()
    async with serving_on(stack) as gateway:
        await gateway.dispatched()
        with frozen(stack.redis.pid):
            for _ in range(3):
                async with asyncio.timeout(15):
                    await gateway.dispatched()
