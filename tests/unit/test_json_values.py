import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.json_values import MAX_BYTES, MAX_DEPTH, NotJson, TooLarge, check_json

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    SCALARS | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(KEYS, children, max_size=4),
    max_leaves=20,
)


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


@given(VALUES)
def test_json_is_accepted(value: Any) -> None:
    check_json(value)
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (nested(MAX_DEPTH + 1), "more than 32 levels deep"),
        ({"a": [1, float("nan")]}, "a number that is not finite at a[1]"),
        (float("inf"), "not finite at the top"),
        ({"a": {"b": 2**53 + 1}}, "an integer beyond 2^53 at a.b"),
        (-(2**53) - 1, "an integer beyond 2^53 at the top"),
        ({"a\0b": 1}, "a key with a NUL character at the top"),
        ({"x": {1: 2}}, "a key that is not a string at x"),
        ({"a": "\ud800"}, "not valid Unicode at a"),
        ({"\ud800": 1}, "not valid Unicode at the top"),
        ({"a": {1, 2}}, "set is not JSON at a"),
        ([b"x"], "bytes is not JSON at [0]"),
        ((1, 2), "tuple is not JSON at the top"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(NotJson, match=re.escape(message)):
        check_json(value)


def test_the_limits_are_exact() -> None:
    check_json(nested(MAX_DEPTH))
    check_json("x" * (MAX_BYTES - 2))
    with pytest.raises(TooLarge, match=f"{MAX_BYTES + 1} bytes of JSON, more than the {MAX_BYTES} allowed"):
        check_json("x" * (MAX_BYTES - 1))


def test_size_is_counted_in_bytes() -> None:
    with pytest.raises(TooLarge):
        check_json("ä" * (MAX_BYTES // 2))
