"""The process of a gateway: the socket that it listens on, and its memory."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from datetime import timedelta

from starlette.applications import Starlette

from gateway.devstack import Servers
from gateway.gateway_process import _uvicorn_config, listen
from tests.programs import DEADLINE, NOBODY_IS_ASKED


def test_an_answer_is_not_held_back_for_the_sake_of_fuller_packets() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.close()


def test_a_client_that_has_vanished_is_given_up_when_nothing_is_acknowledged() -> None:
    """Event streams have no pings that must be answered: their heartbeats are what the system waits for."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 40_000
        client.close()


def test_an_idle_connection_is_closed_by_the_client_and_not_by_the_gateway() -> None:
    """Whose request would meet it: 60 s are the longest that the usual proxies and clients keep one."""
    assert _uvicorn_config(Starlette(), timedelta(seconds=20)).timeout_keep_alive > 60


async def test_garbage_is_not_looked_for_in_what_lives_as_long_as_the_gateway(
    servers: Servers, database_name: str, redis_url: str
) -> None:
    """Python itself tells, at each collection, of how many objects it spared."""
    tells = "import gc; gc.set_debug(gc.DEBUG_STATS); from gateway.cli import main; main()"
    stores = {"MONGODB_URL": servers.mongodb_url, "REDIS_URL": redis_url, "JOBGATE_DATABASE": database_name}
    gateway = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", tells, "serve", "--port", "0"),
        env={**os.environ, **NOBODY_IS_ASKED, **stores},
        stderr=asyncio.subprocess.PIPE,
    )
    assert gateway.stderr is not None
    try:
        async with asyncio.timeout(DEADLINE):
            await gateway.stderr.readuntil(b"gateway is ready")
            gateway.terminate()
            _, said = await gateway.communicate()
    finally:
        if gateway.returncode is None:
            gateway.kill()
            await gateway.wait()
    spared = re.search(rb"objects in permanent generation: (\d+)", said)
    assert spared is not None
    assert int(spared[1]) > 0
