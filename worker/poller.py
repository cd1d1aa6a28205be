"""arq's Worker as the process that waits for nudges; it decides nothing, and outlives whatever happens to Redis."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from arq.connections import ArqRedis
from arq.worker import Worker, func

from storage.cancelling import end_task
from storage.errors import REDIS_AWAY
from storage.jobs import RunRef
from storage.redis import RUN_FUNCTION, pack, queue_name, unpack
from worker.executor import Executor
from worker.running import Running

logger = logging.getLogger("jobgate.poller")

Wait = Callable[[], Awaitable[object]]
"""Waits until there are nudges, but not for long: a wake-up may be lost."""

_AFTER_FAILURE: Final = 0.5
_CLOSE_WITHIN: Final = 2.0

_MOST_LOOKED_AT: Final = 10_000
_NAME: Final = re.compile(rb"[\x21-\x7e]{1,200}")
_MOST: Final = 2**31

_LOOK_WITHIN: Final = timedelta(seconds=60)
"""Longer than any write takes to be answered. So long a nudge taken by a worker that was killed stays in the queue."""


class _NudgeTaker(Worker):
    """arq's Worker, for nudges that are done with once they were looked at, while the runs that they began go on.

    It looks as soon as it hears that there are any, and every now and then for those that it did not hear of.

    So it has to count those runs in when it asks itself how many nudges it may take. It must not hold a nudge for as long
    as the run: what lies in the queue would then no longer tell how much is waiting, and what a killed worker held would
    lie there for ever.
    """

    def __init__(self, running: Running, wait: Wait, **options: Any) -> None:
        self._running = running
        self._wait = wait
        self.turn = asyncio.Lock()
        """Held while it asks Redis for nudges and takes them."""
        super().__init__(max_jobs=running.capacity, **options)

    async def main(self) -> None:
        """In place of arq's, which sleeps for as long as it polls, whatever comes meanwhile."""
        while True:
            async with self.turn:
                await self._poll_iteration()
            await self._wait()

    @property
    def max_jobs(self) -> int:
        return self._running.room

    @max_jobs.setter
    def max_jobs(self, _: int) -> None:
        """arq's own attribute, set by its constructor."""


class Poller:
    """Takes nudges from Redis and hands them to the executor."""

    def __init__(self, redis: ArqRedis, database: str, executor: Executor, running: Running, wait: Wait) -> None:
        self._redis = redis
        self._queue = queue_name(database)
        self._executor = executor
        self._running = running
        self._wait = wait
        self._worker: _NudgeTaker | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._poll_for_ever())

    def pause(self) -> None:
        """Take no more nudges; those taken go on."""
        if self._worker is not None:
            self._worker.allow_pick_jobs = False

    async def stop(self) -> None:
        """Let the turn under way end, if Redis lets it: what is cancelled in its midst may not give its connection back."""
        over = asyncio.get_running_loop().time() + _CLOSE_WITHIN
        if self._worker is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(over):
                    # And kept, so that no other begins.
                    await self._worker.turn.acquire()
        await end_task(self._task)
        await self._settle(over)

    async def _poll_for_ever(self) -> None:
        while True:
            self._worker = self._new_worker()
            try:
                await self._worker.async_run()
            except REDIS_AWAY as error:
                # Looks under way go on, whatever becomes of arq's bookkeeping.
                logger.warning("polling was interrupted: %s", type(error).__name__)
            except Exception:
                # Whoever can write to Redis can put something there that arq stumbles over.
                logger.exception("polling was interrupted")
                async with self._worker.turn:
                    await self._clear_away()
            self._forget(self._worker)
            await asyncio.sleep(_AFTER_FAILURE)

    async def _clear_away(self) -> None:
        """Remove what cannot be the name of a nudge."""
        try:
            members = await self._redis.zrange(self._queue, 0, _MOST_LOOKED_AT)
            strange = [member for member in members if not _NAME.fullmatch(member)]
            if strange:
                await self._redis.zrem(self._queue, *strange)
        except REDIS_AWAY as error:
            logger.warning("the queue was not cleared: %s", type(error).__name__)

    def _new_worker(self) -> _NudgeTaker:
        return _NudgeTaker(
            self._running,
            self._wait,
            functions=[func(self._look, name=RUN_FUNCTION, timeout=_LOOK_WITHIN)],
            queue_name=self._queue,
            redis_pool=self._redis,
            handle_signals=False,
            job_timeout=_LOOK_WITHIN,
            keep_result=0,
            max_tries=1,
            retry_jobs=False,
            queue_read_limit=max(100, 2 * self._running.capacity),
            job_serializer=pack,
            job_deserializer=unpack,
            log_results=False,
        )

    async def _look(self, ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:
        match args:
            case [str(job_id), int(number), int(attempt), int(nudge), str(handler)] if _are_counts(
                number, attempt, nudge
            ):
                await self._executor.look_at(RunRef(job_id, number, attempt, nudge, handler))
            case _:
                # Whoever can write to Redis can put anything there.
                logger.warning("a nudge that makes no sense was dropped")

    def _forget(self, worker: Worker) -> None:
        for task in worker.tasks.values():
            task.add_done_callback(_consume)

    async def _settle(self, over: float) -> None:
        """Let arq tidy up behind the last looks until the loop's clock says ``over``, as far as Redis lets it."""
        tasks = list(self._worker.tasks.values()) if self._worker is not None else []
        if tasks:
            _, hanging = await asyncio.wait(tasks, timeout=max(0.0, over - asyncio.get_running_loop().time()))
            for task in hanging:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _are_counts(*numbers: int) -> bool:
    """Whether they are numbers as we count, and as MongoDB can hold them."""
    return all(0 <= number < _MOST for number in numbers)


def _consume(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
