"""Connections that break in ways of their own: each is told as lost, for callers know what to make of that only."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpcore
import pytest

from jobs.addresses import parse_url
from tests.tls import certificate, speaking_as
from worker.guarded_http import ConnectionLost, GuardedHttp, Request

SOON: Final = timedelta(seconds=10)


async def test_a_fault_of_tls_after_the_handshake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised by the system, not by the library that sends: so it is none of what that library promises."""
    path = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    async def go_on_in_plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        os.write(writer.get_extra_info("socket").fileno(), b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read()
        writer.transport.abort()

    server = await asyncio.start_server(go_on_in_plain, "127.0.0.1", 0, ssl=speaking_as(path))
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = parse_url(f"https://127.0.0.1:{port}/")
        with pytest.raises(ConnectionLost, match="SSL"):
            await GuardedHttp(allow_private=True).send(Request("POST", url, {}, b"{}"), SOON)


class UntilReset(httpcore.AsyncNetworkBackend):
    """Hands out a connection once its peer has reset it, and keeps it in view."""

    stream: httpcore.AsyncNetworkStream

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.stream = await httpcore.AnyIOBackend().connect_tcp(host, port)
        with suppress(httpcore.ReadError):
            await self.stream.read(1)
        return self.stream


async def test_a_peer_that_resets_before_anybody_has_looked_who_it_is() -> None:
    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    network = UntilReset()
    async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
        url = parse_url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        with pytest.raises(ConnectionLost, match="reset at once"):
            await GuardedHttp(allow_private=True, network=network).send(Request("GET", url, {}), SOON)
    with pytest.raises(httpcore.WriteError):
        await network.stream.write(b"closed")
