"""Three mongods as one replica set, and a Redis that keeps its data: to be killed, frozen and woken at will."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import redis.asyncio as redis
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from gateway.devstack.kinds import MONGOD, REDIS, Kind
from gateway.devstack.server import Server
from jobs.errors import StoreUnavailable
from storage.bootstrap import ping_mongodb

_MEMBERS: Final = 3
_ELECTION_MS: Final = 2000
_ANSWER: Final = timedelta(seconds=20)
_LOOK_AGAIN_SECONDS: Final = 0.1
_PRIMARY_WITHIN: Final = 60.0


async def _answers(url: str) -> None:
    """Wait for an answer: a member that has just started hangs up on everybody when it has to roll back, or is elected."""
    deadline = time.monotonic() + _ANSWER.total_seconds()
    while True:
        try:
            return await ping_mongodb(url, timedelta(seconds=max(deadline - time.monotonic(), 1)))
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def _mongod(number: int) -> Kind:
    # Each is asked directly: which of them is primary changes all the time.
    return replace(
        MONGOD, name=f"mongod-{number}", url="mongodb://127.0.0.1:{port}/?directConnection=true", settle=_answers
    )


_PERSISTENT_REDIS: Final = replace(
    REDIS, arguments=lambda port, data: [*REDIS.arguments(port, data), "--appendonly", "yes"]
)


class Cluster:
    """The stores."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.mongods = [Server(_mongod(number), folder) for number in range(_MEMBERS)]
        self.redis = Server(_PERSISTENT_REDIS, folder)
        self._frozen: set[int] = set()

    @property
    def mongodb_url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.mongods)
        return f"mongodb://{hosts}/?replicaSet=rs0"

    async def start(self) -> None:
        """Start all, and wait for a primary."""
        await asyncio.gather(*(server.start() for server in (*self.mongods, self.redis)))
        members = [{"_id": number, "host": f"127.0.0.1:{server.port}"} for number, server in enumerate(self.mongods)]
        settings = {"electionTimeoutMillis": _ELECTION_MS, "heartbeatIntervalMillis": 500}
        async with _connected(self.mongods[0].url, answer=30.0) as client:
            await client.admin.command("replSetInitiate", {"_id": "rs0", "members": members, "settings": settings})
        await self.primary()

    async def stop(self) -> None:
        self.thaw()
        await asyncio.gather(*(server.kill() for server in (*self.mongods, self.redis)))

    async def primary(self) -> Server:
        """The mongod that takes writes, once there is one."""
        async with asyncio.timeout(_PRIMARY_WITHIN), _connected(self.mongodb_url, _PRIMARY_WITHIN, 1.0) as client:
            while True:
                # The driver waits for a primary by its own monitors; of one that stands still it does not know yet.
                with suppress(PyMongoError):
                    await client.admin.command("ping")
                    _, port = await client.primary or ("", 0)
                    for server in self.mongods:
                        if server.port == port and server.is_running and server.pid not in self._frozen:
                            return server

    async def step_down(self) -> None:
        """Have the primary give way to another."""
        async with _connected((await self.primary()).url) as client:
            # The connection is closed with it.
            with suppress(PyMongoError):
                await client.admin.command({"replSetStepDown": 5, "secondaryCatchUpPeriodSecs": 2})

    def freeze(self, *servers: Server) -> None:
        """Let them hold all their connections, and answer nothing."""
        for server in servers:
            os.kill(server.pid, signal.SIGSTOP)
            self._frozen.add(server.pid)

    def thaw(self) -> None:
        for pid in self._frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen.clear()

    async def revive(self) -> None:
        """Thaw what is frozen, and start again what has died."""
        self.thaw()
        dead = [server for server in (*self.mongods, self.redis) if not server.is_running]
        await asyncio.gather(*(server.restart() for server in dead))

    async def flush_redis(self) -> None:
        """Have Redis forget everything."""
        async with redis.Redis.from_url(self.redis.url) as client:
            with suppress(redis.RedisError, OSError):
                await client.flushall()

    def forget_redis(self) -> None:
        """Take away what a Redis that was killed would find again."""
        for file in (self._folder / self.redis.name).glob("appendonly*"):
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink()


@asynccontextmanager
async def _connected(
    url: str, patience: float = 2.0, answer: float = 5.0
) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    """A client that waits so many seconds for a server to be there, and for its answer."""
    waits: dict[str, Any] = {
        "serverSelectionTimeoutMS": int(patience * 1000),
        "socketTimeoutMS": int(answer * 1000),
        "connectTimeoutMS": 1000,
    }
    async with AsyncMongoClient[dict[str, Any]](url, **waits) as client:
        yield client
