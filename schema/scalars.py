"""The three scalars: instants, lengths of time, and JSON. Values are checked here only as far as their form goes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NewType

import strawberry
from graphql import GraphQLError, ValueNode, value_from_ast_untyped
from strawberry.types.scalar import ScalarDefinition

from jobs.times import EPOCH, truncate

Milliseconds = NewType("Milliseconds", int)
JSON = NewType("JSON", object)

_MOST_MILLISECONDS: Final = 2**53 - 1
_LAST_YEAR: Final = 9998

# Python reads much more of ISO 8601: weeks, dates without dashes, any sign between date and time.
_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII | re.IGNORECASE
)


def write_instant(instant: datetime) -> str:
    """RFC 3339 in UTC, with milliseconds and a Z."""
    return truncate(instant.astimezone(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_instant(value: object) -> datetime:
    """RFC 3339, in UTC where no offset is given, or epoch milliseconds. Raises :class:`GraphQLError`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise GraphQLError("a DateTime is RFC 3339 text or a number of milliseconds since 1970")
    instant = _from_text(value) if isinstance(value, str) else _from_milliseconds(value)
    if not EPOCH.year <= instant.year <= _LAST_YEAR:
        raise GraphQLError(f"a DateTime lies between the years {EPOCH.year} and {_LAST_YEAR}")
    return truncate(instant)


def _from_text(text: str) -> datetime:
    try:
        if not _INSTANT.fullmatch(text):
            raise ValueError(text)
        instant = datetime.fromisoformat(text.upper())
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise GraphQLError(f"{text[:40]!r} is not a DateTime such as 2026-01-31T08:00:00Z") from None


def _from_milliseconds(number: float) -> datetime:
    try:
        return EPOCH + timedelta(milliseconds=number)
    except (ValueError, OverflowError):
        raise GraphQLError("the number is not a DateTime: it is too large") from None


def read_milliseconds(value: object) -> int:
    """A whole number within 0 and 2^53 - 1. Raises :class:`GraphQLError`."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not isinstance(value, int | float):
        raise GraphQLError("Milliseconds are a whole number")
    if not 0 <= value <= _MOST_MILLISECONDS:
        raise GraphQLError(f"Milliseconds are between 0 and 2^53 - 1, not {value:.0f}")
    return int(value)


def _same(value: Any) -> Any:
    return value


def _literal(read: Callable[[object], Any]) -> Callable[..., Any]:
    """Reads a value that stands in the document itself: what is wrong with it is told with its place there."""

    def read_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
        try:
            return read(value_from_ast_untyped(node, variables))
        except GraphQLError as error:
            raise GraphQLError(error.message, node) from None

    return read_literal


SCALARS: Final[Mapping[object, ScalarDefinition]] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description=(
            "An instant. Out: RFC 3339 in UTC with milliseconds. In: RFC 3339, where no offset means UTC, "
            "or milliseconds since 1970 as a number."
        ),
        serialize=write_instant,
        parse_value=read_instant,
        parse_literal=_literal(read_instant),
    ),
    Milliseconds: strawberry.scalar(
        name="Milliseconds",
        description="A length of time in whole milliseconds, from 0 to 2^53 - 1: a JSON number.",
        serialize=_same,
        parse_value=read_milliseconds,
        parse_literal=_literal(read_milliseconds),
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value of at most 32 levels, with finite numbers and integers within 2^53.",
        serialize=_same,
        parse_value=_same,
        parse_literal=_literal(_same),
    ),
}
