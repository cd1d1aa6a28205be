"""``jobgate dev`` as somebody at a terminal meets it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest

from examples.shop.client import Gateway, Refused
from examples.shop.feed import open_feed
from gateway.devstack.folder import hold_folder
from gateway.devstack.kinds import MONGOD
from gateway.devstack.ports import is_free
from gateway.devstack.server import Server
from jobs.feed import feed_cursor
from tests.processes import arguments_of, descendants, ended, runs
from tests.programs import said, spawn

DEADLINE: Final = 60.0
TAG: Final = "dev"
FIRST: Final = feed_cursor(0)

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True, slots=True)
class Dev:
    """A running ``jobgate dev`` that has said that it is ready."""

    process: asyncio.subprocess.Process
    url: str

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0


@asynccontextmanager
async def developing(data: Path, *arguments: str, **environment: str) -> AsyncIterator[Dev]:
    process = await spawn("dev", "--port", "0", "--data", str(data), *arguments, **environment)
    assert process.stdout is not None
    assert process.stderr is not None
    log = asyncio.create_task(process.stderr.read())
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), DEADLINE)).decode()
        assert line.startswith("ready http://127.0.0.1:"), line
        yield Dev(process, line.split()[1])
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await asyncio.wait_for(asyncio.gather(process.wait(), log), DEADLINE)


async def interrupt(dev: Dev, signum: signal.Signals = signal.SIGINT) -> int:
    """End it as Ctrl-C does; its exit status."""
    dev.process.send_signal(signum)
    return await asyncio.wait_for(dev.process.wait(), DEADLINE)


async def until_taken(gateway: Gateway, request: dict[str, Any]) -> str:
    """Dispatch as a client is told to: once more, when MongoDB is away for longer than a gateway waits for it."""
    while True:
        try:
            job_id: str = (await gateway.dispatch(request))["id"]
        except Refused as refusal:
            if "MongoDB is unavailable" not in str(refusal):
                raise
        else:
            return job_id


async def dispatch_echo(dev: Dev) -> str:
    """The id of a job that has been run."""
    request = {"namespace": "demo", "task": "echo", "product": "shop", "env": "dev", "tags": [TAG], "input": "kept"}
    async with httpx.AsyncClient(timeout=30) as http, asyncio.timeout(DEADLINE):
        job_id = await until_taken(Gateway(http, dev.url), request)
        async with open_feed(dev.url, TAG, after=FIRST) as feed:
            await feed.follow_until(lambda: feed.is_over(job_id))
    return job_id


async def test_an_interrupt_leaves_nothing_behind_and_the_next_start_still_has_the_jobs(tmp_path: Path) -> None:
    async with developing(tmp_path) as dev:
        job_id = await dispatch_echo(dev)
        processes = descendants(dev.process.pid)
        assert len(processes) == 4
        assert await interrupt(dev) == 0
        assert [pid for pid in processes if runs(pid)] == []
        assert is_free(dev.port)
    async with developing(tmp_path) as dev, httpx.AsyncClient(timeout=30) as http:
        record = await Gateway(http, dev.url).record(job_id)
        assert record["job"]["status"] == "COMPLETED"
        assert record["history"]["executions"][0]["result"] == "kept"
        assert await interrupt(dev, signal.SIGTERM) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of the end of its parent")
async def test_nothing_outlives_a_killed_one(tmp_path: Path) -> None:
    async with developing(tmp_path) as dev:
        processes = descendants(dev.process.pid)
        dev.process.kill()
        await asyncio.gather(*map(ended, processes))
        assert is_free(dev.port)


async def test_a_worker_that_dies_is_started_again(tmp_path: Path) -> None:
    async with developing(tmp_path) as dev:
        [worker] = [pid for pid in descendants(dev.process.pid) if "worker" in arguments_of(pid)]
        os.kill(worker, signal.SIGKILL)
        await dispatch_echo(dev)


@pytest.mark.parametrize("program", ["mongod", "redis-server"])
async def test_a_server_that_dies_is_started_again(tmp_path: Path, program: str) -> None:
    async with developing(tmp_path) as dev:
        [server] = [
            pid for pid in descendants(dev.process.pid) if Path(arguments_of(pid)[0].split()[0]).name == program
        ]
        os.kill(server, signal.SIGKILL)
        await ended(server)
        await dispatch_echo(dev)


async def test_graphiql_is_served(tmp_path: Path) -> None:
    async with developing(tmp_path) as dev, httpx.AsyncClient(timeout=30) as http:
        page = await http.get(dev.url, headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "GraphiQL" in page.text


async def test_a_port_in_use_is_told_in_one_line_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = await said("dev", "--port", str(port), "--data", str(tmp_path / "data"))
    assert (status, out) == (1, "")
    assert err == f"jobgate: port {port} is in use; choose another --port, or 0 for any that is free\n"
    assert not (tmp_path / "data").exists()


async def test_data_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    held = await hold_folder(tmp_path)
    try:
        status, out, err = await said("dev", "--port", "0", "--data", str(tmp_path))
    finally:
        os.close(held)
    assert (status, out) == (1, "")
    assert err == f"jobgate: {tmp_path} is in use by process {os.getpid()}: end that one, or use another\n"


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"JOBGATE_LEASE": "3"}, "there is no setting JOBGATE_LEASE"),
        ({"JOBGATE_PORT": "high"}, "JOBGATE_PORT: input should be a valid integer"),
        ({"MONGODB_URL": "postgres://user:secret@db"}, "MONGODB_URL is not a URL of the right kind"),
    ],
)
async def test_a_setting_that_is_unknown_or_malformed_is_refused_by_name(
    environment: dict[str, str], complaint: str
) -> None:
    for command in ("dev", "serve", "worker", "doctor"):
        status, _, err = await said(command, **environment)
        assert status == 1
        assert err.startswith(f"jobgate: {complaint}")
        assert err.count("\n") == 1
        assert "secret" not in err


@pytest.mark.parametrize("command", ["serve", "worker"])
async def test_a_process_without_stores_says_what_to_set(command: str) -> None:
    status, _, err = await said(command)
    assert (status, err) == (
        1,
        "jobgate: set MONGODB_URL and REDIS_URL, or run `jobgate dev`, which brings its own servers\n",
    )


async def test_tasks_that_cannot_be_loaded_are_told_by_the_worker(tmp_path: Path) -> None:
    stores = {"MONGODB_URL": "mongodb://127.0.0.1:1", "REDIS_URL": "redis://127.0.0.1:1"}
    status, _, err = await said("worker", "--tasks", "nowhere.tasks", **stores)
    assert (status, err) == (1, "jobgate: there is no module 'nowhere.tasks'\n")


async def test_a_standalone_mongod_is_refused_with_what_to_do(tmp_path: Path, redis_url: str) -> None:
    async def nothing_to_settle(_: str) -> None: ...

    def alone(port: int, data: Path) -> list[str]:
        return [one for one in MONGOD.arguments(port, data) if one not in ("--replSet", "rs0")]

    lonely = replace(MONGOD, url="mongodb://127.0.0.1:{port}", arguments=alone, settle=nothing_to_settle)
    server = Server(lonely, tmp_path)
    await server.start()
    try:
        for command in ("serve", "worker"):
            status, _, err = await said(command, MONGODB_URL=server.url, REDIS_URL=redis_url, JOBGATE_PORT="0")
            assert status == 1
            assert err.splitlines()[-1].startswith("jobgate: MONGODB_URL leads to a standalone mongod. Jobgate needs")
    finally:
        await server.stop()
