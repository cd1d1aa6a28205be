"""The socket that a gateway listens on."""

from __future__ import annotations

import socket

from gateway.gateway_process import listen


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
