"""The socket that a gateway listens on."""

from __future__ import annotations

import socket
from datetime import timedelta

from starlette.applications import Starlette

from gateway.gateway_process import _uvicorn_config, listen


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
