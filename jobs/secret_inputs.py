"""Inputs without what is secret in them, and whole again. What was taken out is sealed elsewhere: here it is a text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from jobs.json_values import JsonValue
from jobs.secret_places import Place

MASK: Final = "[secret]"
"""What stands for a secret wherever an input is stored or shown."""

MAX_SECRETS: Final = 100
"""So many secrets one input may hold: each is sealed by itself."""

MAX_PLACE: Final = 1000
"""So many characters the names that lead to a secret may have together: they are stored anew with each."""


@dataclass(frozen=True, slots=True)
class SealedPart:
    """A secret of an input, sealed. ``box`` is of use only to who has the key, for the one job and place."""

    place: Place
    box: Mapping[str, Any] = field(repr=False)


class NoSuchPlace(LookupError):
    """There is nothing at the place."""


def value_at(value: JsonValue, place: Place) -> JsonValue:
    """What stands at a place. Raises :class:`NoSuchPlace`."""
    for step in place:
        value = _child(value, step)
    return value


def with_value(value: JsonValue, place: Place, new: JsonValue) -> JsonValue:
    """``value`` with another value at a place; what is not on the way there is shared. Raises :class:`NoSuchPlace`."""
    if not place:
        return new
    step, rest = place[0], place[1:]
    changed = with_value(_child(value, step), rest, new)
    if isinstance(value, list):
        copy = value.copy()
        copy[int(step)] = changed
        return copy
    return {**value, step: changed}


def masked(value: JsonValue, places: Iterable[Place]) -> JsonValue:
    """``value`` with :data:`MASK` at each of the places. Raises :class:`NoSuchPlace`."""
    for place in places:
        value = with_value(value, place, MASK)
    return value


def secret_text(value: JsonValue) -> bytes:
    """A secret as what is sealed: the same for the same value, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True).encode()


def secret_from_text(text: bytes) -> JsonValue:
    return json.loads(text)


def _child(value: JsonValue, step: str) -> JsonValue:
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    if isinstance(value, dict) and step in value:
        return value[step]
    raise NoSuchPlace(step)
