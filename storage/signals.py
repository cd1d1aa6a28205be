"""Sending nudges and wake-ups: in the background, in batches, and never so that a caller waits for Redis or fails with it.

What is lost here is found by the sweeper and by the readers' slow polling.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job

from jobs.dispatch import MAX_PRIORITY
from jobs.lifecycle import Action
from storage.cancelling import end_task
from storage.errors import REDIS_AWAY
from storage.jobs import RunRef
from storage.redis import RUN_FUNCTION, channel_name, pack, queue_name

logger = logging.getLogger("jobgate.signals")

_KEEP: Final = 10_000
"""Nudges that wait for Redis at most; the sweeper finds the runs of those that are dropped."""

_NUDGE_LIFE_MS: Final = 3_600_000
_PAUSE_AFTER_FAILURE: Final = 0.5


class Topic(StrEnum):
    """What a wake-up says: look again."""

    NUDGES = "nudges"
    OUTBOX = "outbox"
    FEED = "feed"
    SCHEDULED = "scheduled"
    MISSED = "missed"
    BACKLOG = "backlog"
    CANCELLED = "cancelled"
    OPERATIONS = "operations"
    DELIVERIES = "deliveries"


CONCERNS: Final[Mapping[Action, tuple[Topic, ...]]] = MappingProxyType(
    {
        Action.CANCEL: (Topic.OUTBOX, Topic.CANCELLED),
        Action.PAUSE: (Topic.OUTBOX,),
        Action.RESUME: (Topic.OUTBOX, Topic.SCHEDULED),
        Action.RETRY: (Topic.OUTBOX, Topic.SCHEDULED, Topic.BACKLOG),
        Action.DELETE: (Topic.OUTBOX,),
    }
)
"""What there is to look at after an action was done to many jobs."""


class Signals:
    """One sender a process. Its Redis pool is the caller's."""

    def __init__(self, redis: ArqRedis, database: str) -> None:
        self._redis = redis
        self._database = database
        self._queue = queue_name(database)
        self._nudges: list[RunRef] = []
        self._topics: set[Topic] = set()
        self._sender: asyncio.Task[None] | None = None
        self.outstanding = 0
        """Nudges that lay in the queue when it was last looked at."""

    def nudge(self, refs: Iterable[RunRef]) -> None:
        """Have a worker look at these runs."""
        self._nudges += refs
        del self._nudges[_KEEP:]
        self._start()

    def wake(self, *topics: Topic) -> None:
        """Have whoever waits for these topics look again."""
        self._topics.update(topics)
        self._start()

    async def measure(self) -> int | None:
        """How many nudges lie in the queue; None while Redis is away."""
        try:
            self.outstanding = await self._redis.zcard(self._queue)
        except REDIS_AWAY:
            return None
        return self.outstanding

    async def close(self) -> None:
        """Send what waits, if that is possible at once."""
        if self._sender is not None:
            await asyncio.wait({self._sender}, timeout=1)
            # To its end: what it holds belongs to a pool that is closed next.
            await end_task(self._sender)

    def _start(self) -> None:
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        while self._nudges or self._topics:
            nudges, self._nudges = self._nudges, []
            topics, self._topics = self._topics, set()
            try:
                await self._send(nudges, topics)
            except REDIS_AWAY as error:
                logger.warning("Redis is away (%s): workers find %s runs later", type(error).__name__, len(nudges))
                await asyncio.sleep(_PAUSE_AFTER_FAILURE)

    async def _send(self, nudges: list[RunRef], topics: set[Topic]) -> None:
        now_ms = int(time.time() * 1000)
        async with self._redis.pipeline(transaction=False) as pipe:
            for ref in nudges:
                name = nudge_name(ref)
                arguments = (ref.job_id, ref.number, ref.attempt, ref.nudge, ref.handler)
                payload = serialize_job(RUN_FUNCTION, arguments, {}, None, now_ms, serializer=pack)
                pipe.psetex(job_key_prefix + name, _NUDGE_LIFE_MS, payload)
                # arq takes the score for a time: long past, so always due, and the higher the priority the earlier.
                pipe.zadd(self._queue, {name: MAX_PRIORITY + 1 - ref.priority})
            for topic in topics | ({Topic.NUDGES} if nudges else set()):
                pipe.publish(channel_name(self._database, topic), b"")
            pipe.zcard(self._queue)
            *_, self.outstanding = await pipe.execute()


def nudge_name(ref: RunRef) -> str:
    """arq's id of a nudge, of which there is never another: what a killed worker left of one is in no other's way."""
    return f"{ref.job_id}:{ref.number}:{ref.attempt}:{ref.nudge}"
