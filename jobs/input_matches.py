"""What it means that a job's input matches: the value at a path is the one that is asked for. MongoDB is asked the same.

A path is keys with dots in between; within a list, a whole number counts as a place. Values are the same as in JSON: 1 and
1.0 are, 1 and true are not, nor null and nothing at all; the order of an object's keys does not matter. Each path is a
condition, and all have to be met; of several values for one path, one has to be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from jobs.errors import Issue
from jobs.filters import InputMatch
from jobs.json_values import JsonValue, NotJson, check_json

MAX_MATCHES: Final = 10
MAX_PATH: Final = 256
"""Characters of a path."""

MAX_SEGMENTS: Final = 16
MAX_PARTS: Final = 100
"""Values within one that is asked for, itself included: each is a comparison."""

MAX_DEPTH: Final = 5
"""Levels of nesting of a value that is asked for."""

_PLACE: Final = re.compile(r"0|[1-9][0-9]{0,5}", re.ASCII)
"""A place in a list: no list of an input has as many values as have more digits."""


def segments(path: str) -> list[str]:
    """The keys that a path is made of."""
    return path.split(".")


def place(segment: str) -> int | None:
    """The place in a list that a segment names, if it can be one."""
    return int(segment) if _PLACE.fullmatch(segment) else None


def path_problem(path: str) -> str | None:
    """What is wrong with a path; None when it is in order."""
    if len(path) > MAX_PATH:
        return f"{len(path)} characters, more than the {MAX_PATH} allowed"
    parts = segments(path)
    if len(parts) > MAX_SEGMENTS:
        return f"{len(parts)} keys, more than the {MAX_SEGMENTS} allowed"
    if not all(parts):
        return "must be keys with single dots between them, such as user.id"
    if any(part.startswith("$") for part in parts):
        return "no key may begin with $"
    # What no input can hold as a key.
    try:
        check_json({path: None})
    except NotJson as error:
        return str(error)
    return None


def index_path_problem(path: str) -> str | None:
    """What is wrong with a path as that of an index; None when it is in order."""
    if any(part.isdigit() for part in segments(path)):
        # MongoDB would refuse inputs with a key of that name within a list.
        return "no key of an index may be a number"
    return path_problem(path)


def match_issues(wanted: Sequence[InputMatch], path: tuple[str, ...]) -> Iterator[Issue]:
    """What is wrong with the matches that stand at ``path`` in the caller's arguments."""
    if len(wanted) > MAX_MATCHES:
        yield Issue(path, f"{len(wanted)} values, more than the {MAX_MATCHES} allowed")
        return
    for index, match in enumerate(wanted):
        problems = {"path": path_problem(match.path), "equals": _value_problem(match.equals)}
        yield from (Issue((*path, str(index), name), problem) for name, problem in problems.items() if problem)


def values_by_path(wanted: Sequence[InputMatch]) -> Mapping[str, list[JsonValue]]:
    """The conditions: for each path the values of which one has to be there."""
    values: dict[str, list[JsonValue]] = {}
    for match in wanted:
        values.setdefault(match.path, []).append(match.equals)
    return values


def matches_input(wanted: Sequence[InputMatch] | None, value: JsonValue) -> bool:
    """Whether an input meets all conditions; none are met when there is an empty list of them."""
    if wanted is None:
        return True
    conditions = values_by_path(wanted).items()
    return bool(wanted) and all(_has_one(value, segments(path), values) for path, values in conditions)


def _has_one(value: JsonValue, steps: list[str], values: list[JsonValue]) -> bool:
    found = _walk(value, steps)
    return bool(found) and any(_same(found[0], one) for one in values)


def _walk(value: JsonValue, steps: list[str]) -> list[JsonValue]:
    """The value at the end of the path, alone in a list; an empty one when the path does not lead anywhere."""
    for step in steps:
        number = place(step)
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and number is not None and number < len(value):
            value = value[number]
        else:
            return []
    return [value]


def _same(one: JsonValue, other: JsonValue) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    # In Python, true is 1.
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _value_problem(value: JsonValue) -> str | None:
    try:
        check_json(value)
    except NotJson as error:
        return str(error)
    level, depth, parts = [value], 0, 0
    while level:
        depth, parts = depth + 1, parts + len(level)
        level = [child for item in level for child in _children(item)]
    if depth > MAX_DEPTH:
        return f"nested {depth} levels deep, more than the {MAX_DEPTH} allowed"
    return f"{parts} values in it, more than the {MAX_PARTS} allowed" if parts > MAX_PARTS else None


def _children(item: JsonValue) -> list[JsonValue]:
    if isinstance(item, dict):
        return list(item.values())
    return item if isinstance(item, list) else []
