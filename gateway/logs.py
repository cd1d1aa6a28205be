"""Logging: one line an event, on stderr, told apart by the process that writes it."""

from __future__ import annotations

import logging
import sys
from typing import Final

_FORMAT: Final = "%(asctime)s.%(msecs)03d {role:<8}%(levelname).1s %(message)s"
_QUIET: Final = ("arq", "pymongo", "asyncio", "httpx", "httpcore", "strawberry", "uvicorn")
"""Libraries that tell of their own affairs; arq even of what it was given to run."""


class _OneLine(logging.Formatter):
    """What a caller has put into a message cannot look like another line of the log."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name is logging's
        line = super().formatMessage(record)
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)


def configure_logging(role: str, level: str) -> None:
    """Send the log of this process, as ``role``, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(_FORMAT.format(role=role), datefmt="%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
