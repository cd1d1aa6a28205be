"""What counts as a JSON value here: what every client, MongoDB and a JSON text can all carry unchanged."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

MAX_DEPTH: Final = 32
"""Levels of nesting; MongoDB itself refuses documents far deeper than this."""

MAX_BYTES: Final = 256 * 1024
"""Size of a value written as compact UTF-8 JSON."""

MAX_INTEGER: Final = 2**53
"""Integers beyond this do not survive a JavaScript client."""

JsonValue: TypeAlias = Any
"""None, bool, int, float, str, a list of these or a dict from str to these. Checked by :func:`check_json`, not by types."""


class NotJson(ValueError):
    """The value cannot be carried as JSON; the message names the place within it."""


class TooLarge(NotJson):
    """The value is JSON, but more than :data:`MAX_BYTES` of it."""


def check_json(value: JsonValue) -> None:
    """Raise :class:`NotJson` or :class:`TooLarge` unless ``value`` can be stored and answered unchanged."""
    pending: list[tuple[JsonValue, str, int]] = [(value, "", 1)]
    while pending:
        item, place, depth = pending.pop()
        if isinstance(item, dict | list):
            if depth > MAX_DEPTH:
                raise NotJson(f"nested more than {MAX_DEPTH} levels deep at {_shown(place)}")
            pending.extend((child, where, depth + 1) for child, where in _children(item, place))
        else:
            _check_scalar(item, place)
    _check_size(value)


def _children(item: dict[Any, JsonValue] | list[JsonValue], place: str) -> Iterator[tuple[JsonValue, str]]:
    if isinstance(item, list):
        return ((child, f"{place}[{index}]") for index, child in enumerate(item))
    return ((child, f"{place}.{_checked_key(key, place)}") for key, child in item.items())


def _checked_key(key: object, place: str) -> str:
    if not isinstance(key, str):
        raise NotJson(f"a key that is not a string at {_shown(place)}")
    # BSON ends a key at the first NUL.
    if "\0" in key:
        raise NotJson(f"a key with a NUL character at {_shown(place)}")
    _check_text(key, place)
    return key


def _check_scalar(item: object, place: str) -> None:
    if isinstance(item, str):
        _check_text(item, place)
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise NotJson(f"a number that is not finite at {_shown(place)}")
    elif isinstance(item, int):
        if abs(item) > MAX_INTEGER:
            raise NotJson(f"an integer beyond 2^53 at {_shown(place)}")
    elif item is not None:
        raise NotJson(f"{type(item).__name__} is not JSON at {_shown(place)}")


def _check_text(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotJson(f"text that is not valid Unicode at {_shown(place)}") from None


def _check_size(value: JsonValue) -> None:
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_BYTES:
        raise TooLarge(f"{size} bytes of JSON, more than the {MAX_BYTES} allowed")


def _shown(place: str) -> str:
    return place.lstrip(".")[:200] or "the top"
