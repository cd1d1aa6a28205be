"""What callers show: one bearer's text, of a length that is worth being looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.credentials import LONGEST, Unauthenticated, bearer, located
from jobs.access import EVERYWHERE, Principal
from jobs.origins import CredentialKind, Origin

MOST = "x" * (LONGEST - len("Bearer "))


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("Bearer abc", "abc"),
        ("bEARER   a.b-c_d~e+f/g==  ", "a.b-c_d~e+f/g=="),
        (f"Bearer {MOST}", MOST),
    ],
)
def test_a_bearer_shows_a_text(header: str, shown: str) -> None:
    assert bearer([header]) == shown


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["abc"],
        ["Basic abc"],
        ["Bearer a b"],
        ["Bearer a=b"],
        ["Bearer ä"],
        ["Bearer a\nb"],
        [f"Bearer {MOST}x"],
        ["Bearer abc", "Bearer abc"],
    ],
)
def test_anything_else_shows_nothing(headers: list[str]) -> None:
    with pytest.raises(Unauthenticated):
        bearer(headers)


@pytest.mark.parametrize(
    ("host", "address"), [("192.0.2.1", "192.0.2.1"), ("::1", "::1"), (None, None), ("a\nb", None)]
)
def test_who_asks_does_so_from_where_the_connection_comes_from(host: str | None, address: str | None) -> None:
    principal = Principal("ann", frozenset(), EVERYWHERE, "key:k1", Origin(CredentialKind.KEY, "k1"))
    expected = Origin(CredentialKind.KEY, "k1", None, address)
    assert located(principal, host) == replace(principal, origin=expected)
