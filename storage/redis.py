"""Opening Redis as arq wants it. Redis carries nudges and wake-ups; nothing in it is ever missed when it is lost."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import msgpack
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from jobs.errors import StoreUnavailable
from storage.errors import REDIS_AWAY, UnsupportedStore

RUN_FUNCTION: Final = "run"
"""The only arq function: it looks at one run."""

# A refused connection arrives as OSError, which redis-py does not count among its own connection errors.
_WORTH_RETRYING: Final[list[type[Exception]]] = [RedisConnectionError, RedisTimeoutError, OSError]


_SCHEMES: Final = ("redis", "rediss", "unix")

_ANSWER_SECONDS: Final = 2.0
"""How long Redis may be silent: without a limit, a host that has vanished holds a caller up for a quarter of an hour."""


def queue_name(database: str) -> str:
    """The arq queue of an installation. Installations that share a Redis are told apart by their database's name."""
    return f"jobgate:{database}:queue"


def channel_name(database: str, topic: str) -> str:
    """The pub/sub channel of a wake-up."""
    return f"jobgate:{database}:{topic}"


def budget_key(database: str, caller: str) -> str:
    """Where the budgets of a caller are kept."""
    return f"jobgate:{database}:budget:{caller}"


def pack(value: Any) -> bytes:
    """arq's serializer: never pickle, which runs whatever the one who can write to Redis wants."""
    packed: bytes = msgpack.packb(value, use_bin_type=True, default=str)
    return packed


def unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False)


def connect_redis(url: str, database: str, *, patient: bool = False) -> ArqRedis:
    """A pool that connects when it is first used. Raises :class:`UnsupportedStore`.

    ``patient``: try again for as long as it takes, as a worker does that waits for nudges; otherwise once more only, since
    after a restart of Redis the connections of the pool turn out to be dead when they are used.
    """
    if urlsplit(url).scheme not in _SCHEMES:
        raise UnsupportedStore("REDIS_URL must start with redis://, rediss:// or unix://")
    retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=-1) if patient else Retry(NoBackoff(), retries=1)
    pool = ConnectionPool.from_url(
        url,
        socket_connect_timeout=_ANSWER_SECONDS,
        socket_timeout=_ANSWER_SECONDS,
        retry=retry,
        retry_on_error=_WORTH_RETRYING,
    )
    return ArqRedis(pool, job_serializer=pack, job_deserializer=unpack, default_queue_name=queue_name(database))


async def open_redis(url: str, database: str, *, patient: bool = False) -> ArqRedis:
    """A pool that has connected. Raises ``StoreUnavailable``, :class:`UnsupportedStore`."""
    redis = connect_redis(url, database, patient=patient)
    try:
        await ping_redis(redis)
    except StoreUnavailable:
        await close_redis(redis)
        raise
    return redis


async def ping_redis(redis: ArqRedis) -> None:
    """Raise ``StoreUnavailable`` unless Redis answers."""
    try:
        await redis.ping()
    except REDIS_AWAY as error:
        raise StoreUnavailable("Redis", type(error).__name__) from error


async def close_redis(redis: ArqRedis) -> None:
    await redis.aclose(close_connection_pool=True)
