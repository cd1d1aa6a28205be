"""``jobgate dev``: servers, gateway and worker in one terminal, gone without a trace when it is left."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from gateway.children import Child
from gateway.devstack import Devstack, DevstackError, Servers
from gateway.logs import configure_logging
from gateway.settings import Settings

logger = logging.getLogger("jobgate.dev")


def run(settings: Settings, *, port: int, data: Path, tasks: str, concurrency: int) -> None:
    """Run until Ctrl-C or SIGTERM. ``tasks`` is a comma-separated list of modules. Raises :class:`DevstackError`."""
    configure_logging("dev", settings.log_level)
    asyncio.run(_run(settings, port=port, data=data, tasks=tasks, concurrency=concurrency))


async def _run(settings: Settings, *, port: int, data: Path, tasks: str, concurrency: int) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    stack = Devstack(data, mongodb_url=settings.mongodb_url, redis_url=settings.redis_url)
    async with stack as servers:
        environment = _environment(servers, port=port, tasks=tasks, concurrency=concurrency)
        gateway = Child("gateway", ["serve"], environment)
        worker = Child("worker", ["worker"], environment)
        try:
            await _supervise([gateway, worker], stop, port)
        finally:
            # The worker first: what it drains is still to be seen through the gateway.
            await worker.stop()
            await gateway.stop()


async def _supervise(children: list[Child], stop: asyncio.Event, port: int) -> None:
    stopped = asyncio.create_task(stop.wait())
    starting = asyncio.gather(*(child.start() for child in children))
    either: set[asyncio.Future[Any]] = {stopped, starting}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return
    if not all(starting.result()):
        raise DevstackError("the gateway or the worker did not start; see above")
    click.echo(f"ready http://127.0.0.1:{port}/graphql")
    keepers = [asyncio.create_task(child.keep()) for child in children]
    await stopped
    for keeper in keepers:
        keeper.cancel()


def _environment(servers: Servers, *, port: int, tasks: str, concurrency: int) -> Mapping[str, str]:
    return {
        **os.environ,
        "MONGODB_URL": servers.mongodb_url,
        "REDIS_URL": servers.redis_url,
        "JOBGATE_HOST": "127.0.0.1",
        "JOBGATE_PORT": str(port),
        "JOBGATE_TASKS": tasks,
        "JOBGATE_CONCURRENCY": str(concurrency),
        "JOBGATE_GRAPHIQL": "true",
    }
