"""The sealed secrets of an input as they stand in the document of its job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jobs.secret_inputs import SealedPart

FIELD: Final = "secrets"
"""The field that holds them; a job without secrets does not have it."""

_BOX: Final = ("key", "nonce", "sealed")


def secrets_to_document(secrets: Sequence[SealedPart]) -> dict[str, Any]:
    """The field, or nothing for a job that has none."""
    return {FIELD: [part_to_document(one) for one in secrets]} if secrets else {}


def secrets_from_document(document: Mapping[str, Any]) -> tuple[SealedPart, ...]:
    return tuple(_part_from_document(one) for one in document.get(FIELD, ()))


def part_to_document(part: SealedPart) -> dict[str, Any]:
    return {"place": list(part.place), **part.box}


def _part_from_document(document: Mapping[str, Any]) -> SealedPart:
    return SealedPart(tuple(document["place"]), {name: document[name] for name in _BOX})
