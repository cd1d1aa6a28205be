"""Matches of a job's input as a MongoDB filter: what ``jobs.input_matches`` says of a value, said in expressions.

MongoDB's own equality finds a value in a list as well, takes what is missing for null, and minds the order of keys. So the
exact answer is an expression; MongoDB's equality beside it only says where to look, for the sake of an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.filters import InputMatch
from jobs.input_matches import place, segments, values_by_path
from jobs.json_values import JsonValue
from storage.documents import Document

_VALUE = "$$value"


def input_conditions(wanted: Sequence[InputMatch]) -> list[Document]:
    """The documents whose input meets all of the conditions; an empty list matches none."""
    if not wanted:
        return [{"_id": {"$in": []}}]
    return [_condition(path, values) for path, values in values_by_path(wanted).items()]


def _condition(path: str, values: list[JsonValue]) -> Document:
    exact = {"$expr": _at(segments(path), {"$or": [_same(value) for value in values]})}
    if any(isinstance(value, dict | list) for value in values):
        return exact
    return {f"input.{path}": {"$eq": values[0]} if len(values) == 1 else {"$in": values}, **exact}


def _at(steps: list[str], condition: Document) -> Document:
    """A condition on the value that the steps lead to, from the input on."""
    for step in reversed(steps):
        condition = _with_value(_step(step), condition)
    return _with_value("$input", condition)


def _with_value(value: Any, condition: Document) -> Document:
    return {"$let": {"vars": {"value": value}, "in": condition}}


def _step(step: str) -> Document:
    branches: list[Document] = [{"case": _IS_OBJECT, "then": _field(step)}]
    number = place(step)
    if number is not None:
        branches.append({"case": _IS_LIST, "then": _element(number)})
    return {"$switch": {"branches": branches, "default": "$$REMOVE"}}


def _same(value: JsonValue) -> Document:
    if isinstance(value, dict):
        size = {"$size": {"$objectToArray": _VALUE}}
        fields = [_with_value(_field(key), _same(child)) for key, child in value.items()]
        return _when(_IS_OBJECT, [{"$eq": [size, len(value)]}, *fields])
    if isinstance(value, list):
        elements = [_with_value(_element(number), _same(child)) for number, child in enumerate(value)]
        return _when(_IS_LIST, [{"$eq": [{"$size": _VALUE}, len(value)]}, *elements])
    return {"$eq": [_VALUE, {"$literal": value}]}


def _when(kind: Document, conditions: list[Document]) -> Document:
    # Unlike $and, $cond promises not to look at what it does not need: the size of a number is an error.
    return {"$cond": [kind, {"$and": conditions}, False]}


def _field(name: str) -> Document:
    return {"$getField": {"field": {"$literal": name}, "input": _VALUE}}


def _element(number: int) -> Document:
    return {"$arrayElemAt": [_VALUE, number]}


_IS_OBJECT: Document = {"$eq": [{"$type": _VALUE}, "object"]}
_IS_LIST: Document = {"$isArray": [_VALUE]}
