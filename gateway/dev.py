"""``jobgate dev``: servers, gateway and worker in one terminal, gone without a trace when it is left."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from gateway import command_options
from gateway.children import Child
from gateway.command_options import settings_of
from gateway.devstack import Devstack, DevstackError, Servers
from gateway.devstack.ports import choose_port, is_free
from gateway.logs import configure_logging
from gateway.setting_values import AUTH_NONE
from gateway.settings import Settings, auth_ways, environment_name
from gateway.urls import graphql_url
from jobs.errors import JobgateError
from storage.sealing import KEY_BYTES

HOST: Final = "127.0.0.1"
"""Nobody has to prove who he is here, so nobody but this machine is let in."""

_MARGIN_SECONDS: Final = 10.0
_LOOK_EVERY_SECONDS: Final = 1.0


@click.command("dev")
@command_options.port
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".jobgate"),
    show_default=True,
    help="Where the embedded servers keep their data.",
)
@command_options.tasks
@command_options.concurrency
def dev_command(port: int | None, data: Path, tasks: tuple[str, ...], concurrency: int | None) -> None:
    """Run everything in one terminal: servers, gateway and worker."""
    run(settings_of(port=port, tasks=tasks, concurrency=concurrency), data)


def run(settings: Settings, data: Path) -> None:
    """Run until Ctrl-C or SIGTERM, with the servers' data in ``data``. Raises ``JobgateError``."""
    configure_logging("dev", settings.log_level)
    if settings.auth:
        auth_ways(settings)
    port = settings.port or choose_port(None)
    if not is_free(port):
        raise JobgateError(f"port {port} is in use; choose another --port, or 0 for any that is free")
    asyncio.run(_run(settings.model_copy(update={"port": port}), data))


async def _run(settings: Settings, data: Path) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    stack = Devstack(data, mongodb_url=settings.mongodb_url, redis_url=settings.redis_url)
    async with stack as servers:
        environment = _environment(settings, servers, data)
        gateway = Child("gateway", ["serve"], environment)
        draining = settings.drain_seconds + settings.cancel_grace_seconds
        worker = Child("worker", ["worker"], environment, stop_seconds=draining + _MARGIN_SECONDS)
        try:
            await _supervise(stack, [gateway, worker], stop, settings.port)
        finally:
            # The worker first: what it drains is still to be seen through the gateway.
            await worker.stop()
            await gateway.stop()


async def _supervise(stack: Devstack, children: list[Child], stop: asyncio.Event, port: int) -> None:
    stopped = asyncio.create_task(stop.wait())
    starting = asyncio.gather(*(child.start() for child in children))
    either: set[asyncio.Future[Any]] = {stopped, starting}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return
    if not all(starting.result()):
        raise DevstackError("the gateway or the worker did not start; see above")
    click.echo(f"ready {graphql_url(HOST, port)}")
    servers = asyncio.create_task(_keep(stack))
    keepers = [servers, *(asyncio.create_task(child.keep()) for child in children)]
    await asyncio.wait({stopped, servers}, return_when=asyncio.FIRST_COMPLETED)
    for keeper in keepers:
        keeper.cancel()
    # A server that cannot be started again ends everything, with the reason.
    for outcome in await asyncio.gather(*keepers, return_exceptions=True):
        if isinstance(outcome, DevstackError):
            raise outcome


async def _keep(stack: Devstack) -> None:
    """Start the servers again when they die: gateway and worker go on by themselves then. Raises ``DevstackError``."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
        await stack.revive()


def _secret_keys(data: Path) -> str:
    """What secrets are sealed with here: made once, and kept beside what it seals."""
    file = data / "secret.key"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(b64encode(secrets.token_bytes(KEY_BYTES)).decode())
    return file.read_text()


def _environment(settings: Settings, servers: Servers, data: Path) -> Mapping[str, str]:
    given = {
        "mongodb_url": servers.mongodb_url,
        "redis_url": servers.redis_url,
        "host": HOST,
        "port": settings.port,
        "tasks": settings.tasks,
        "concurrency": settings.concurrency,
        # It listens on loopback only.
        "auth": settings.auth or AUTH_NONE,
        "graphiql": "true",
        "introspection": "true",
        "secret_keys": settings.secret_keys or _secret_keys(data),
    }
    return {**os.environ, **{environment_name(name): str(value) for name, value in given.items()}}
