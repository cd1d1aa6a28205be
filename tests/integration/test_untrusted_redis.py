"""Whoever can write to Redis can put anything there: it has no effect but a line in the log, and the work goes on."""

import os
import pickle
import time
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest
import redis.asyncio
from arq.constants import job_key_prefix

from jobs.events import EventType
from storage.client import Database
from storage.redis import pack, queue_name
from tests.installation import Installation
from worker.context import TaskContext


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


def nudge(*arguments: Any, function: str = "run") -> bytes:
    """What arq stores for a job, packed as ours are."""
    return pack({"t": None, "f": function, "a": list(arguments), "k": {}, "et": int(time.time() * 1000)})


FOREIGN: Final = {
    "a job that there is not": nudge("job_nobody", 1, 1, 1, "demo.echo"),
    "another function": nudge("job_1", 1, 1, 1, "demo.echo", function="os.system"),
    "no arguments": nudge(),
    "wrong types": nudge({"$ne": None}, [1], True, None, "demo.echo"),
    "an operator for an id": nudge("$where", 1, 1, 1, "$function"),
    "a huge id": nudge("j" * 1_000_000, 1, 1, 1, "demo.echo"),
    "no text": nudge(b"\xff", 1, 1, 1, b"\xff"),
    "no arq job": msgpack.packb([1, 2, 3]),
    "one number": b"\x01",
    "nothing": b"",
    "garbage": b"\xc1\xff\x00 what is this",
    "a list that claims to be endless": b"\xdd\xff\xff\xff\xff",
    "a map that claims to be endless": b"\xdf\xff\xff\xff\xff",
    "very deep": b"\x91" * 100_000 + b"\xc0",
    "an extension": msgpack.packb(msgpack.ExtType(5, b"x" * 100)),
    "a time that there is not": b"\xd7\xff" + b"\xff" * 8,
    "a map with a list for a key": b"\x81\x91\x01\x01",
}


async def echo(_: TaskContext, value: Any) -> Any:
    return value


async def put(url: str, database: Database, name: str, content: bytes) -> None:
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.set(job_key_prefix + name, content)
        await client.zadd(queue_name(database.name), {name: 1})


async def work_goes_on(installation: Installation) -> None:
    job = await installation.dispatch()
    await installation.until(job, EventType.JOB_COMPLETED)
    assert [run.number for run in await installation.runs(job)] == [1]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
async def test_a_pickle_in_the_place_of_a_nudge_is_not_unpickled(
    installation: Installation, database: Database, redis_url: str, tmp_path: Path, protocol: int
) -> None:
    trap = tmp_path / "sprung"
    await put(redis_url, database, "trap", pickle.dumps(Trap(trap), protocol))
    await installation.worker({"demo.echo": echo})
    await work_goes_on(installation)
    assert not trap.exists()
    # It would have been, had anybody unpickled it.
    pickle.loads(pickle.dumps(Trap(trap), protocol))  # noqa: S301  # our own
    assert trap.exists()


@pytest.mark.parametrize("what", FOREIGN)
async def test_a_foreign_nudge_has_no_effect(
    installation: Installation, database: Database, redis_url: str, what: str
) -> None:
    await put(redis_url, database, "foreign", FOREIGN[what])
    await installation.worker({"demo.echo": echo})
    await work_goes_on(installation)
    assert await database["jobs"].count_documents({}) == 1


async def test_nudges_to_a_job_that_is_over_change_nothing(
    installation: Installation, database: Database, redis_url: str
) -> None:
    over = await installation.dispatch()
    await installation.worker({"demo.echo": echo})
    await installation.until(over, EventType.JOB_COMPLETED)
    await work_goes_on(installation)
    before = await database["jobs"].find_one({"_id": over.id}, {"outbox": False})
    for number, arguments in enumerate([(1, 1, 1), (2, 1, 1), (1, 2, 7), (1, 1, 2)]):
        await put(redis_url, database, f"foreign-{number}", nudge(over.id, *arguments, "demo.echo"))
    await work_goes_on(installation)
    assert await database["jobs"].find_one({"_id": over.id}, {"outbox": False}) == before
    assert [run.number for run in await installation.runs(over)] == [1]


async def test_ten_thousand_strange_names_in_the_queue_do_not_stop_it(
    installation: Installation, database: Database, redis_url: str
) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.zadd(queue_name(database.name), {b"\xff%d" % number: 1 for number in range(10_000)})
    await installation.worker({"demo.echo": echo})
    await work_goes_on(installation)
