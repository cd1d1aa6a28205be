"""First contact with the stores: answered, or refused in time and without giving passwords away."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import pytest
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.errors import StoreUnavailable
from storage.bootstrap import _moved, initiate_replica_set, ping_mongodb, ping_redis
from storage.client import Database
from storage.indexes import create_indexes
from storage.redis import open_redis

SHORT: Final = timedelta(milliseconds=200)


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_servers_that_run_answer(servers: Servers) -> None:
    await ping_mongodb(servers.mongodb_url, timedelta(seconds=10))
    await ping_redis(servers.redis_url, timedelta(seconds=10))


async def test_a_mongodb_that_does_not_answer_is_named_by_host_only(mute: int) -> None:
    with pytest.raises(StoreUnavailable, match=f"MongoDB is unavailable: no answer at 127.0.0.1:{mute} ") as failed:
        await ping_mongodb(f"mongodb://someone:secret@127.0.0.1:{mute}/", SHORT)
    assert "secret" not in str(failed.value)


async def test_a_redis_that_does_not_answer_is_named_by_host_only(mute: int) -> None:
    with pytest.raises(StoreUnavailable, match=f"Redis is unavailable: no answer at 127.0.0.1:{mute} ") as failed:
        await ping_redis(f"redis://:secret@127.0.0.1:{mute}/0", SHORT)
    assert "secret" not in str(failed.value)


async def test_a_set_that_does_not_get_a_primary_in_time_is_unavailable(mute: int) -> None:
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{mute}: not primary within"):
        await initiate_replica_set(f"mongodb://127.0.0.1:{mute}/?replicaSet=rs0", SHORT)


async def test_a_server_that_is_primary_already_is_left_as_it_is(
    servers: Servers, mongodb: MongoClient[dict[str, Any]]
) -> None:
    before = mongodb.admin.command("replSetGetConfig")["config"]

    await asyncio.gather(*(initiate_replica_set(servers.mongodb_url) for _ in range(3)))

    assert mongodb.admin.command("replSetGetConfig")["config"] == before


def test_a_set_of_several_members_is_never_taken_over() -> None:
    with pytest.raises(ValueError, match="replica set rs0 has 2 members"):
        _moved({"_id": "rs0", "version": 1, "members": [{"host": "a"}, {"host": "b"}]}, "127.0.0.1:1")


async def test_a_redis_that_takes_connections_in_silence_holds_nobody_up(mute: int) -> None:
    async with asyncio.timeout(8):  # two tries of two seconds each
        with pytest.raises(StoreUnavailable, match="Redis is unavailable"):
            await open_redis(f"redis://127.0.0.1:{mute}/0", "test")


async def test_an_index_that_was_defined_otherwise_before_is_made_anew(database: Database) -> None:
    await database["jobs"].drop_index("backlog")
    await database["jobs"].create_index([("priority", 1)], name="backlog")
    await create_indexes(database)
    keys = (await database["jobs"].index_information())["backlog"]["key"]
    assert [field for field, _ in keys] == ["namespace", "task", "priority", "scheduled_at"]


async def test_an_index_that_had_another_name_before_is_made_anew(database: Database) -> None:
    await database["jobs"].drop_index("backlog")
    keys = [("namespace", 1), ("task", 1), ("priority", -1), ("scheduled_at", 1)]
    await database["jobs"].create_index(keys, name="before", partialFilterExpression={"status": "queued"})
    await create_indexes(database)
    there = await database["jobs"].index_information()
    assert "backlog" in there
    assert "before" not in there
