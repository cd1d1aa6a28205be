"""Receiving wake-ups: one Redis subscription a process, one event a topic."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from arq.connections import ArqRedis

from storage.cancelling import end_task
from storage.errors import REDIS_AWAY
from storage.redis import channel_name
from storage.signals import Topic

logger = logging.getLogger("jobgate.wakeups")

_RECONNECT_AFTER: Final = 0.2
_SILENCE_SECONDS: Final = 5.0
_SILENCES_ALLOWED: Final = 2
"""After one, Redis is asked whether it is still there; after another one it is not."""


class Wakeups:
    """Listens to some topics. A wake-up carries no data, and may be lost: whoever waits looks again after a while anyway."""

    def __init__(self, redis: ArqRedis, database: str, topics: Sequence[Topic]) -> None:
        self._redis = redis
        self._channels = {channel_name(database, topic).encode(): topic for topic in topics}
        self._events = {topic: asyncio.Event() for topic in topics}
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._listener = asyncio.create_task(self._listen_for_ever())

    async def close(self) -> None:
        await end_task(self._listener)

    def wake(self, topic: Topic) -> None:
        """The same as if a wake-up had come from Redis."""
        self._events[topic].set()

    async def wait(self, topic: Topic, timeout: float) -> bool:
        """Wait for a wake-up since the last call, at most ``timeout`` seconds; whether one came."""
        event = self._events[topic]
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            return False
        event.clear()
        return True

    async def _listen_for_ever(self) -> None:
        while True:
            try:
                await self._listen()
            except REDIS_AWAY as error:
                logger.debug("wake-ups interrupted: %s", type(error).__name__)
            await asyncio.sleep(_RECONNECT_AFTER)

    async def _listen(self) -> None:
        async with self._redis.pubsub() as subscription:
            await subscription.subscribe(*self._channels)
            silent = 0
            while silent < _SILENCES_ALLOWED:
                message = await subscription.get_message(timeout=_SILENCE_SECONDS)
                silent = 0 if message else silent + 1
                if message is None:
                    await subscription.ping()
                elif message["channel"] in self._channels:
                    # The answer to the subscription itself counts too: what came before it may have been missed.
                    self._events[self._channels[message["channel"]]].set()
