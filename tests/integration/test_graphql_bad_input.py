"""Wrong values for every argument of every query and mutation: what is answered, and that nothing changes by it.

The arguments are those of the schema itself, and the values are wrong by their types. What is refused for its range or its
meaning stands in ``test_graphql_bad_reads`` and ``test_graphql_bad_changes``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest
import pytest_asyncio
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLObjectType,
    build_schema,
    is_list_type,
    is_non_null_type,
)
from pymongo import MongoClient

from gateway.devstack import Servers
from schema.build import printed_schema
from tests.gateway import LiveGateway
from tests.refusing import serving_jobs, unchanged

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEMA: Final = build_schema(printed_schema())
NE: Final = {"$ne": None}
"""What a caller would smuggle into a query of the database."""


def told(values: Sequence[Any], message: str) -> list[tuple[Any, str]]:
    """Each value with what is said of it."""
    return [(value, message.format(value)) for value in values]


WRONG: Final[dict[str, list[tuple[Any, str]]]] = {
    "ID": told([NE, ["a"], True, 1.5], "ID cannot represent value: {}"),
    "String": told([NE, ["a"], True, 5], "String cannot represent a non string value: {}"),
    "Boolean": told([NE, [], "yes", 1], "Boolean cannot represent a non boolean value: {!r}"),
    "Int": [
        *told([NE, "5", 1.5, True], "Int cannot represent non-integer value: {!r}"),
        *told([2**31, -(2**53)], "Int cannot represent non 32-bit signed integer value: {}"),
    ],
    "Float": told([NE, "2", True], "Float cannot represent non numeric value: {!r}"),
    "Milliseconds": [
        *told([NE, "60", 1.5, True], "Milliseconds are a whole number"),
        *told([-1, 2**53], "Milliseconds are between 0 and 2^53 - 1, not {}"),
    ],
    "DateTime": [
        *told([NE, [0], True], "a DateTime is RFC 3339 text or a number of milliseconds since 1970"),
        *told(
            [-1, "1969-12-31T23:59:59.999Z", "9999-01-01", 253_402_300_799_999],
            "a DateTime lies between the years 1970 and 9998",
        ),
        *told([2**53, 1e300], "the number is not a DateTime: it is too large"),
        *told(["tomorrow"], "{!r} is not a DateTime such as 2026-01-31T08:00:00Z"),
    ],
}
"""By type: values that are not of it, and what is said of them."""

FIRST: Final = "0"
"""The first of a list, in a path."""

RIGHT: Final[dict[str, Any]] = {
    "ID": "nope",
    "String": "x",
    "Boolean": False,
    "Int": 1,
    "Float": 1,
    "Milliseconds": 1000,
    "DateTime": "2099-01-01",
    "JSON": {},
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value goes: an operation, and the way from its variables."""

    root: str
    operation: str
    path: tuple[str, ...]
    type: GraphQLInputType

    @property
    def name(self) -> str:
        return ".".join([self.operation, *self.path])

    @property
    def beginning(self) -> str:
        """How an error begins."""
        rest = "".join(f"[{step}]" if step == FIRST else f".{step}" for step in self.path[1:])
        return f"Variable '${self.path[0]}' has invalid value{rest and f' at {rest}'}: "

    def variables(self, value: Any) -> dict[str, Any]:
        """All variables that the operation needs, with this value in its place."""
        arguments = dict(self._arguments())
        needed = {name: right(argument.type) for name, argument in arguments.items() if is_non_null_type(argument.type)}
        name, *rest = self.path
        return needed | {name: around(value, arguments[name].type, rest)}

    def document(self) -> str:
        declared = ", ".join(f"${name}: {argument.type}" for name, argument in self._arguments())
        passed = ", ".join(f"{name}: ${name}" for name, _ in self._arguments())
        return f"{self.root} ({declared}) {{ {self.operation}({passed}) {{ __typename }} }}"

    def _arguments(self) -> list[tuple[str, GraphQLArgument]]:
        root = SCHEMA.query_type if self.root == "query" else SCHEMA.mutation_type
        assert root is not None
        return list(root.fields[self.operation].args.items())


def around(value: Any, type_: GraphQLInputType, path: Sequence[str]) -> Any:
    """A value of a type that has this one at the end of a path; ``FIRST`` is the first of a list."""
    if not path:
        return value
    if is_non_null_type(type_):
        return around(value, type_.of_type, path)
    if is_list_type(type_):
        return [around(value, type_.of_type, path[1:])]
    assert isinstance(type_, GraphQLInputObjectType)
    return right(type_) | {path[0]: around(value, type_.fields[path[0]].type, path[1:])}


def right(type_: Any) -> Any:
    """A value of a type, with nothing in it that need not be."""
    if is_non_null_type(type_):
        return right(type_.of_type)
    if is_list_type(type_):
        return []
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    if isinstance(type_, GraphQLInputObjectType):
        needed = {name: field for name, field in type_.fields.items() if is_non_null_type(field.type)}
        return {name: right(field.type) for name, field in needed.items() if field.ast_node.default_value is None}
    return RIGHT[type_.name]


def places() -> Iterator[Place]:
    for root, type_ in (("query", SCHEMA.query_type), ("mutation", SCHEMA.mutation_type)):
        assert isinstance(type_, GraphQLObjectType)
        for operation, field in type_.fields.items():
            for name, argument in field.args.items():
                yield from within(Place(root, operation, (name,), argument.type))


def within(place: Place) -> Iterator[Place]:
    """A place, and those inside it."""
    yield place
    bare: Any = place.type.of_type if is_non_null_type(place.type) else place.type
    if is_list_type(bare):
        yield from within(Place(place.root, place.operation, (*place.path, FIRST), bare.of_type))
    elif isinstance(bare, GraphQLInputObjectType):
        for name, field in bare.fields.items():
            yield from within(Place(place.root, place.operation, (*place.path, name), field.type))


def wrong(place: Place) -> Iterator[tuple[Any, str]]:
    """Values that do not belong in a place, and how what is said of them begins."""
    bare: Any = place.type
    if is_non_null_type(bare):
        yield None, f"Expected value of non-null type '{bare}' not to be None."
        bare = bare.of_type
    if is_list_type(bare) or bare.name == "JSON":
        return
    if isinstance(bare, GraphQLEnumType):
        yield "LOST", f"Value 'LOST' does not exist in '{bare.name}' enum."
        yield NE, f"Enum '{bare.name}' cannot represent non-string value: {NE}."
    elif isinstance(bare, GraphQLInputObjectType):
        yield "x", f"Expected value of type '{bare.name}' to be an object"
        yield (
            right(bare) | {"$where": "1"},
            f"Expected value of type '{bare.name}' not to include unknown field '$where'",
        )
    else:
        yield from WRONG[bare.name]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_jobs(servers, mongodb) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def nothing_changes(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> Iterator[None]:
    with unchanged(gateway, mongodb):
        yield


@pytest.mark.parametrize("place", [pytest.param(place, id=place.name) for place in places() if [*wrong(place)]])
async def test_a_value_of_the_wrong_kind_is_told_with_its_place(gateway: LiveGateway, place: Place) -> None:
    for value, message in wrong(place):
        answer = await gateway.ask(place.document(), **place.variables(value))
        assert "data" not in answer
        [error] = answer["errors"]
        assert error["message"].startswith(place.beginning + message), value
        assert error["extensions"] == {"code": "BAD_USER_INPUT"}
