"""``jobgate serve``: one gateway process, from the settings to the signals that end it."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Final

import click
import uvicorn
import uvloop
from starlette.applications import Starlette

from gateway import command_options
from gateway.app import Terms, build_app
from gateway.children import say_ready
from gateway.command_options import settings_of
from gateway.graphql_http import MAX_REQUEST
from gateway.graphql_sse import Streams
from gateway.logs import configure_logging
from gateway.settings import Settings
from gateway.urls import graphql_url
from gateway.websockets import WebSocketProtocol
from gateway.wiring import open_gateway
from jobs.errors import JobgateError

logger = logging.getLogger("jobgate.gateway")

PING: Final = timedelta(seconds=20)
"""How often a WebSocket is asked whether there is still somebody at its other end, and how long an answer may take."""

UNANSWERED: Final = timedelta(seconds=40)
"""How long a client may acknowledge or take nothing of what is sent to it, heartbeats of event streams among it."""

_GRACE_SECONDS: Final = 5
_BACKLOG: Final = 2048
_OLD_AFTER: Final = 2
"""After how many collections of the middle generation all is looked through, unless that has grown by less than a quarter."""
_KEEP_ALIVE_SECONDS: Final = 75
"""How long a connection may wait for its next request: longer than clients and proxies keep one that they do not use, 60 s at
most. The first to give up has to be the client, or its request meets a connection that is just being closed."""


@click.command("serve")
@click.option("--host", help="The address that the gateway listens on.")
@command_options.port
@command_options.ready_fd
def serve_command(host: str | None, port: int | None, ready_fd: int | None) -> None:
    """Run a gateway."""
    run(settings_of(host=host, port=port), ready_fd=ready_fd)


def run(settings: Settings, *, ready_fd: int | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, then answer what was asked and stop.

    Raises ``SettingsError``, ``StoreUnavailable``, ``UnsupportedStore``, and :class:`JobgateError` when the port is taken.
    """
    configure_logging("gateway", settings.log_level)
    with listen(settings.host, settings.port) as listener:
        uvloop.run(_run(settings, listener, ready_fd))


def terms_of(settings: Settings) -> Terms:
    """On what terms the settings have callers be served."""
    return Terms(
        graphiql=settings.graphiql,
        introspection=settings.introspection,
        allowed_origins=settings.origins,
        max_in_flight=settings.max_in_flight,
        buckets=settings.buckets,
        known_documents_only=settings.known_documents_only,
    )


async def _run(settings: Settings, listener: socket.socket, ready_fd: int | None) -> None:
    async with open_gateway(settings) as gateway:

        def started() -> None:
            _spare_what_stays()
            logger.info("gateway is ready: %s", graphql_url(settings.host, listener.getsockname()[1]))
            say_ready(ready_fd)

        app = build_app(nullcontext(gateway), terms_of(settings))
        server = Server(app, started, trusted_proxies=settings.proxies)
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, server.stop)
        await server.serve([listener])


def _spare_what_stays() -> None:
    """Have Python look for garbage no longer in what it has made so far, which lives as long as the process.

    It is modules and the schema, a hundred thousand objects: to walk them all takes longer than most requests, and would come
    on top of one now and then. Of what is left it looks through all the more often, so that no look has much to clear away:
    documents that are refused leave thousands of tokens that refer to each other.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _OLD_AFTER)


def _uvicorn_config(app: Starlette, ping: timedelta, trusted_proxies: Sequence[str] = ()) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        # Unless told otherwise, uvicorn believes whatever is on the same machine.
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        lifespan="on",
        ws=WebSocketProtocol,
        ws_max_size=MAX_REQUEST,
        ws_ping_interval=ping.total_seconds(),
        ws_ping_timeout=ping.total_seconds(),
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )


class Server(uvicorn.Server):
    """Tells when it has started. Signals are the caller's: uvicorn would end the process before it has tidied up."""

    def __init__(
        self,
        app: Starlette,
        started: Callable[[], None],
        ping: timedelta = PING,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        super().__init__(_uvicorn_config(app, ping, trusted_proxies))
        self._streams: Streams = app.state.streams
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # These have no end of their own, and uvicorn would wait for one.
        self._streams.close()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Finish what is under way and stop; the second time, stop at once."""
        self.force_exit = self.should_exit
        self.should_exit = True


def listen(host: str, port: int, unanswered: timedelta = UNANSWERED) -> socket.socket:
    """A socket of our own, bound before anything else is started: a taken port is told in one line."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise JobgateError(f"cannot listen on {host} port {port}: {error.strerror}; choose another --port") from None
    # asyncio's own loop sets it only for sockets that name their protocol, which this one does not; without it, the kernel
    # holds back the second packet of an answer for some 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; elsewhere the system gives up in its own time
        milliseconds = int(unanswered.total_seconds() * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return listener
