"""Which parts of an input are secret by a schema: wherever one that can apply says so, and nowhere unseen."""

from __future__ import annotations

from typing import Any, Final

import pytest
from pydantic import BaseModel, SecretStr

from jobs.input_schemas import BadSchema, schema_issues, schema_text
from jobs.json_values import JsonValue
from jobs.secret_places import has_secrets, secret_places, secrets_problem
from worker.input_schemas import declared_schema

SECRET: Final[dict[str, Any]] = {"type": "string", "writeOnly": True}


def places(schema: dict[str, Any], value: JsonValue) -> list[str]:
    return [".".join(place) for place in secret_places(schema_text(schema), value)]


@pytest.mark.parametrize(
    ("schema", "value", "secret"),
    [
        pytest.param({"properties": {"a": SECRET}}, {"a": "x", "b": "y"}, ["a"], id="property"),
        pytest.param({"properties": {"a": SECRET}}, {"a": None}, [], id="null is none"),
        pytest.param({"properties": {"a": {"writeOnly": False}}}, {"a": "x"}, [], id="marked as not"),
        pytest.param({"properties": {"writeOnly": {"type": "string"}}}, {"writeOnly": "x"}, [], id="of that name"),
        pytest.param({"properties": {"a": {"properties": {"b": SECRET}}}}, {"a": {"b": 1}}, ["a.b"], id="deep"),
        pytest.param({"properties": {"a": {"writeOnly": True}}}, {"a": {"b": [1]}}, ["a"], id="an object as a whole"),
        pytest.param({"items": SECRET}, ["x", "y"], ["0", "1"], id="items"),
        pytest.param({"prefixItems": [{}, SECRET]}, ["x", "y"], ["0", "1"], id="all items where some are"),
        pytest.param({"contains": SECRET}, ["x"], ["0"], id="contains"),
        pytest.param({"unevaluatedItems": SECRET}, ["x"], ["0"], id="unevaluated items"),
        pytest.param(
            {"properties": {"a": {}}, "additionalProperties": SECRET},
            {"a": "x", "b": "y"},
            ["b"],
            id="other properties",
        ),
        pytest.param({"unevaluatedProperties": SECRET}, {"b": "y"}, ["b"], id="unevaluated properties"),
        pytest.param(
            {"patternProperties": {"^pass": SECRET}, "additionalProperties": {}},
            {"password": "x", "b": "y"},
            ["password"],
            id="pattern",
        ),
        pytest.param({"properties": {"a": {"anyOf": [SECRET, {"type": "null"}]}}}, {"a": "x"}, ["a"], id="anyOf"),
        pytest.param({"oneOf": [{"properties": {"a": SECRET}}, {}]}, {"a": "x"}, ["a"], id="oneOf at the top"),
        pytest.param({"allOf": [{"properties": {"a": SECRET}}]}, {"a": "x"}, ["a"], id="allOf"),
        pytest.param({"if": {}, "then": {"properties": {"a": SECRET}}}, {"a": "x"}, ["a"], id="then"),
        pytest.param({"if": False, "else": {"properties": {"a": SECRET}}}, {"a": "x"}, ["a"], id="else"),
        pytest.param({"not": {"properties": {"a": SECRET, "b": False}}}, {"a": "x", "b": 1}, ["a"], id="not"),
        pytest.param({"dependentSchemas": {"b": {"properties": {"a": SECRET}}}}, {"a": "x"}, ["a"], id="dependent"),
        pytest.param(
            {"properties": {"a": {"$ref": "#/$defs/s"}}, "$defs": {"s": SECRET}}, {"a": "x"}, ["a"], id="reference"
        ),
        pytest.param(
            {"properties": {"a": {"$ref": "#s"}}, "$defs": {"s": {"$anchor": "s", **SECRET}}},
            {"a": "x"},
            ["a"],
            id="reference to an anchor",
        ),
        pytest.param(
            {
                "properties": {"a": {"$ref": "/s"}},
                "$id": "https://e.example/x",
                "$defs": {"s": {"$id": "/s", **SECRET}},
            },
            {"a": "x"},
            ["a"],
            id="reference to an id",
        ),
        pytest.param(
            {
                "properties": {"a": {"$id": "https://e.example/within/", "properties": {"b": {"$ref": "s"}}}},
                "$defs": {"s": {"$id": "https://e.example/within/s", **SECRET}},
            },
            {"a": {"b": "x"}},
            ["a.b"],
            id="reference from within an id",
        ),
        pytest.param(
            {"properties": {"a": {"$ref": "#/$defs/any"}, "b": SECRET}, "$defs": {"any": True}},
            {"a": 1, "b": "x"},
            ["b"],
            id="reference to anything",
        ),
        pytest.param(
            {"properties": {"a": {"$ref": "#/components/schemas/M"}}, "components": {"schemas": {"M": SECRET}}},
            {"a": "x"},
            ["a"],
            id="reference to a component of OpenAPI",
        ),
        pytest.param(
            {"properties": {"a": {"$ref": "#/x-shared"}}, "x-shared": {"properties": {"b": SECRET}}},
            {"a": {"b": "x"}},
            ["a.b"],
            id="reference to an unknown keyword",
        ),
        pytest.param(
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "properties": {"a": {"$ref": "#/$defs/M"}},
                "$defs": {"M": SECRET},
            },
            {"a": "x"},
            ["a"],
            id="reference to what only later dialects know",
        ),
        pytest.param(
            {"properties": {"p": SECRET, "next": {"$ref": "#"}}},
            {"p": 1, "next": {"p": 2, "next": {"p": 3}}},
            ["p", "next.p", "next.next.p"],
            id="recursion",
        ),
        pytest.param(
            {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"allOf": [{"$ref": "#/$defs/x"}, SECRET]}}},
            {"a": "x"},
            ["a"],
            id="what refers to itself",
        ),
        pytest.param(
            {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{}, SECRET], "additionalItems": {}},
            ["x", "y"],
            ["0", "1"],
            id="draft 7",
        ),
        pytest.param(
            {"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"b": ["c"]}, "items": SECRET},
            ["x"],
            ["0"],
            id="dependencies of draft 7",
        ),
    ],
)
def test_what_can_apply_and_says_so_makes_it_secret(
    schema: dict[str, Any], value: JsonValue, secret: list[str]
) -> None:
    assert sorted(places(schema, value)) == sorted(secret)


