"""What a match of a job's input means, and which matches are refused."""

from typing import Any

import pytest

from jobs.filters import InputMatch, JobFilter, matches
from jobs.input_matches import index_path_problem, match_issues, matches_input, path_problem
from jobs.json_values import JsonValue
from tests.unit.test_filters import SNAPSHOT

GIVEN: dict[str, Any] = {
    "one": 1,
    "half": 0.5,
    "yes": True,
    "nothing": None,
    "text": "1",
    "list": [1, [2], {"deep": "x"}],
    "0": "zero",
    "user": {"id": 7, "names": {"first": "Ann", "last": "B"}},
    "a.b": "dotted",
    "empty": {},
    "none": [],
}

TABLE: list[tuple[str, JsonValue, bool]] = [
    ("one", 1, True),
    ("one", 1.0, True),
    ("one", True, False),
    ("one", "1", False),
    ("yes", True, True),
    ("yes", 1, False),
    ("half", 0.5, True),
    ("nothing", None, True),
    ("missing", None, False),
    ("nothing.more", None, False),
    ("one.more", None, False),
    ("text", "1", True),
    ("text.0", "1", False),
    ("list", 1, False),
    ("list", [1, [2], {"deep": "x"}], True),
    ("list", [1, [2]], False),
    ("list", [1, [2], {"deep": "y"}], False),
    ("list.0", 1, True),
    ("list.1.0", 2, True),
    ("list.1", 2, False),
    ("list.2.deep", "x", True),
    ("list.deep", "x", False),
    ("list.00", 1, False),
    ("list.3", 1, False),
    ("list.3", None, False),
    ("list.-1", {"deep": "x"}, False),
    ("list.99999999999999999999", 1, False),
    ("0", "zero", True),
    ("user.id", 7, True),
    ("user", {"names": {"last": "B", "first": "Ann"}, "id": 7}, True),
    ("user", {"id": 7}, False),
    ("user.names", {"first": "Ann", "last": None}, False),
    ("user.names", {"first": "Ann", "middle": "B"}, False),
    ("user", {"$gt": ""}, False),
    ("user.id", {"$ne": None}, False),
    ("user.id", {"$gt": 0}, False),
    ("a.b", "dotted", False),
    ("empty", {}, True),
    ("empty", [], False),
    ("empty", None, False),
    ("none", [], True),
    ("none", {}, False),
]


@pytest.mark.parametrize(("path", "equals", "expected"), TABLE)
def test_a_value_at_a_path(path: str, equals: JsonValue, expected: bool) -> None:
    assert matches_input([InputMatch(path, equals)], GIVEN) is expected


@pytest.mark.parametrize("given", [None, 1, "one", [], ["one"], [{"one": 1}]])
def test_an_input_without_the_path_does_not_match(given: JsonValue) -> None:
    assert not matches_input([InputMatch("one", 1)], given)


def test_paths_are_conditions_and_values_of_one_path_alternatives() -> None:
    one, seven = InputMatch("one", 1), InputMatch("user.id", 7)
    assert matches_input([one, seven], GIVEN)
    assert not matches_input([one, InputMatch("user.id", 8)], GIVEN)
    assert matches_input([one, InputMatch("user.id", 8), seven], GIVEN)


def test_no_condition_is_met_by_all_and_an_empty_list_by_none() -> None:
    assert matches_input(None, GIVEN)
    assert not matches_input([], GIVEN)


def test_events_do_not_carry_the_input() -> None:
    assert not matches(JobFilter(input=(InputMatch("one", 1),)), "job_1", SNAPSHOT)


KEYS = "must be keys with single dots between them, such as user.id"
PATHS = {
    "": KEYS,
    ".": KEYS,
    "a..b": KEYS,
    "a.": KEYS,
    "$where": "no key may begin with $",
    "a.$ne": "no key may begin with $",
    "a\0b": "a key with a NUL character at the top",
    "\ud800": "text that is not valid Unicode at the top",
    "a" * 257: "257 characters, more than the 256 allowed",
    ".".join("a" * 17): "17 keys, more than the 16 allowed",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_is_refused(path: str) -> None:
    assert path_problem(path) == PATHS[path]
    [issue] = match_issues([InputMatch("a", 1), InputMatch(path, 1)], ("filter", "input"))
    assert (issue.path, issue.message) == (("filter", "input", "1", "path"), PATHS[path])


@pytest.mark.parametrize("path", ["a", "a" * 256, ".".join("a" * 16), "a b", "ä", "a$", "0.1", "-1", "*", "a[0]"])
def test_a_path_that_is_in_order(path: str) -> None:
    assert path_problem(path) is None


@pytest.mark.parametrize(
    ("path", "problem"), [("a.0.b", "no key of an index may be a number"), ("a.", KEYS), ("a", None)]
)
def test_the_path_of_an_index(path: str, problem: str | None) -> None:
    assert index_path_problem(path) == problem


def nested(levels: int) -> JsonValue:
    value: JsonValue = 1
    for number in range(levels - 1):
        value = [value] if number % 2 else {"a": value}
    return value


VALUES: list[tuple[JsonValue, str]] = [
    (float("nan"), "a number that is not finite at the top"),
    ({"a": 2**53 + 1}, "an integer beyond 2^53 at a"),
    (nested(6), "nested 6 levels deep, more than the 5 allowed"),
    ([1] * 100, "101 values in it, more than the 100 allowed"),
    ("x" * 300_000, "300002 bytes of JSON, more than the 262144 allowed"),
]


@pytest.mark.parametrize(("value", "problem"), VALUES, ids=[problem for _, problem in VALUES])
def test_a_value_that_is_refused(value: JsonValue, problem: str) -> None:
    [issue] = match_issues([InputMatch("a", value)], ("input",))
    assert (issue.path, issue.message) == (("input", "0", "equals"), problem)


@pytest.mark.parametrize("value", [None, nested(5), [1] * 99, {"$ne": None}])
def test_a_value_that_is_in_order(value: JsonValue) -> None:
    assert list(match_issues([InputMatch("a", value)], ())) == []


def test_so_many_matches_are_allowed() -> None:
    ten = [InputMatch("a", 1)] * 10
    assert list(match_issues(ten, ("input",))) == []
    [issue] = match_issues([*ten, InputMatch("", 1)], ("input",))
    assert (issue.path, issue.message) == (("input",), "11 values, more than the 10 allowed")
