"""The embedded servers: found again after a restart, ended with whoever started them, and plain about what is missing."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from pymongo import MongoClient

from gateway.devstack import Devstack, DevstackError, Servers
from gateway.devstack.binaries import find_program, find_redis_server
from gateway.devstack.failures import last_words
from gateway.devstack.ports import is_free
from tests.processes import ended, runs

ROOT: Final = Path(__file__).parents[2]
DEADLINE_SECONDS: Final = 20.0

PARENT: Final = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from gateway.devstack import Devstack

    async def main():
        stack = Devstack(Path(sys.argv[1]))
        await stack.start()
        print(stack.mongod.pid, stack.redis.pid, flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())
""")


def insert(url: str, key: str) -> None:
    with MongoClient[dict[str, Any]](url) as client:
        client.get_database("kept").get_collection("things").insert_one({"_id": key})


def stored(url: str) -> list[str]:
    with MongoClient[dict[str, Any]](url) as client:
        return [thing["_id"] for thing in client.get_database("kept").get_collection("things").find()]


def write_program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs a stack in ``tmp_path / "data"``, once it has printed the ids of its servers."""
    command = [sys.executable, "-c", PARENT, str(tmp_path / "data")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own
        yield process
        process.kill()


def server_pids(parent: subprocess.Popen[str]) -> list[int]:
    assert parent.stdout is not None
    return [int(pid) for pid in parent.stdout.readline().split()]


async def test_both_servers_can_be_used_and_the_data_outlives_a_restart(tmp_path: Path) -> None:
    async with Devstack(tmp_path) as servers:
        insert(servers.mongodb_url, "first")
        with redis.Redis.from_url(servers.redis_url) as client:
            assert client.ping() is True

    async with Devstack(tmp_path) as again:
        assert again == servers
        assert stored(again.mongodb_url) == ["first"]


async def test_the_data_is_there_when_the_port_was_taken_by_somebody_else_meanwhile(tmp_path: Path) -> None:
    stack = Devstack(tmp_path)
    async with stack as servers:
        insert(servers.mongodb_url, "first")

    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", stack.mongod.port))
        async with Devstack(tmp_path) as elsewhere:
            assert elsewhere.mongodb_url != servers.mongodb_url
            assert elsewhere.redis_url == servers.redis_url
            insert(elsewhere.mongodb_url, "second")
            assert stored(elsewhere.mongodb_url) == ["first", "second"]


async def test_a_start_that_loses_its_port_at_the_last_moment_takes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = squatter.getsockname()[1]
        (tmp_path / "redis-server.port").write_text(str(taken))
        monkeypatch.setattr("gateway.devstack.ports.is_free", lambda port: True)

        async with Devstack(tmp_path, mongodb_url="mongodb://elsewhere") as servers:
            assert servers.redis_url != f"redis://127.0.0.1:{taken}/0"


async def test_stopping_leaves_no_process_and_no_listener(tmp_path: Path) -> None:
    stack = Devstack(tmp_path)
    async with stack:
        pids = [stack.mongod.pid, stack.redis.pid]
        assert [runs(pid) for pid in pids] == [True, True]

    assert [runs(pid) for pid in pids] == [False, False]
    assert is_free(stack.mongod.port)
    assert is_free(stack.redis.port)


async def test_only_what_has_no_address_is_started(tmp_path: Path) -> None:
    async with Devstack(tmp_path / "a", mongodb_url="mongodb://elsewhere") as servers:
        assert servers.mongodb_url == "mongodb://elsewhere"
        assert not (tmp_path / "a" / "mongod").exists()

    async with Devstack(tmp_path / "b", mongodb_url="mongodb://m", redis_url="redis://r") as servers:
        assert servers == Servers("mongodb://m", "redis://r")
    assert not (tmp_path / "b").exists()


async def test_a_killed_server_comes_back_on_its_port_with_its_data(tmp_path: Path) -> None:
    stack = Devstack(tmp_path)
    async with stack as servers:
        insert(servers.mongodb_url, "first")
        killed = stack.mongod.pid
        await asyncio.gather(stack.mongod.kill(), stack.redis.kill())
        assert not runs(killed)
        with pytest.raises(DevstackError, match="mongod does not run"):
            _ = stack.mongod.pid

        await asyncio.gather(stack.mongod.restart(), stack.redis.restart())
        assert (stack.mongod.url, stack.redis.url) == (servers.mongodb_url, servers.redis_url)
        assert stored(servers.mongodb_url) == ["first"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of the end of its parent")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
async def test_the_servers_end_when_the_process_that_started_them_does(
    parent: subprocess.Popen[str], sent: signal.Signals
) -> None:
    pids = server_pids(parent)
    assert [runs(pid) for pid in pids] == [True, True]

    parent.send_signal(sent)

    await asyncio.gather(*map(ended, pids))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of the end of its parent")
async def test_the_folder_of_a_killed_process_can_be_used_at_once(
    parent: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.devstack.folder.ORPHANS_SECONDS", 40)
    pids = server_pids(parent)
    parent.kill()
    parent.wait(DEADLINE_SECONDS)

    async with Devstack(tmp_path / "data"):
        assert not any(runs(pid) for pid in pids)


async def test_a_terminals_interrupt_does_not_reach_the_servers(parent: subprocess.Popen[str]) -> None:
    assert os.getsid(parent.pid) not in {os.getsid(pid) for pid in server_pids(parent)}


async def test_a_folder_in_use_is_refused_by_the_id_of_its_user(parent: subprocess.Popen[str], tmp_path: Path) -> None:
    server_pids(parent)

    with pytest.raises(DevstackError) as refused:
        await Devstack(tmp_path / "data").start()

    assert str(refused.value).startswith(f"{tmp_path / 'data'} is in use by process {parent.pid}")
    assert "\n" not in str(refused.value)


async def test_a_missing_library_is_named_with_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = "error while loading shared libraries: libcurl.so.4: cannot open shared object file: No such file"
    write_program(tmp_path / "bin", "mongod", f'echo "$0: {loader}" >&2; exit 127')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    with pytest.raises(DevstackError) as failed:
        await Devstack(tmp_path / "data").start()

    said = str(failed.value)
    assert said == "mongod needs the library libcurl.so.4: apt-get install libcurl4, or set MONGODB_URL"


async def test_a_failed_start_leaves_nothing_running_and_the_folder_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(tmp_path / "bin", "mongod", "echo one; echo two; exit 14")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        stack = Devstack(tmp_path / "data")
        with pytest.raises(DevstackError, match="mongod ended at once with status 14: one / two"):
            await stack.start()
        with pytest.raises(DevstackError, match="redis-server does not run"):
            _ = stack.redis.pid

    async with Devstack(tmp_path / "data"):
        pass


async def test_a_start_that_is_called_off_leaves_nothing_running(tmp_path: Path) -> None:
    stack = Devstack(tmp_path)
    starting = asyncio.create_task(stack.start())
    while not (tmp_path / "mongod.log").exists():  # the process has been made, and is far from ready
        await asyncio.wait({starting}, timeout=0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    async with Devstack(tmp_path):
        pass


def test_a_platform_without_the_program_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    for package in ("no_such_parent.package", "no_such_package", "json"):
        with pytest.raises(DevstackError) as failed:
            find_program("mongod", package, "MONGODB_URL", "a replica set")
        assert str(failed.value).endswith("install mongod, or set MONGODB_URL to a replica set of your own")


def test_a_program_on_the_path_wins_over_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_program(tmp_path / "bin", "redis-server", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert find_redis_server() == tmp_path / "bin" / "redis-server"


def test_of_mongods_log_the_errors_are_quoted_and_of_others_the_end() -> None:
    info = '{"s": "I", "msg": "Shutting down", "attr": {}}'
    fatal = '{"s": "F", "msg": "Wrong data files", "attr": {"error": "too new"}}'

    assert last_words(f"{fatal}\n{info}\n") == 'Wrong data files {"error": "too new"}'
    assert last_words("1\n\n2\n3\n4\n") == "2 / 3 / 4"
    assert last_words("[]\n") == "[]"
    assert last_words("") == "it said nothing"
