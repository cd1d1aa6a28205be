"""The anchor: bare arq with the same settings, doing nothing with the same number of jobs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from arq.connections import RedisSettings, create_pool
from arq.worker import Worker, func

from storage.redis import pack, unpack


async def drain_rate(redis_url: str, jobs: int, concurrency: int) -> float:
    """Jobs per second, from the first start to the last, of one bare arq worker in this process."""
    pool = await create_pool(
        RedisSettings.from_dsn(redis_url), job_serializer=pack, job_deserializer=unpack, default_queue_name="bench:arq"
    )
    starts: list[float] = []
    done = asyncio.Event()

    async def no_op(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:
        starts.append(time.perf_counter())
        if len(starts) == jobs:
            done.set()

    for number in range(jobs):
        await pool.enqueue_job("no_op", number)
    worker = Worker(
        functions=[func(no_op, name="no_op")],
        redis_pool=pool,
        queue_name="bench:arq",
        handle_signals=False,
        max_jobs=concurrency,
        keep_result=0,
        max_tries=1,
        retry_jobs=False,
        poll_delay=0.01,
        job_serializer=pack,
        job_deserializer=unpack,
        log_results=False,
    )
    working = asyncio.create_task(worker.async_run())
    async with asyncio.timeout(300):
        await done.wait()
    working.cancel()
    await asyncio.gather(working, *worker.tasks.values(), return_exceptions=True)
    await pool.aclose(close_connection_pool=True)
    return jobs / (starts[-1] - starts[0])
