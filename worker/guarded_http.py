"""HTTP requests to wherever a user says, that cannot be led into the installation's own network.

The name is resolved once; every answer is checked; the connection goes to a checked address, while TLS and the header
``Host`` keep the name. Redirects are not followed, and proxies from the environment are not used.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Final, TypeAlias

import httpcore
import httpx

from jobs.addresses import AddressRefused, check_addresses, may_be_called
from jobs.errors import JobgateError

MAX_BODY: Final = 64 * 1024
"""Bytes of an answer that are read; what follows is left unread."""

_CONNECT_SECONDS: Final = 3.0
"""For one address. A host that does not answer within this time is not worth the wait."""
_MOST_ADDRESSES: Final = 4

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host and a port to the addresses of that host. Raises ``OSError``."""


class Unreachable(JobgateError):
    """There was no connection: nothing has been sent."""


class ConnectionLost(JobgateError):
    """The connection broke, or was not HTTP: whether the request was carried out is unknown."""


class TimedOut(JobgateError):
    """There was no whole answer in time: whether the request was carried out is unknown."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. ``url`` comes from :func:`jobs.addresses.parse_url`."""

    method: str
    url: httpx.URL
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are in lower case; ``body`` is at most :data:`MAX_BODY` long."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_truncated: bool
    duration: timedelta


async def resolve(host: str, port: int) -> list[str]:
    """All addresses of the host, in the order in which the system would try them. Raises ``OSError``."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class GuardedHttp:
    """Sends requests; keeps no connection between them, so that there is nothing to close and nothing to share."""

    def __init__(
        self,
        *,
        allow_private: bool,
        resolve: Resolve = resolve,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        """``network`` is what connections are made with once their addresses have been checked: the system's, if None."""
        self._backend = _GuardedBackend(resolve, network or httpcore.AnyIOBackend(), allow_private=allow_private)

    async def send(self, request: Request, timeout: timedelta) -> Answer:
        """The answer, whatever its status. ``timeout`` is for all of it, from resolving the name to the last byte read.

        Raises :class:`AddressRefused`, :class:`Unreachable`, :class:`ConnectionLost`, :class:`TimedOut`.
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._send(request, began)
        except TimeoutError as error:
            raise TimedOut(f"no answer from {request.url.host!r} in {timeout.total_seconds():g} s") from error
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise Unreachable(f"cannot connect to {request.url.host!r}: {error}") from error
        # The last: a fault of TLS after the handshake comes through as the system raises it.
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise ConnectionLost(f"the connection to {request.url.host!r} broke: {error}") from error

    async def _send(self, request: Request, began: float) -> Answer:
        pool = httpcore.AsyncConnectionPool(ssl_context=self._ssl, max_connections=1, network_backend=self._backend)
        async with (
            pool,
            pool.stream(
                request.method,
                _core_url(request.url),
                headers=[(b"Host", request.url.netloc), *_encoded(request.headers)],
                content=request.content,
                extensions={"timeout": {"connect": _CONNECT_SECONDS}},
            ) as response,
        ):
            body, is_truncated = await _read(response)
        return Answer(
            response.status, _decoded(response.headers), body, is_truncated, timedelta(seconds=time.monotonic() - began)
        )

    @cached_property
    def _ssl(self) -> ssl.SSLContext:
        # Reads the certificates of all authorities: not before there is something to send, and once.
        return httpx.create_ssl_context()


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, resolve: Resolve, network: httpcore.AsyncNetworkBackend, *, allow_private: bool) -> None:
        self._resolve = resolve
        self._network = network
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, check, and connect to what was checked.

        Raises :class:`AddressRefused`, :class:`Unreachable`, :class:`ConnectionLost`.
        """
        addresses = await self._checked(host, port)
        failure: Exception | None = None
        for address in addresses[:_MOST_ADDRESSES]:
            try:
                stream = await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            return await self._as_meant(stream, host)
        raise Unreachable(f"cannot connect to {host!r}: {failure or 'it has no address'}")

    async def _checked(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolve(host, port)
        # The second: a name that cannot be put into a question to a name server.
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"cannot resolve {host!r}: {error}") from error
        check_addresses(host, addresses, allow_private=self._allow_private)
        return addresses

    async def _as_meant(self, stream: httpcore.AsyncNetworkStream, host: str) -> httpcore.AsyncNetworkStream:
        """The last word has the socket: whatever was resolved and asked for, this is where it leads."""
        peer = stream.get_extra_info("server_addr")
        if peer is not None and may_be_called(str(peer[0]), allow_private=self._allow_private):
            return stream
        await stream.aclose()
        if peer is None:
            raise ConnectionLost(f"the connection to {host!r} broke: it was reset at once")
        raise AddressRefused(host)


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    decoded: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        decoded[name] = f"{decoded[name]}, {value}" if name in decoded else value
    return decoded


async def _read(response: httpcore.Response) -> tuple[bytes, bool]:
    """The body as far as it is read, and whether that was not all."""
    body = bytearray()
    async with aclosing(_chunks(response)) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_BODY:
                return bytes(body[:MAX_BODY]), True
    return bytes(body), False


async def _chunks(response: httpcore.Response) -> AsyncGenerator[bytes, None]:
    async for chunk in response.aiter_stream():
        yield chunk
