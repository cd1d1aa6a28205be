"""Operations made from the schema itself: each root field, with everything beneath it that can be selected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)

DEEP: Final = 3
"""Levels beneath the root field."""


def document(schema: GraphQLSchema, operation: str, field: str, given: Mapping[str, object]) -> str:
    """An operation of this one field, with the arguments ``given`` as variables. Raises KeyError for one that is missing."""
    asked = root(schema, operation).fields[field]
    missing = [name for name, one in asked.args.items() if is_required_argument(one) and name not in given]
    if missing:
        raise KeyError(f"{operation}.{field} needs {missing}: say in the test what to ask for")
    declared = ", ".join(f"${name}: {asked.args[name].type}" for name in given)
    passed = ", ".join(f"{name}: ${name}" for name in given)
    head = f"{operation} ({declared})" if given else operation
    return f"{head} {{ {field}{f'({passed})' if given else ''} {_selection(schema, asked.type, DEEP)} }}"


def root(schema: GraphQLSchema, operation: str) -> GraphQLObjectType:
    """The type whose fields an operation of this kind asks for."""
    roots = {"query": schema.query_type, "mutation": schema.mutation_type, "subscription": schema.subscription_type}
    found = roots[operation]
    assert found is not None
    return found


def _selection(schema: GraphQLSchema, type_: GraphQLOutputType, deep: int) -> str:
    named: Any = get_named_type(type_)
    match named:
        case GraphQLUnionType() | GraphQLInterfaceType():
            members = schema.get_possible_types(named)
            clashing = _clashing(members)
            parts = [f"... on {one.name} {_fields(schema, one, deep, clashing)}" for one in members]
            return f"{{ __typename {' '.join(parts)} }}"
        case GraphQLObjectType():
            return _fields(schema, named, deep, frozenset())
    return ""


def _fields(schema: GraphQLSchema, type_: GraphQLObjectType, deep: int, clashing: frozenset[str]) -> str:
    own = type_.name.lower()
    parts = [
        _part(schema, f"{own}_{name}: {name}" if name in clashing else name, one, deep)
        for name, one in type_.fields.items()
    ]
    return f"{{ {' '.join(['__typename', *filter(None, parts)])} }}"


def _part(schema: GraphQLSchema, told: str, field: GraphQLField, deep: int) -> str:
    if any(is_required_argument(one) for one in field.args.values()):
        return ""
    if is_leaf_type(get_named_type(field.type)):
        return told
    return "" if deep == 0 else f"{told} {_selection(schema, field.type, deep - 1)}"


def _clashing(members: Iterable[GraphQLObjectType]) -> frozenset[str]:
    """The names of fields that have different types in these members: one answer cannot hold both under one name."""
    types: dict[str, set[str]] = {}
    for member in members:
        for name, field in member.fields.items():
            types.setdefault(name, set()).add(str(field.type))
    return frozenset(name for name, found in types.items() if len(found) > 1)
