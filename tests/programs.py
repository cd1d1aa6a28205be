"""The product as its users run it: a gateway and workers as processes of their own, on the servers of the tests."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.children import Child, kept
from gateway.devstack import Servers
from gateway.devstack.ports import choose_port, is_free
from gateway.urls import graphql_url
from tests.secrecy import HITS, findings

HOST: Final = "127.0.0.1"
DEADLINE: Final = 60.0
LEASE_SECONDS: Final = 2

NOBODY_IS_ASKED: Final = {"JOBGATE_AUTH": "none"}
"""Unless a test is about who asks."""

_SETTINGS: Final = {
    **NOBODY_IS_ASKED,
    "JOBGATE_LEASE_SECONDS": str(LEASE_SECONDS),
    "JOBGATE_SWEEP_SECONDS": "0.2",
    "JOBGATE_RENUDGE_SECONDS": "1",
    "JOBGATE_CANCEL_GRACE_SECONDS": "1",
}


@dataclass(frozen=True, slots=True)
class System:
    """A gateway and its workers; each is started again when it dies, as a supervisor would."""

    url: str
    gateway: Child
    workers: list[Child]

    def kill(self, child: Child) -> None:
        """End it without a chance to put anything in order."""
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)

    def pids(self) -> list[int | None]:
        return [child.pid for child in (self.gateway, *self.workers)]


@asynccontextmanager
async def running(servers: Servers, database: str, *, workers: int = 1, **settings: str) -> AsyncIterator[System]:
    """The product, ready; with ``settings`` on top of those that make it quick to notice what is lost."""
    environment = _environment(servers, database, settings)
    async with AsyncExitStack() as stack:
        log = stack.enter_context(_said_to_all())
        url, gateway = await stack.enter_async_context(_gateway("gateway", environment, log))
        names = [f"worker {number}" for number in range(workers)]
        children = [
            await stack.enter_async_context(kept(Child(name, ["worker"], environment, log=log))) for name in names
        ]
        yield System(url, gateway, children)


@contextmanager
def _said_to_all() -> Iterator[Path]:
    """A file for what processes say: shown at their end, and looked through for secrets."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "all.log"
        log.touch()
        try:
            yield log
        finally:
            sys.stderr.write(log.read_text(errors="replace"))
            _look_through(log)


@asynccontextmanager
async def gateways(
    servers: Servers, database: str, count: int, log: Path, **settings: str
) -> AsyncIterator[list[tuple[str, Child]]]:
    """So many gateways of one installation, each with its address, and no worker. They say what they say to one file."""
    environment = _environment(servers, database, settings)
    async with AsyncExitStack() as stack:
        names = [f"gateway {number}" for number in range(count)]
        yield [await stack.enter_async_context(_gateway(name, environment, log)) for name in names]
    _look_through(log)


def _look_through(log: Path) -> None:
    HITS.extend(findings(f"what processes say in {log.name}", log.read_bytes()))


def _environment(servers: Servers, database: str, settings: Mapping[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        **_SETTINGS,
        **settings,
        "MONGODB_URL": servers.mongodb_url,
        "REDIS_URL": servers.redis_url,
        "JOBGATE_DATABASE": database,
    }


@asynccontextmanager
async def _gateway(
    name: str, environment: Mapping[str, str], log: Path | None = None
) -> AsyncIterator[tuple[str, Child]]:
    async with AsyncExitStack() as stack:
        for may_be_taken in (True, True, False):
            port = choose_port(None)
            child = Child(name, ["serve"], {**environment, "JOBGATE_PORT": str(port)}, log=log)
            try:
                await stack.enter_async_context(kept(child))
            except ChildProcessError:
                # Between our look at the port and its own, another test's server may have come.
                if not may_be_taken or is_free(port):
                    raise
            else:
                yield graphql_url(HOST, port), child
                return


async def spawn(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *arguments),
        env={**os.environ, **NOBODY_IS_ASKED, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def said(*arguments: str, **environment: str) -> tuple[int | None, str, str]:
    """What a command that ends by itself answers, prints and complains."""
    process = await spawn(*arguments, **environment)
    out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    HITS.extend(findings("what a command complains of", err))
    return process.returncode, out.decode(), err.decode()
