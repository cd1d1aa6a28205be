"""What the claims of a token say of who asks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pytest

from jobs.access import EVERYWHERE, Principal, Reach, Scope
from jobs.origins import CredentialKind, Origin
from jobs.token_claims import BadClaims, ReachClaims, expiry_of, principal_of

REACHING: Final = ReachClaims("products", "https://example.com/envs")
NOTHING: Final[frozenset[str]] = frozenset()


def test_all_claims_are_read_by_the_names_that_they_have_here() -> None:
    claims = {
        "sub": "ann",
        "scope": "jobs:read",
        "products": ["a", "b"],
        "https://example.com/envs": "prd",
        "envs": "*",
        "iss": "https://issuer.example",
        "jti": "t-1",
    }
    reach = Reach(frozenset({"a", "b"}), frozenset({"prd"}))
    origin = Origin(CredentialKind.TOKEN, "t-1", "https://issuer.example")
    expected = Principal("ann", frozenset({Scope.JOBS_READ}), reach, "token:ann", origin)
    assert principal_of(claims, REACHING) == expected


@pytest.mark.parametrize("jti", [None, 7, "", "a\nb", ["t-1"]])
def test_a_token_whose_id_cannot_be_told_has_none(jti: object) -> None:
    assert principal_of({"sub": "ann", "jti": jti}, REACHING).origin.credential is None


def test_a_long_id_of_a_token_is_cut() -> None:
    assert principal_of({"sub": "ann", "jti": "x" * 1000}, REACHING).origin.credential == "x" * 255


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        ("jobs:read  admin", {Scope.JOBS_READ, Scope.ADMIN}),
        (["jobs:read", "admin"], {Scope.JOBS_READ, Scope.ADMIN}),
        ("openid jobs:read JOBS:DELETE jobs:*", {Scope.JOBS_READ}),
        (["jobs:read admin", 7, None, ["admin"]], set()),
        ("", set()),
        ([], set()),
        (None, set()),
        (True, set()),
        ({"admin": True}, set()),
    ],
)
def test_scopes_come_as_text_or_as_a_list_and_unknown_ones_give_nothing(claim: object, scopes: set[Scope]) -> None:
    assert principal_of({"sub": "ann", "scope": claim}, REACHING).scopes == scopes


def test_without_claims_nothing_may_be_done_and_nothing_is_reached() -> None:
    expected = Principal("ann", frozenset(), Reach(NOTHING, NOTHING), "token:ann", Origin(CredentialKind.TOKEN))
    assert principal_of({"sub": "ann"}, REACHING) == expected


@pytest.mark.parametrize(
    ("claim", "reached"),
    [
        ("*", None),
        ("shop", {"shop"}),
        (["shop"], {"shop"}),
        (["*"], {"*"}),
        (["shop", 1, None], {"shop"}),
        ([], set()),
        (None, set()),
        (True, set()),
        (1, set()),
        ({"shop": 1}, set()),
    ],
)
def test_only_who_says_everything_is_given_everything(claim: object, reached: set[str] | None) -> None:
    claims = {"sub": "ann", "products": claim, "https://example.com/envs": claim}
    expected = None if reached is None else frozenset(reached)
    assert principal_of(claims, REACHING).reach == Reach(expected, expected)
    assert (principal_of(claims, REACHING).reach == EVERYWHERE) == (claim == "*")


@pytest.mark.parametrize("subject", [..., None, "", 7, ["ann"], "x" * 256, "a\nb"])
def test_somebody_has_to_ask(subject: Any) -> None:
    with pytest.raises(BadClaims, match="sub is not"):
        principal_of({} if subject is ... else {"sub": subject}, REACHING)
    assert principal_of({"sub": "x" * 255}, REACHING).name == "x" * 255


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1_800_000_000, datetime(2027, 1, 15, 8, 0, tzinfo=UTC)),
        (1_800_000_000.9, datetime(2027, 1, 15, 8, 0, tzinfo=UTC)),
        (10**12, datetime.max.replace(tzinfo=UTC)),
        (10**40, datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_token_expires_within_the_calendar(seconds: float, expected: datetime) -> None:
    assert expiry_of({"exp": seconds}) == expected


@pytest.mark.parametrize("seconds", [None, "1800000000", True, [1], float("inf"), float("nan")])
def test_an_expiry_is_a_number(seconds: object) -> None:
    with pytest.raises(BadClaims, match="exp is not"):
        expiry_of({"exp": seconds})