class Account(BaseModel):
    user: str
    password: SecretStr
    pin: SecretStr | None = None


class Move(BaseModel):
    source: Account
    targets: list[Account]


def test_secret_strings_of_pydantic_are_secret_however_deep() -> None:
    account = {"user": "ann", "password": "x", "pin": "1"}
    value = {"source": account, "targets": [account, {"user": "b", "password": "y", "pin": None}]}
    secret = [".".join(place) for place in secret_places(declared_schema(Move), value)]
    assert sorted(secret) == sorted(
        ["source.password", "source.pin", "targets.0.password", "targets.0.pin", "targets.1.password"]
    )


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        (SECRET, "at the top"),
        ({"allOf": [SECRET]}, "at the top"),
        ({"$ref": "#/$defs/s", "$defs": {"s": SECRET}}, "at the top"),
        ({"propertyNames": SECRET}, "about no part of an input"),
        ({"properties": {"a": {"contentSchema": SECRET}}}, "about no part of an input"),
        ({"$defs": {"s": SECRET}}, "about no part of an input"),
        (
            {"properties": {"a": SECRET, "b": {"$dynamicRef": "#n"}}, "$defs": {"n": {"$dynamicAnchor": "n"}}},
            "$dynamicRef",
        ),
        (
            {"properties": {"a": SECRET, "b": {"$ref": "#/x-shared"}}, "x-shared": {"$dynamicRef": "#n"}},
            "$dynamicRef",
        ),
        ({"properties": {"a": {"$ref": "#/x-shared"}}, "x-shared": {"propertyNames": SECRET}}, "no part of an input"),
        (
            {"properties": {"a": {"$ref": "#/x-shared"}}, "x-shared": {"$ref": "#/no", **SECRET}},
            "refers to what is not",
        ),
        (
            {
                "$schema": "https://json-schema.org/draft/2019-09/schema",
                "properties": {"a": SECRET, "b": {"$recursiveRef": "#"}},
            },
            "$recursiveRef",
        ),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": SECRET}}, "take draft 7"),
    ],
)
def test_what_could_not_be_kept_is_refused_when_it_is_declared(schema: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadSchema) as refused:
        schema_text(schema)
    assert complaint in str(refused.value)


def test_a_stored_schema_that_refers_to_nothing_is_a_problem_only_with_secrets() -> None:
    assert secrets_problem('{"properties": {"a": {"$ref": "#/x"}}}') is None
    assert secrets_problem('{"properties": {"a": {"$ref": "#/x"}, "b": {"writeOnly": true}}}') is not None


def test_a_schema_of_an_unknown_dialect_has_its_secrets_all_the_same() -> None:
    text = '{"$schema": "https://e.example/mine", "properties": {"a": {"writeOnly": true}}}'
    assert has_secrets(text)
    assert list(secret_places(text, {"a": 1})) == [("a",)]


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ({"password": "hunter2"}, "password", "does not meet minLength 8 of the task's schema"),
        ({"password": ["hunter2"]}, "password", 'does not meet type "string" of the task\'s schema'),
        ("hunter2", "", 'does not meet type "object" of the task\'s schema'),
        ({"pasword": "hunter2", "user": "ann"}, "", "'password' is a required property"),
        ({"password": "hunter2hunter2", "user": "hunter2"}, "user", "does not meet enum of the task's schema"),
        ({"password": "hunter2hunter2", "never": "hunter2"}, "", "is not allowed by the task's schema"),
        (
            {"password": "hunter2hunter2", "x": "hunter2"},
            "",
            "Additional properties are not allowed ('x' was unexpected)",
        ),
    ],
)
def test_no_complaint_quotes_a_value_where_there_are_secrets(value: JsonValue, path: str, message: str) -> None:
    schema = {
        "type": "object",
        "required": ["password"],
        "properties": {"password": {**SECRET, "minLength": 8}, "user": {"enum": ["ann"]}, "never": False},
        "additionalProperties": False,
    }
    found = {(".".join(issue.path), issue.message) for issue in schema_issues(schema_text(schema), value, ())}
    assert (path, message) in found
    assert "hunter2" not in str(found)
