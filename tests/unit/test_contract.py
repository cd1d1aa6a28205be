"""The published schema keeps the contract: what is there is there under exactly its name, nullability and defaults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    Undefined,
    build_schema,
)

from schema.build import printed_schema

CONTRACT: Final = build_schema((Path(__file__).parents[1] / "contract.graphql").read_text())
PUBLISHED: Final = build_schema(printed_schema())


def elements(schema: GraphQLSchema) -> dict[str, str]:
    """Every element of a schema by its name, each with its signature."""
    own = [type_ for name, type_ in schema.type_map.items() if not name.startswith("__")]
    return {name: signature for type_ in own for name, signature in _elements(type_)}


def _elements(type_: GraphQLNamedType) -> Iterator[tuple[str, str]]:
    match type_:
        case GraphQLObjectType() | GraphQLInterfaceType():
            yield type_.name, f"{type(type_).__name__} of {sorted(one.name for one in type_.interfaces)}"
            for name, field in type_.fields.items():
                yield f"{type_.name}.{name}", str(field.type)
                for argument, value in field.args.items():
                    yield f"{type_.name}.{name}({argument})", _signature(value)
        case GraphQLInputObjectType():
            yield type_.name, "input"
            for name, value in type_.fields.items():
                yield f"{type_.name}.{name}", _signature(value)
        case GraphQLUnionType():
            yield type_.name, f"union of {sorted(one.name for one in type_.types)}"
        case GraphQLEnumType():
            yield type_.name, f"enum of {sorted(type_.values)}"
        case _:
            yield type_.name, type(type_).__name__


def _signature(value: GraphQLArgument | GraphQLInputField) -> str:
    default = "" if value.default_value is Undefined else f" = {value.default_value!r}"
    return f"{value.type}{default}"


PROMISED: Final = elements(CONTRACT)
OFFERED: Final = elements(PUBLISHED)


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_what_is_promised_is_offered_as_it_is_promised(name: str) -> None:
    assert OFFERED.get(name) == PROMISED[name]


def test_every_element_is_described() -> None:
    silent = [
        f"{type_.name}.{name}"
        for type_ in PUBLISHED.type_map.values()
        if not type_.name.startswith("__") and isinstance(type_, GraphQLObjectType | GraphQLInputObjectType)
        for name, field in type_.fields.items()
        if not field.description or any(not argument.description for argument in getattr(field, "args", {}).values())
    ]
    assert silent == []
    assert [name for name, type_ in PUBLISHED.type_map.items() if not type_.description] == []
