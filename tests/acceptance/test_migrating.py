"""The page ``docs/migrating.md`` is true: it has every call once, and what it says instead is valid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from graphql import GraphQLEnumType, GraphQLInterfaceType, GraphQLObjectType, build_schema, parse, validate

from schema.build import printed_schema

PAGE: Final = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text(encoding="utf-8")
SCHEMA: Final = build_schema(printed_schema())

CALLS: Final = {
    "actions.dispatch": 1,
    "jobs.get": 1,
    "jobs.list": 5,
    "jobs.cancel": 2,
    "jobs.cancelMany": 1,
    "jobs.pause": 1,
    "jobs.pauseMany": 2,
    "jobs.resume": 1,
    "jobs.resumeMany": 1,
    "jobs.reschedule": 3,
    "jobs.getHistory": 1,
    "jobs.getStats": 1,
    "jobs.retry": 2,
    "jobs.retryMany": 1,
    "jobs.delete": 1,
    "jobs.deleteMany": 2,
    "jobs.setWebhook": 1,
}
"""How many ways of calling each there are."""

_CODE: Final = re.compile(r"`([^`]+)`")


def rows(title: str) -> list[tuple[str, str]]:
    """The two cells of each row of a section's table, but for its head."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    cells = [line.strip("| ").split(" | ") for line in lines]
    return [(left, right) for left, right in cells]


def code(cell: str) -> str | None:
    found = _CODE.search(cell)
    return found[1] if found else None


def test_every_call_is_there_once() -> None:
    calls = [code(call) for call, _ in rows("Calls")]
    assert len(set(calls)) == len(calls)
    names = [call.partition("(")[0] for call in calls if call]
    assert {name: names.count(name) for name in names} == CALLS


@pytest.mark.parametrize(("call", "instead"), [pytest.param(*row, id=row[0]) for row in rows("Calls")])
def test_what_is_said_to_do_it_is_valid(call: str, instead: str) -> None:
    document = code(instead)
    if document is None:
        name = call.strip("`").partition("(")[0].removeprefix("jobs.")
        assert SCHEMA.mutation_type is not None
        assert name not in SCHEMA.mutation_type.fields
    else:
        assert validate(SCHEMA, parse(document)) == []


@pytest.mark.parametrize(("field", "instead"), rows("Fields"))
def test_every_field_that_is_named_exists(field: str, instead: str) -> None:
    type_name, _, name = instead.strip("`").partition(".")
    type_ = SCHEMA.type_map[type_name]
    assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
    assert name in type_.fields
    words = (code(field) or "").split("_")
    assert name == words[0] + "".join(word.capitalize() for word in words[1:])


def test_every_event_that_is_named_exists() -> None:
    types = SCHEMA.type_map["JobEventType"]
    assert isinstance(types, GraphQLEnumType)
    for event, instead in rows("Events"):
        assert code(instead) in types.values
        assert (code(event) or "").replace(".", "_").upper() == code(instead)
