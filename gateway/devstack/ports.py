"""Loopback ports for the servers, kept from one start to the next where nobody else has taken them."""

import secrets
import socket
from pathlib import Path
from typing import Final

from gateway.devstack.errors import DevstackError

# Below the ranges from which systems pick the local end of an outgoing connection: there, a client that keeps trying to
# reach a server that is down would in the end be given that very port and talk to itself.
LOWEST: Final = 20_000
COUNT: Final = 12_000
ATTEMPTS: Final = 200


def choose_port(remembered: int | None) -> int:
    """The remembered port if it is free, else another free one; raises DevstackError when none is found."""
    if remembered is not None and is_free(remembered):
        return remembered
    candidates = (LOWEST + secrets.randbelow(COUNT) for _ in range(ATTEMPTS))
    free = next(filter(is_free, candidates), None)
    if free is None:
        raise DevstackError(f"no free port on 127.0.0.1 between {LOWEST} and {LOWEST + COUNT}")
    return free


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` now; somebody may still come first."""
    with socket.socket() as probe:
        # As the servers do: connections of an earlier listener that are still being wound up are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def read_port(file: Path) -> int | None:
    """The port remembered in ``file``; None when there is none or the file makes no sense."""
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return None
