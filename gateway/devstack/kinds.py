"""What there is to know about each kind of server: how to find, address and start it, and when it is ready."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from gateway.devstack.binaries import find_mongod, find_redis_server
from storage.bootstrap import initiate_replica_set, ping_redis

ANSWER: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of server. Its log says ``ready``, in lower case, once it listens; ``settle`` does what then remains.

    ``settle`` raises StoreUnavailable when that fails.
    """

    name: str
    setting: str
    url: str
    ready: bytes
    find: Callable[[], Path]
    arguments: Callable[[int, Path], list[str]]
    settle: Callable[[str], Awaitable[None]]


def _mongod_arguments(port: int, data: Path) -> list[str]:
    return [
        "--replSet", "rs0", "--bind_ip", "127.0.0.1", "--port", str(port), "--dbpath", str(data),
        "--nounixsocket", "--quiet", "--networkMessageCompressors", "disabled",
        "--setParameter", "diagnosticDataCollectionEnabled=false", "--wiredTigerCacheSizeGB", "0.25",
        # Journal files of 100 MB, laid out ahead of need, are what an empty database spends most of its start on.
        # Files that nobody uses are closed within a minute, not ten: a test run drops hundreds of databases, each with one for
        # every index, and mongod aborts when it may open no more.
        "--wiredTigerEngineConfigString",
        "log=(prealloc=false,file_max=32MB),file_manager=(close_idle_time=30,close_scan_interval=5,close_handle_minimum=250)",
    ]  # fmt: skip


def _redis_arguments(port: int, data: Path) -> list[str]:
    # Nothing is saved: all that Redis holds can be rebuilt from MongoDB.
    return [
        "--bind", "127.0.0.1", "--port", str(port), "--dir", str(data), "--save", "", "--appendonly", "no",
    ]  # fmt: skip


async def _ping_redis(url: str) -> None:
    await ping_redis(url, ANSWER)


MONGOD: Final = Kind(
    name="mongod",
    setting="MONGODB_URL",
    url="mongodb://127.0.0.1:{port}/?replicaSet=rs0",
    ready=b"waiting for connections",
    find=find_mongod,
    arguments=_mongod_arguments,
    settle=initiate_replica_set,
)

REDIS: Final = Kind(
    name="redis-server",
    setting="REDIS_URL",
    url="redis://127.0.0.1:{port}/0",
    ready=b"ready to accept connections",
    find=find_redis_server,
    arguments=_redis_arguments,
    settle=_ping_redis,
)
