"""First contact with the stores: does a server answer, and is a lone MongoDB the primary of a replica set yet?

What is here runs before anything else of this package: it opens connections of its own and closes them again.
"""

import asyncio
from datetime import timedelta
from typing import Any, Final

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri
from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs.errors import StoreUnavailable

Document = dict[str, Any]

TOO_EARLY_OR_DONE: Final = {23, 94, 109}
"""AlreadyInitialized, NotYetInitialized, ConfigurationInProgress: what the next look will have sorted out."""

DEFAULT_SET_NAME: Final = "rs0"
LOOK_AGAIN_SECONDS: Final = 0.01


async def ping_mongodb(url: str, timeout: timedelta) -> None:
    """Return once the MongoDB at ``url`` has answered; raise StoreUnavailable when it has not within ``timeout``.

    The error names hosts, never the url, which may carry a password.
    """
    milliseconds = int(timeout.total_seconds() * 1000)
    hosts = ", ".join(f"{host}:{port}" for host, port in parse_uri(url)["nodelist"])
    client: AsyncMongoClient[Document] = AsyncMongoClient(url, serverSelectionTimeoutMS=milliseconds)
    async with client:
        try:
            await client.admin.command("ping")
        except PyMongoError as error:
            raise StoreUnavailable("MongoDB", f"no answer at {hosts} ({type(error).__name__})") from error


async def ping_redis(url: str, timeout: timedelta) -> None:
    """Return once the Redis at ``url`` has answered; raise StoreUnavailable when it has not within ``timeout``."""
    client = Redis.from_url(url)
    place = client.connection_pool.connection_kwargs
    address = place.get("path") or f"{place.get('host', 'localhost')}:{place.get('port', 6379)}"
    async with client:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await client.execute_command("PING")
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            raise StoreUnavailable("Redis", f"no answer at {address} ({type(error).__name__})") from error


async def initiate_replica_set(url: str, timeout: timedelta = timedelta(seconds=60)) -> None:
    """Make the one server that ``url`` names the primary of a replica set of its own, and wait until it is.

    Can be repeated at will. A server that was moved to another port since takes its place in the set anew. MongoDB
    then first looks for itself at the old address, for half a minute if something there takes connections in silence.
    Raises StoreUnavailable when it is not primary within ``timeout``, and ValueError for a set of several members,
    which is never ours to change.
    """
    parsed = parse_uri(url)
    [(host, port)] = parsed["nodelist"]
    name = parsed["options"].get("replicaSet", DEFAULT_SET_NAME)
    # A direct connection: until it is initiated the server belongs to no set that a driver could discover.
    client: AsyncMongoClient[Document] = AsyncMongoClient(host, port, directConnection=True)
    async with client:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await _until_primary(client, name, f"{host}:{port}")
        except (PyMongoError, TimeoutError) as error:
            detail = str(error) or f"not primary within {timeout}"
            raise StoreUnavailable("MongoDB", f"{host}:{port}: {detail}") from error


async def _until_primary(client: AsyncMongoClient[Document], name: str, address: str) -> None:
    while not (await client.admin.command("hello"))["isWritablePrimary"]:
        await _configure(client, name, address)
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _configure(client: AsyncMongoClient[Document], name: str, address: str) -> None:
    """One step towards a set whose only member is ``address``; a step that comes too early is simply repeated."""
    # Read from where it is stored: asked for it, a server that is still loading its configuration says that it has
    # none, and to be given one in that moment ends it.
    config = await client.local["system.replset"].find_one()
    try:
        if config is None:
            await client.admin.command("replSetInitiate", {"_id": name, "members": [{"_id": 0, "host": address}]})
        elif _only_member(config)["host"] != address:
            await client.admin.command("replSetReconfig", _moved(config, address), force=True)
    except OperationFailure as error:
        if error.code not in TOO_EARLY_OR_DONE:
            raise


def _only_member(config: Document) -> Document:
    members: list[Document] = config["members"]
    if len(members) != 1:
        raise ValueError(f"replica set {config['_id']} has {len(members)} members: it is not an embedded one")
    return members[0]


def _moved(config: Document, address: str) -> Document:
    return {**config, "version": config["version"] + 1, "members": [{**_only_member(config), "host": address}]}
