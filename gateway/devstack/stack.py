"""The servers together, with their data in one folder."""

import asyncio
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from gateway.devstack.folder import hold_folder
from gateway.devstack.kinds import MONGOD, REDIS
from gateway.devstack.server import Server

logger = logging.getLogger("jobgate.dev")


@dataclass(frozen=True, slots=True)
class Servers:
    """Where MongoDB and Redis are."""

    mongodb_url: str
    redis_url: str


class Devstack:
    """A MongoDB and a Redis of one's own; a server whose url is given is used as it is, and not started.

    To be started from the main thread: on Linux a server ends with the thread that started it.
    """

    def __init__(self, data: Path, *, mongodb_url: str | None = None, redis_url: str | None = None) -> None:
        self._data = data.absolute()
        self._mongodb_url = mongodb_url
        self._redis_url = redis_url
        self._hold: int | None = None
        self.mongod = Server(MONGOD, self._data)
        self.redis = Server(REDIS, self._data)

    async def start(self) -> Servers:
        """Start what is needed, side by side, and say where it is.

        Raises DevstackError when that is impossible or the data folder is in use; nothing is left running then.
        """
        started = self._to_start()
        if started:
            self._hold = await hold_folder(self._data)
        try:
            await self._start_all(started)
        except BaseException:
            await self.stop()
            raise
        return Servers(self._mongodb_url or self.mongod.url, self._redis_url or self.redis.url)

    async def revive(self) -> None:
        """Start those servers again that were started and have ended by themselves. Raises DevstackError."""
        for server in self._to_start():
            if server.has_died:
                logger.error("%s has died; starting it again", server.name)
                await server.restart()

    async def stop(self) -> None:
        """End what was started, and let go of the data folder. Can be repeated."""
        await asyncio.gather(self.mongod.stop(), self.redis.stop())
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None

    async def __aenter__(self) -> Servers:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _to_start(self) -> list[Server]:
        needed = ((self.mongod, self._mongodb_url), (self.redis, self._redis_url))
        return [server for server, url in needed if url is None]

    async def _start_all(self, servers: list[Server]) -> None:
        # The outcomes of all are awaited, so that none is still starting while the others are being stopped.
        outcomes = await asyncio.gather(*(server.start(self._hold) for server in servers), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
