"""Background tasks end, and give back what they hold."""

import asyncio
from typing import Any

import pytest
from arq.worker import Worker

from storage.cancelling import end_task
from storage.redis import close_redis, connect_redis
from tests.conftest import StartServers
from tests.installation import Installation
from tests.processes import freeze, thaw
from worker.context import TaskContext


async def echo(_: TaskContext, value: Any) -> Any:
    return value


async def test_a_cancelled_task_gives_its_connection_back_though_redis_answers_late(own_servers: StartServers) -> None:
    stack = await own_servers()
    redis = connect_redis(stack.redis.url, "test")
    watching = asyncio.Event()

    async def watch() -> None:
        async with redis.pipeline() as pipe:
            await pipe.watch("a key")
            watching.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(watch())
    await watching.wait()
    freeze(stack.redis.pid)
    asyncio.get_running_loop().call_later(0.7, thaw, stack.redis.pid)
    await end_task(task)
    assert redis.connection_pool._in_use_connections == set()
    await close_redis(redis)


@pytest.mark.parametrize("answers", [True, False])
async def test_a_worker_that_stops_lets_the_turn_under_way_end_unless_redis_does_not(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    ended: list[bool] = []

    async def turn(_: Worker) -> None:
        begun.set()
        try:
            await may_end.wait()
            ended.append(True)
        except asyncio.CancelledError:
            ended.append(False)
            raise

    monkeypatch.setattr("worker.poller._CLOSE_WITHIN", 10.0 if answers else 0.1)
    monkeypatch.setattr(Worker, "_poll_iteration", turn)
    await installation.worker({"demo.echo": echo})
    await begun.wait()
    if answers:
        asyncio.get_running_loop().call_later(0.3, may_end.set)
    await installation.stop_workers()
    assert ended == [answers]
