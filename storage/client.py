"""Opening MongoDB: the one place that knows which driver is used.

Motor is what the product was asked to use. It is past its end of life, so nothing outside this module names it, and PyMongo's
own asyncio client, whose calls are the same, can be chosen instead.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, Final, TypeAlias, TypeVar

from bson.codec_options import CodecOptions
from bson.tz_util import utc
from pymongo import AsyncMongoClient, MongoClient
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from storage.errors import UnsupportedStore, mongodb_errors, url_errors

# A call by motor holds a thread for as long as it waits. Of these it has five for each core, unless this says otherwise when it
# is imported: on a small machine, changes that are waited for and slow questions would leave none to ordinary calls.
os.environ.setdefault("MOTOR_MAX_WORKERS", str(5 * (os.cpu_count() or 1) + 8))

from motor.motor_asyncio import AsyncIOMotorClient

Database: TypeAlias = Any
"""A database of either driver. Their calls are the same, their types have no common ancestor."""

Collection: TypeAlias = Any

Result = TypeVar("Result")

SELECTION_TIMEOUT_MS: Final = 5_000
"""How long an operation waits for a primary: an election takes about three seconds, a client should not wait for ever."""

SOCKET_TIMEOUT_MS: Final = 20_000

_OLDEST_SERVER: Final = (5, 0)

_TIMEOUTS: Final[dict[str, Any]] = {
    "serverSelectionTimeoutMS": SELECTION_TIMEOUT_MS,
    "connectTimeoutMS": SELECTION_TIMEOUT_MS,
    "socketTimeoutMS": SOCKET_TIMEOUT_MS,
    "appname": "jobgate",
}


class Driver(StrEnum):
    """The asyncio drivers that can be chosen."""

    MOTOR = "motor"
    PYMONGO = "pymongo"


def open_client(url: str, driver: Driver = Driver.MOTOR) -> Any:
    """A client of the chosen driver; nothing is sent yet. Its ``close`` differs: use :func:`close_client`."""
    with url_errors():
        if driver is Driver.MOTOR:
            return AsyncIOMotorClient(url, **_TIMEOUTS)
        return AsyncMongoClient(url, **_TIMEOUTS)


async def close_client(client: Any) -> None:
    """Close a client of either driver."""
    closing = client.close()
    if closing is not None:
        await closing


def open_database(client: Any, name: str) -> Database:
    """The database, with the guarantees that the product promises: majority, journaled, instants that know their zone."""
    return client.get_database(
        name,
        codec_options=CodecOptions(tz_aware=True, tzinfo=utc),
        write_concern=WriteConcern("majority", j=True),
        read_concern=ReadConcern("majority"),
    )


async def aggregate(collection: Collection, stages: list[dict[str, Any]], **options: Any) -> Any:
    """A cursor: motor answers it, PyMongo's asyncio client a coroutine that gives it."""
    cursor = collection.aggregate(stages, **options)
    return await cursor if hasattr(cursor, "__await__") else cursor


@asynccontextmanager
async def snapshot(database: Database) -> AsyncIterator[Any]:
    """A session whose reads all see the database as it was at the first of them: for 5 minutes at most."""
    async with open_session(database, snapshot=True) as session:
        yield session


async def transaction(session: Any, write: Callable[[Any], Awaitable[Result]]) -> Result:
    """What ``write`` answers, all of whose writes take place, or none. It is handed the session that they have to name.

    Where it is unknown whether the commit took place, that is asked again for two minutes at most. Whatever ``write`` raises
    comes out; a ``PyMongoError`` that says so is a reason to begin again first.
    """
    result: Result = await session.with_transaction(
        write, read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority", j=True)
    )
    return result


async def end_session(database: Database, session_id: Any) -> None:
    """Undo the transaction that is open in a session of another process of ours, if there is one.

    MongoDB keeps the transaction of a client that died for a minute, and whatever it has written to locked.
    """
    await database.client.admin.command("killSessions", [{"id": session_id}])


@asynccontextmanager
async def open_session(database: Database, **options: Any) -> AsyncIterator[Any]:
    """A session of either driver, for transactions one after the other; ended with the block."""
    session = database.client.start_session(**options)
    async with await session if hasattr(session, "__await__") else session as begun:
        yield begun


def open_sync_client(url: str, timeout_ms: int) -> MongoClient[dict[str, Any]]:
    """A blocking client, for the thread whose heartbeats must not depend on the event loop.

    Whatever it is asked to do has failed after the timeout, connecting anew and asking once more included.
    """
    limits = ("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS")
    timeouts = {**_TIMEOUTS, **dict.fromkeys(limits, timeout_ms)}
    with url_errors():
        return MongoClient(url, maxPoolSize=2, timeoutMS=timeout_ms, **timeouts)


async def ping_database(database: Database) -> None:
    """Raise ``StoreUnavailable`` unless a primary answers."""
    with mongodb_errors():
        await database.command("ping")


async def check_server(client: Any) -> None:
    """Raise :class:`UnsupportedStore` for a standalone or too old server, ``StoreUnavailable`` when none answers."""
    with mongodb_errors():
        hello = await client.admin.command("hello")
        build = await client.admin.command("buildInfo")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise UnsupportedStore(
            "MONGODB_URL leads to a standalone mongod. Jobgate needs a replica set (one member is enough): start mongod "
            "with --replSet rs0 and run rs.initiate() once"
        )
    if tuple(build["versionArray"][:2]) < _OLDEST_SERVER:
        raise UnsupportedStore(f"MongoDB {build['version']} is too old: Jobgate needs 5.0 or newer")
