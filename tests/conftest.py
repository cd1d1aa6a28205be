"""Fixtures for every test: the real stores, started once per test process, and a clean corner of them per test."""

import asyncio
import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import hypothesis
import pytest
import redis
from pymongo import MongoClient

from gateway.devstack import Devstack, Servers
from storage.client import Database, Driver, close_client, open_client, open_database
from storage.indexes import create_indexes
from tests.databases import Databases, new_name
from tests.failing import FailingMongod
from tests.secrecy import HITS, Watching, files_content, keep_all_writes, mongodb_content, redis_content, search

# A first example pays for imports and caches; a slow machine is no reason to fail.
hypothesis.settings.register_profile("jobgate", deadline=None, print_blob=True)
hypothesis.settings.load_profile("jobgate")

# What every Redis has. Number 0 is left alone, to show up what forgets to use the number it was given.
REDIS_DATABASES: Final = itertools.cycle(range(1, 16))

_OTHER_SERVERS: Final = {"own_servers", "failing_mongod"}
"""Fixtures with servers of their own, where nobody cleans."""

_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a folder of its own is made there
_MUCH: Final = 8 * 2**30

Outcome = TypeVar("Outcome")
StartServers: TypeAlias = Callable[[], Awaitable[Devstack]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--jobs", type=int, default=20_000, help="how many there are to read page by page")
    parser.addoption("--events", type=int, default=1_000, help="how many are made while connections are cut")
    parser.addoption("--deliveries", type=int, default=240, help="how many are made to a hostile receiver")


def memory() -> Path | None:
    """Where files are in memory, if there is much of it: the tests wait for the disk at each of very many writes."""
    there = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _MUCH
    return _MEMORY if there else None


def run(coroutine: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Run ``coroutine`` on a loop of its own, without touching the one that pytest-asyncio has set for the thread."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(coroutine)


@pytest.fixture(scope="session", autouse=True)
def _no_secret_is_logged() -> Iterator[None]:
    """Fails the run if anything of it has logged what lets somebody in, here or in a process of the product."""
    watching, root, ours = Watching(), logging.getLogger(), logging.getLogger("jobgate")
    root.addHandler(watching)
    # Else nothing below a warning is even made here, whatever it would tell.
    ours.setLevel(logging.DEBUG)
    yield
    is_watching = watching in root.handlers and ours.level == logging.DEBUG
    root.removeHandler(watching)
    assert is_watching, "something has replaced what looks at the log"
    assert HITS == []


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """MongoDB and Redis for all tests of this process. Do not stop them: see ``own_servers``.

    Fails the run if anything of it has ever written there what lets somebody in.
    """
    with tempfile.TemporaryDirectory(prefix="jobgate-tests-", dir=memory()) as folder:
        stack = Devstack(Path(folder))
        started = run(stack.start())
        try:
            keep_all_writes(started.redis_url)
            yield started
            contents = (
                mongodb_content(started.mongodb_url),
                redis_content(started.redis_url),
                files_content(Path(folder)),
            )
            assert search(itertools.chain(*contents)) == []
        finally:
            run(stack.stop())


@pytest.fixture(scope="session")
def mongodb(servers: Servers) -> Iterator[MongoClient[dict[str, Any]]]:
    """A plain client, for setting up and looking behind the scenes."""
    with MongoClient[dict[str, Any]](servers.mongodb_url, tz_aware=True) as client:
        yield client


@pytest.fixture(scope="session")
def databases(mongodb: MongoClient[dict[str, Any]]) -> Iterator[Databases]:
    databases = Databases(mongodb)
    yield databases
    databases.drop_all()


@pytest.fixture
def database_name(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """The name of a database that no other test uses meanwhile."""
    if _OTHER_SERVERS & set(request.fixturenames):
        yield new_name()
        return
    name = databases.take()
    yield name
    databases.give_back(name)


@pytest.fixture
def redis_url(servers: Servers) -> Iterator[str]:
    """The url of an empty Redis database; it is emptied afterwards. Pub/sub channels are common to all of them."""
    url = servers.redis_url.removesuffix("/0") + f"/{next(REDIS_DATABASES)}"
    yield url
    with redis.Redis.from_url(url) as client:
        client.flushdb()


@pytest.fixture
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What clients get wrong is theirs, and so is when they leave: neither leaves a traceback."""
    yield
    # By now, ``caplog.records`` has only what was logged since the test has ended.
    records = caplog.get_records("call") + caplog.records
    assert [record.getMessage() for record in records if record.exc_info or record.levelno >= logging.ERROR] == []


@pytest.fixture
async def own_servers(tmp_path: Path) -> AsyncIterator[StartServers]:
    """Starts a MongoDB and a Redis that belong to this test alone, to be killed and restarted at will."""
    stacks: list[Devstack] = []

    async def start() -> Devstack:
        stack = Devstack(tmp_path / f"servers-{len(stacks)}")
        stacks.append(stack)
        await stack.start()
        return stack

    yield start
    await asyncio.gather(*(stack.stop() for stack in stacks))


@pytest.fixture(scope="session")
def failing_mongod() -> Iterator[FailingMongod]:
    """A MongoDB that can be told to fail. Each test has a database of its own there, by the fixture ``database_name``."""
    with tempfile.TemporaryDirectory(prefix="jobgate-failing-", dir=memory()) as folder:
        mongod = FailingMongod(Path(folder))
        run(mongod.server.start())
        try:
            yield mongod
            assert search(mongodb_content(mongod.url)) == []
        finally:
            run(mongod.server.stop())


@asynccontextmanager
async def opened(url: str, name: str, driver: Driver) -> AsyncIterator[Database]:
    """A database with all its indexes."""
    client = open_client(url, driver)
    try:
        database = open_database(client, name)
        await create_indexes(database)
        yield database
    finally:
        await close_client(client)


@pytest.fixture
async def database(servers: Servers, database_name: str) -> AsyncIterator[Database]:
    """This test's database, through the driver that the product uses."""
    async with opened(servers.mongodb_url, database_name, Driver.MOTOR) as database:
        yield database


@pytest.fixture(params=list(Driver))
async def any_database(request: pytest.FixtureRequest, servers: Servers, database_name: str) -> AsyncIterator[Database]:
    """This test's database, once through each driver that can be chosen."""
    async with opened(servers.mongodb_url, database_name, request.param) as database:
        yield database
