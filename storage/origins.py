"""Origins as parts of documents, and conditions on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jobs.origins import CredentialKind, Origin, OriginFilter

Document = dict[str, Any]

BY: Final = "origin_by"
CREDENTIAL: Final = "origin_credential"
ADDRESS: Final = "origin_address"
SUBJECTS: Final = "subjects"
ACTION: Final = "action"
"""Names of the indexes of what was asked for by somebody, with something, from somewhere, about something, and what it was."""


_SOMEBODY: Final[Mapping[str, object]] = {"origin": {"$exists": True}}


def origin_to_document(origin: Origin) -> Document:
    return {
        "kind": origin.kind.value,
        "credential": origin.credential,
        "issuer": origin.issuer,
        "address": origin.address,
    }


def origin_from_document(document: Mapping[str, Any] | None) -> Origin | None:
    return None if document is None else whole_origin(document)


def whole_origin(document: Mapping[str, Any]) -> Origin:
    kind = CredentialKind(document["kind"])
    return Origin(kind, document["credential"], document["issuer"], document["address"])


def noted(origin: Origin | None) -> Document:
    """The field that tells of it; what nobody asked for has none."""
    return {} if origin is None else {"origin": origin_to_document(origin)}


def origin_conditions(wanted: OriginFilter, by: str) -> tuple[Document, str | None]:
    """The documents that ``OriginFilter.matches`` would accept, and the index that finds the fewest of them.

    ``by``: the field with the name of whoever asked. None where there is no condition.
    """
    given = _given(wanted, by)
    return {**_SOMEBODY, **{field: _any_of(values) for _, field, values in given}}, given[0][0] if given else None


def indexed_condition(wanted: OriginFilter, by: str) -> tuple[Document, str]:
    """As :func:`origin_conditions`, of the conditions only the one that the index decides: there is one at least.

    No more documents are looked at then than are found; which of them are meant is left to say.
    """
    index, field, values = _given(wanted, by)[0]
    return {**_SOMEBODY, field: _any_of(values)}, index


def _given(wanted: OriginFilter, by: str) -> Sequence[tuple[str, str, Sequence[str]]]:
    fields = (
        (CREDENTIAL, "origin.credential", wanted.credential),
        (BY, by, wanted.by),
        (ADDRESS, "origin.address", wanted.address),
    )
    return [(index, field, values) for index, field, values in fields if values is not None]


def _any_of(values: Sequence[str]) -> Document:
    return {"$in": [str(value) for value in values]}
