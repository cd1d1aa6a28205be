"""Background tasks end, and give back what they hold."""

import asyncio

from storage.cancelling import end_task
from storage.redis import close_redis, connect_redis
from tests.conftest import StartServers
from tests.processes import freeze, thaw


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
