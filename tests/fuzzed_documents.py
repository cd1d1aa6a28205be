"""GraphQL documents and values made from the published schema: right ones, and such as nobody should send."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLUnionType,
    build_schema,
    get_named_type,
)
from hypothesis import strategies as st

from schema.build import printed_schema

SCHEMA: Final = build_schema(printed_schema())
JOB: Final = "@job@"
"""Stands for the id of a job that there is, which nobody knows yet when a request is made up."""
CURSOR: Final = "@cursor@"
"""Stands for a cursor that the gateway has given out."""

_DEEPEST: Final = 4

Draw = Callable[..., Any]


class Word(str):
    """The name of a value of an enum: literals have it without quotes."""

    __slots__ = ()


OPERATORS: Final = st.sampled_from(
    [
        {"$ne": None},
        {"$gt": ""},
        {"$where": "sleep(9000) || true"},
        {"$regex": "(a+)+$"},
        {"$expr": {"$function": {"body": "function() { return true }", "args": [], "lang": "js"}}},
        {"$in": [[], {}]},
        {"a": {"$exists": True}},
        {"__proto__": {"x": 1}},
        ["$ne", 1],
        "$where",
        "$$ROOT",
        "status.$[]",
    ]
)
"""What would change the meaning of a question to MongoDB, if it got there unwrapped."""

TEXTS: Final = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", " ", "shop", "prd", "demo", "echo", JOB, CURSOR, "job_", "\x00", "a\x00b", "\ud800", "\r\nX: y", "é" * 300]
    ),
    st.sampled_from(["a" * 5000, "../../etc/passwd", "'\";--", "%00", "\u202e", "9" * 40, "-0", "1e999", "[" * 500]),
)
NUMBERS: Final = st.one_of(
    st.integers(-5, 500),
    st.sampled_from([2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63, -(2**63) - 1, 10**40, 10**400]),
    st.floats(allow_nan=False, allow_infinity=False),
)
ANY_JSON: Final = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
HOSTILE: Final = OPERATORS | ANY_JSON

_TIMES: Final = st.one_of(
    st.sampled_from(["2026-03-01T00:00:00Z", "2099-01-01T00:00:00.000Z", "0001-01-01T00:00:00+14:00", "9999-12-31"]),
    st.sampled_from(
        ["2026-02-30T00:00:00Z", "2026-03-01T24:00:00Z", "2016-12-31T23:59:60Z", "9999-12-31T23:59:59-14:00"]
    ),
    st.integers(-(10**16), 10**16),
)
_SCALARS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "Int": st.integers(-2, 250) | st.sampled_from([2**31 - 1, -(2**31)]),
    "Float": st.floats(allow_nan=False, allow_infinity=False),
    "Boolean": st.booleans(),
    "ID": st.sampled_from([JOB, JOB, "job_1", "wh_1", "op_1", ""]) | TEXTS,
    "String": st.sampled_from(["shop", "prd", "demo", "echo", "* * * * *", "Europe/Berlin", CURSOR]) | TEXTS,
    "DateTime": _TIMES,
    "Milliseconds": st.integers(-1, 10**9) | st.sampled_from([2**53, 2**63, -(2**70)]),
    "JSON": ANY_JSON | OPERATORS,
}


@dataclass
class Operation:
    """A document, and the variables that go with it."""

    document: str
    variables: dict[str, Any]


@dataclass
class _Writer:
    """Writes one operation, and notes which variables it has declared."""

    draw: Draw
    spoilt: bool
    """Whether it may be wrong: values of wrong types, names that there are not, and the like."""
    declared: list[str] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)

    def happens(self, once_in: int) -> bool:
        return bool(self.draw(st.integers(1, once_in)) == 1)

    def value(self, type_: Any) -> Any:
        if self.spoilt and self.happens(8):
            return self.draw(HOSTILE)
        match type_:
            case GraphQLNonNull():
                return self.value(type_.of_type)
            case GraphQLList():
                return [self.value(type_.of_type) for _ in range(self.draw(st.integers(0, 3)))]
            case GraphQLEnumType():
                return Word(self.draw(st.sampled_from(sorted(type_.values))))
            case GraphQLInputObjectType():
                return self.members(type_)
            case GraphQLScalarType():
                return self.draw(_SCALARS[type_.name])
        raise AssertionError(f"{type_} is no type of inputs")

    def members(self, type_: GraphQLInputObjectType) -> dict[str, Any]:
        given = {name: self.value(one.type) for name, one in type_.fields.items() if self.is_given(one)}
        if self.spoilt and self.happens(10):
            given[self.draw(TEXTS)] = self.draw(HOSTILE)
        return given

    def is_given(self, one: GraphQLArgument | GraphQLInputField) -> bool:
        is_needed = isinstance(one.type, GraphQLNonNull) and one.default_value is None
        return (is_needed and not (self.spoilt and self.happens(10))) or self.happens(3)

    def argument(self, name: str, one: GraphQLArgument) -> str:
        value = self.value(one.type)
        if self.happens(3):
            return f"{name}: {literal(value)}"
        variable = f"v{len(self.declared)}"
        wrong = self.spoilt and self.happens(12)
        self.declared.append(f"${variable}: {'[[Int!]!]' if wrong else one.type}")
        self.variables[variable] = value
        return f"{name}: ${variable}"

    def field(self, name: str, one: GraphQLField, depth: int) -> str:
        given = [self.argument(key, argument) for key, argument in one.args.items() if self.is_given(argument)]
        alias = f"{self.draw(st.sampled_from('abc'))}: " if self.happens(10) else ""
        text = alias + name + (f"({', '.join(given)})" if given else "")
        inner = get_named_type(one.type)
        if isinstance(inner, GraphQLScalarType | GraphQLEnumType):
            return text
        return f"{text} {self.selection(inner, depth)}"

    def selection(self, type_: Any, depth: int) -> str:
        if isinstance(type_, GraphQLUnionType):
            chosen = self.draw(st.lists(st.sampled_from(type_.types), min_size=1, max_size=3, unique_by=str))
            inner = [f"... on {one} {self.selection(one, depth + 1)}" for one in chosen]
            return "{ __typename " + " ".join(inner) + " }"
        assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
        # From a certain depth on nothing but leaves, so that it comes to an end.
        fields = [name for name, one in type_.fields.items() if depth < _DEEPEST or _is_leaf(one)]
        chosen_names = self.draw(st.lists(st.sampled_from(fields), max_size=4, unique=True)) if fields else []
        selected = [self.field(name, type_.fields[name], depth + 1) for name in chosen_names]
        if self.spoilt and self.happens(12):
            selected.append(
                self.draw(st.sampled_from(["nothing", "id { id }", "...", "... on Job", "a: b: c", "$x", "@x"]))
            )
        return "{ __typename " + " ".join(selected) + " }"


def _is_leaf(one: GraphQLField) -> bool:
    needed = any(isinstance(argument.type, GraphQLNonNull) for argument in one.args.values())
    return not needed and isinstance(get_named_type(one.type), GraphQLScalarType | GraphQLEnumType)


def literal(value: Any) -> str:
    """A value as a document has it."""
    match value:
        case Word():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{key}: {literal(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(literal, value)) + "]"
    return json.dumps(value)


@st.composite
def operations(draw: Draw, spoilt: bool = False, kinds: str = "qqqmms") -> Operation:
    """An operation of one root field. One that is not ``spoilt`` is right as far as the schema can tell."""
    writer = _Writer(draw, spoilt)
    kind = draw(st.sampled_from(kinds))
    roots = {"q": SCHEMA.query_type, "m": SCHEMA.mutation_type, "s": SCHEMA.subscription_type}
    root = roots[kind]
    assert root is not None
    name = draw(st.sampled_from(sorted(root.fields)))
    body = writer.field(name, root.fields[name], 0)
    declared = f"({', '.join(writer.declared)})" if writer.declared else ""
    word = {"q": "query", "m": "mutation", "s": "subscription"}[kind]
    return Operation(f"{word} X{declared} {{ {body} }}", writer.variables)
