"""The anchor: bare arq with the same settings, doing nothing with the same number of jobs, at once or at the same instants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.worker import Worker, func

from storage.redis import pack, unpack

_QUEUE: Final = "bench:arq"
_DRAINED_WITHIN: Final = 300.0
"""Seconds, from when the last job may start."""


async def drain_rate(redis_url: str, jobs: int, concurrency: int) -> float:
    """Jobs per second, from the first start to the last, of one bare arq worker in this process."""
    starts: list[float] = []
    done = asyncio.Event()

    async def no_op(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:
        starts.append(time.perf_counter())
        if len(starts) == jobs:
            done.set()

    async with _opened(redis_url) as pool:
        for number in range(jobs):
            await pool.enqueue_job("no_op", number)
        async with _working(_worker(pool, no_op, concurrency, poll_delay=0.01)), asyncio.timeout(_DRAINED_WITHIN):
            await done.wait()
    return jobs / (starts[-1] - starts[0])


async def lateness(redis_url: str, instants: Sequence[datetime], concurrency: int, poll_delay: float) -> list[float]:
    """Milliseconds from each of the instants until its job started, on one bare arq worker in this process.

    Nothing else is done here meanwhile. ``poll_delay``: arq looks so often for what has come due, in seconds.
    """
    late: list[float] = []
    done = asyncio.Event()

    async def no_op(ctx: dict[Any, Any], due: float) -> None:
        late.append((time.time() - due) * 1000)
        if len(late) == len(instants):
            done.set()

    async with _opened(redis_url) as pool:
        for instant in instants:
            await pool.enqueue_job("no_op", instant.timestamp(), _defer_until=instant)
        patience = max(instants).timestamp() - time.time() + _DRAINED_WITHIN
        async with _working(_worker(pool, no_op, concurrency, poll_delay)), asyncio.timeout(patience):
            await done.wait()
    return late


@asynccontextmanager
async def _opened(redis_url: str) -> AsyncIterator[ArqRedis]:
    pool = await create_pool(
        RedisSettings.from_dsn(redis_url), job_serializer=pack, job_deserializer=unpack, default_queue_name=_QUEUE
    )
    yield pool
    await pool.aclose(close_connection_pool=True)


@asynccontextmanager
async def _working(worker: Worker) -> AsyncIterator[None]:
    working = asyncio.create_task(worker.async_run())
    yield
    working.cancel()
    await asyncio.gather(working, *worker.tasks.values(), return_exceptions=True)


def _worker(pool: ArqRedis, no_op: Any, concurrency: int, poll_delay: float) -> Worker:
    return Worker(
        functions=[func(no_op, name="no_op")],
        redis_pool=pool,
        queue_name=_QUEUE,
        handle_signals=False,
        max_jobs=concurrency,
        keep_result=0,
        max_tries=1,
        retry_jobs=False,
        poll_delay=poll_delay,
        job_serializer=pack,
        job_deserializer=unpack,
        log_results=False,
    )
