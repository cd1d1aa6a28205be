"""Opening Redis as arq wants it. Redis carries nudges and wake-ups; nothing in it is ever missed when it is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import msgpack
from arq.connections import ArqRedis, RedisSettings, create_pool
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
_SCHEMES_REFUSED: Final = "REDIS_URL must start with redis://, rediss:// or unix://"


def queue_name(database: str) -> str:
    """The arq queue of an installation. Installations that share a Redis are told apart by their database's name."""
    return f"jobgate:{database}:queue"


def channel_name(database: str, topic: str) -> str:
    """The pub/sub channel of a wake-up."""
    return f"jobgate:{database}:{topic}"


def pack(value: Any) -> bytes:
    """arq's serializer: never pickle, which runs whatever the one who can write to Redis wants."""
    packed: bytes = msgpack.packb(value, use_bin_type=True, default=str)
    return packed


def unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False)


def redis_settings(url: str, *, patient: bool) -> RedisSettings:
    """Settings for ``url``. ``patient``: reconnect for as long as it takes, as a worker does; a gateway gives up at once."""
    if urlsplit(url).scheme not in _SCHEMES:
        raise UnsupportedStore(_SCHEMES_REFUSED)
    settings = RedisSettings.from_dsn(url)
    if not patient:
        return replace(settings, conn_retries=0, conn_timeout=1)
    backoff = ExponentialBackoff(cap=1.0, base=0.05)
    # arq's first connection has a loop of its own; 10 000 tries a second apart are hours.
    return replace(
        settings, retry=Retry(backoff, retries=-1), retry_on_error=_WORTH_RETRYING, conn_retries=10_000, conn_timeout=2
    )


def open_redis_lazily(url: str, database: str) -> ArqRedis:
    """A pool that connects when it is first used, for a process that has to live while Redis is away."""
    if urlsplit(url).scheme not in _SCHEMES:
        raise UnsupportedStore(_SCHEMES_REFUSED)
    # One more try: after a restart of Redis the connections of the pool turn out to be dead when they are used.
    pool = ConnectionPool.from_url(
        url, socket_connect_timeout=1, retry=Retry(NoBackoff(), retries=1), retry_on_error=_WORTH_RETRYING
    )
    return ArqRedis(pool, job_serializer=pack, job_deserializer=unpack, default_queue_name=queue_name(database))


async def open_redis(url: str, database: str, *, patient: bool = False) -> ArqRedis:
    """A connected pool. Raises ``StoreUnavailable``."""
    try:
        return await create_pool(
            redis_settings(url, patient=patient),
            job_serializer=pack,
            job_deserializer=unpack,
            default_queue_name=queue_name(database),
        )
    except REDIS_AWAY as error:
        raise StoreUnavailable("Redis", type(error).__name__) from error


async def ping_redis(redis: ArqRedis) -> None:
    """Raise ``StoreUnavailable`` unless Redis answers."""
    try:
        await redis.ping()
    except REDIS_AWAY as error:
        raise StoreUnavailable("Redis", type(error).__name__) from error


async def close_redis(redis: ArqRedis) -> None:
    await redis.aclose(close_connection_pool=True)
