"""What tasks declare their input to be, and what violates it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, Field

from jobs.dispatch import TaskTerms
from jobs.errors import InvalidInput
from jobs.input_schemas import BadSchema, schema_issues, schema_text
from jobs.json_values import JsonValue
from tests.factories import make_job
from worker.input_schemas import declared_schema
from worker.tasks import TaskLoadError, define, load_tasks, task

LETTER: dict[str, Any] = {
    "type": "object",
    "required": ["to"],
    "properties": {
        "to": {"type": "array", "items": {"$ref": "#/$defs/address"}, "uniqueItems": True},
        "priority": {"enum": ["low", "high"]},
        "parts": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "size": {"anyOf": [{"type": "integer"}, {"type": "object", "properties": {"mm": {"type": "integer"}}}]},
    },
    "additionalProperties": False,
    "$defs": {"address": {"type": "object", "required": ["mail"], "properties": {"mail": {"type": "string"}}}},
}


class Address(BaseModel):
    mail: str


class Letter(BaseModel):
    to: list[Address] = Field(min_length=1)
    copies: int = 1


@dataclass
class Parcel:
    weight: float


class Postcard(msgspec.Struct):
    to: list[str]
    copies: int = 1


def handler(context: Any, given: Any) -> Any: ...


def issues(schema: dict[str, Any], value: JsonValue) -> list[tuple[str, str]]:
    found = schema_issues(schema_text(schema), value, ("input", "input"))
    return [("/".join(issue.path), issue.message) for issue in found]


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ({}, "", "'to' is a required property"),
        ([], "", "[] is not of type 'object'"),
        ({"to": {}}, "/to", "{} is not of type 'array'"),
        ({"to": [{"mail": "a"}, {}]}, "/to/1", "'mail' is a required property"),
        ({"to": [{"mail": 7}]}, "/to/0/mail", "7 is not of type 'string'"),
        ({"to": [{"mail": "a"}, {"mail": "a"}]}, "/to", "has the same item more than once"),
        ({"to": [], "priority": "none"}, "/priority", "'none' is not one of ['low', 'high']"),
        ({"to": [], "parts": [[1], [2, "x"]]}, "/parts/1/1", "'x' is not of type 'integer'"),
        ({"to": [], "parts": [[True]]}, "/parts/0/0", "True is not of type 'integer'"),
        ({"to": [], "size": {"mm": "x"}}, "/size/mm", "'x' is not of type 'integer'"),
        ({"to": [], "cc": 1}, "", "Additional properties are not allowed ('cc' was unexpected)"),
    ],
)
def test_a_violation_has_a_path(value: JsonValue, path: str, message: str) -> None:
    assert issues(LETTER, value) == [(f"input/input{path}", message)]


def test_what_meets_the_schema_is_in_order() -> None:
    assert issues(LETTER, {"to": [{"mail": "a"}, {"mail": "b"}], "parts": [[], [1, 2.0]], "size": 3}) == []


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, 1.0], False),
        ([0, -0.0], False),
        ([1, True], True),
        ([0, False, None, "0"], True),
        ([{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], False),
        ([{"a": 1}, {"a": 1.5}], True),
        ([[1], [1]], False),
        ([[1, 2], [2, 1]], True),
    ],
)
def test_items_are_the_same_as_in_json(items: list[JsonValue], unique: bool) -> None:
    assert (issues({"uniqueItems": True}, items) == []) is unique
    assert issues({"uniqueItems": False}, items) == []
    assert issues({"uniqueItems": True}, "aa") == []


def test_many_items_are_compared_in_a_time_that_grows_with_their_number() -> None:
    # One by one, these would take minutes. The root is referred to for its dialect not to bring the slow comparison back.
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "uniqueItems": True, "items": {"$ref": "#"}}
    assert issues(schema, [[{"n": number} for number in range(10_000)]]) == []


def test_so_many_violations_are_told_each_in_so_many_characters() -> None:
    found = issues({"items": {"type": "integer"}}, ["x" * 10_000] * 30)
    assert len(found) == 20
    path, message = found[19]
    assert (path, len(message)) == ("input/input/19", 303)
    assert message.startswith("'xxx")
    assert message.endswith("xxx' is not of type 'integer'")
    [(path, _)] = issues({"additionalProperties": {"type": "integer"}}, {"k" * 10_000: "x"})
    assert path == "input/input/" + "k" * 200


ENDLESS = "cannot be checked: the task's schema refers to itself without end, or to what is not in it"


def test_a_schema_that_refers_to_itself_without_end_accepts_nothing() -> None:
    assert issues({"$ref": "#"}, {}) == [("input/input", ENDLESS)]


def test_a_schema_that_refers_to_itself_is_followed_as_far_as_the_value_goes() -> None:
    tree = {"type": "object", "additionalProperties": {"$ref": "#"}}
    assert issues(tree, {"a": {"b": {"c": 1}}}) == [("input/input/a/b/c", "1 is not of type 'object'")]


NOTHING_WITHIN = "refers to nothing within the schema, and nothing else is ever fetched"


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"type": "text"}, "$.type: 'text' is not valid under any of the given schemas"),
        ({"properties": {"a": {"pattern": "("}}}, "$.properties.a.pattern: '(' is not a 'regex'"),
        (
            {"$schema": "http://localhost/mine"},
            "$schema: 'http://localhost/mine' is not a known dialect of JSON Schema",
        ),
        ({"$schema": []}, "$schema: [] is not a known dialect of JSON Schema"),
        ({"items": {"$ref": "#/$defs/none"}}, f"'#/$defs/none' {NOTHING_WITHIN}"),
        ({"allOf": [{"$dynamicRef": "#none"}]}, f"'#none' {NOTHING_WITHIN}"),
        ({"$ref": "other.json"}, f"'other.json' {NOTHING_WITHIN}"),
        ({"minimum": float("nan")}, "not JSON: a number that is not finite at minimum"),
        ({"enum": [{1}]}, "not JSON: set is not JSON at enum[0]"),
        ({"title": "x" * 70_000}, "more than 65536 bytes of JSON"),
    ],
)
def test_what_is_no_schema_is_not_loaded(schema: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadSchema) as refused:
        schema_text(schema)
    assert str(refused.value) == complaint
    with pytest.raises(TaskLoadError) as failed:
        define("mail.send", handler, input=schema)
    assert str(failed.value) == f"task 'mail.send': the input schema is of no use: {complaint}"


@pytest.mark.filterwarnings("ignore:Automatically retrieving remote references")
def test_nothing_is_fetched(tmp_path: Path) -> None:
    """Not even for a schema that was not checked, which something else has stored; a file could be had without a network."""
    file = tmp_path / "schema.json"
    file.write_text('{"type": "string"}')
    for url in ("http://127.0.0.1:1/schema.json", file.as_uri()):
        with pytest.raises(BadSchema, match="nothing else is ever fetched"):
            schema_text({"$ref": url})
        [issue] = schema_issues(json.dumps({"$ref": url}), {}, ())
        assert issue.message == ENDLESS


@pytest.mark.parametrize(
    ("declared", "wrong", "path", "message"),
    [
        (LETTER, {"to": 1}, "to", "1 is not of type 'array'"),
        (Letter, {"to": [{"mail": "a"}, {"mail": 1}]}, "to/1/mail", "1 is not of type 'string'"),
        (list[Letter], [{"to": []}], "0/to", "[] should be non-empty"),
        (Parcel, {"weight": "x"}, "weight", "'x' is not of type 'number'"),
        (Postcard, {"to": [1]}, "to/0", "1 is not of type 'string'"),
        (dict[str, int], {"a": "x"}, "a", "'x' is not of type 'integer'"),
    ],
)
def test_types_are_described(declared: Any, wrong: JsonValue, path: str, message: str) -> None:
    [issue] = schema_issues(declared_schema(declared), wrong, ())
    assert ("/".join(issue.path), issue.message) == (path, message)


class Unknown:
    pass


@pytest.mark.parametrize("declared", [Unknown, 3, ..., "Nowhere", list["Nowhere"]])  # type: ignore[name-defined]  # noqa: F821  # which is the point
def test_what_has_no_schema_is_not_loaded(declared: Any) -> None:
    with pytest.raises(
        TaskLoadError, match=r"^task 'mail.send': the input schema is of no use: .* has no JSON Schema: "
    ):
        define("mail.send", handler, input=declared)


def test_msgspec_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "msgspec")
    assert json.loads(declared_schema(Parcel))["required"] == ["weight"]


def test_a_declaration_carries_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.tasks._declared", [])
    task("mail.send", input=LETTER)(handler)
    found = load_tasks([]).find("mail", "send")
    assert found is not None
    assert found.input_schema is not None
    assert json.loads(found.input_schema) == LETTER
    assert define("mail.send", handler).input_schema is None


def test_a_dispatch_is_told_everything_at_once() -> None:
    terms = TaskTerms(input_schema=schema_text(LETTER))
    with pytest.raises(InvalidInput) as refused:
        make_job(terms=terms, input={"to": [{}]}, priority=5000)
    assert [issue.path for issue in refused.value.issues] == [("input", "input", "to", "0"), ("input", "priority")]
    assert make_job(terms=terms, input={"to": []}).input == {"to": []}


def test_what_is_not_json_is_not_looked_at_further() -> None:
    with pytest.raises(InvalidInput) as refused:
        make_job(terms=TaskTerms(input_schema=schema_text(LETTER)), input=float("nan"))
    assert [issue.message for issue in refused.value.issues] == ["a number that is not finite at the top"]


@pytest.mark.parametrize("marked", [False, True])
def test_what_must_not_be_there_is_called_what_the_schema_calls_it(marked: bool) -> None:
    unwanted = {"pattern": "@", "title": "a URL with a password"}
    text = schema_text({"properties": {"a": {"not": unwanted}, "b": {"writeOnly": marked}}})
    [issue] = schema_issues(text, {"a": "https://ann:hunter2@h"}, ())
    assert (issue.path, issue.message) == (("a",), "must not be a URL with a password")


@pytest.mark.parametrize("unwanted", [{"pattern": "@"}, True])
def test_what_must_not_be_there_and_has_no_name_is_quoted(unwanted: Any) -> None:
    [issue] = schema_issues(schema_text({"properties": {"a": {"not": unwanted}}}), {"a": "b@h"}, ())
    assert issue.message.startswith("'b@h' should not be valid under ")
