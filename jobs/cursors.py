"""Opaque cursors: a short list of plain values, written as URL-safe base64 of JSON."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from jobs.errors import BadCursor

_MAX_LENGTH: Final = 512

T = TypeVar("T")


def encode_cursor(parts: Sequence[object]) -> str:
    """Write ``parts``, whose first one names the kind of cursor."""
    text = json.dumps(parts, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, kind: str, read: Callable[[Sequence[object]], T | None], argument: str = "after") -> T:
    """Read a cursor of this ``kind``: ``read`` gets the parts behind it and answers None when they make no sense.

    Raises :class:`jobs.errors.BadCursor`, which names the ``argument`` that the cursor was given as.
    """
    parts = _parts(cursor)
    value = read(parts[1:]) if parts and parts[0] == kind else None
    # Another spelling of the same parts is not one of ours: a cursor is compared and cached as text.
    if value is None or encode_cursor(parts) != cursor:
        raise BadCursor(cursor, argument)
    return value


def _parts(cursor: str) -> list[object]:
    """What the cursor holds; nothing when it is none."""
    if len(cursor) > _MAX_LENGTH:
        return []
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return []
    return parts if isinstance(parts, list) else []
