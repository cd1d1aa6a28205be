"""API keys: what they look like, what of them is kept, and when one opens the door."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from jobs.access import EVERYWHERE, Principal, Reach, Scope
from jobs.api_keys import NOTED_EVERY, ApiKey, KeyState, NoSuchKey, PresentedKey, meant, new_key, present
from jobs.origins import CredentialKind, Origin
from tests.factories import NOW

TEXT = "jg_Ab3dE6gH_" + "x-_" * 14 + "z"
SECOND = timedelta(seconds=1)
READ = frozenset({Scope.JOBS_READ})


def presented(text: str = TEXT) -> PresentedKey:
    key = present(text)
    assert key is not None
    return key


KEY = ApiKey("Ab3dE6gH", "shop", presented().digest, READ, Reach(frozenset({"shop"}), None), NOW)


def test_a_new_key_is_one_that_can_be_presented_and_no_other_is_like_it() -> None:
    keys = [new_key() for _ in range(200)]
    assert {len(text) for text, _ in keys} == {3 + 8 + 1 + 43}
    assert all(present(text) == key for text, key in keys)
    assert len({key.id for _, key in keys}) == len({key.digest for _, key in keys}) == 200


def test_what_is_presented_is_the_id_and_the_hash_of_the_whole() -> None:
    assert presented() == PresentedKey("Ab3dE6gH", hashlib.sha256(TEXT.encode()).digest())


@pytest.mark.parametrize("text", ["Ab3dE6gH", "jg_Ab3dE6gH", "jg_Ab3dE6gH_", TEXT[:-1], TEXT, TEXT + "\n"])
def test_a_key_is_named_by_its_id_and_by_its_text_as_far_as_that(text: str) -> None:
    assert meant(text) == "Ab3dE6gH"


@pytest.mark.parametrize("text", ["", "jg_", "jg_Ab3dE6g", "jg_Ab3dE6gHx", "x" + TEXT])
def test_anything_else_names_nothing_but_itself(text: str) -> None:
    assert meant(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jg_",
        TEXT[:-1],
        TEXT + "x",
        TEXT + "\n",
        " " + TEXT,
        TEXT.replace("jg_", "jk_"),
        TEXT.replace("gH_", "gH-"),
        TEXT.replace("Ab3", "A_3"),
        TEXT.replace("Ab3", "Äb3"),
        TEXT.replace("x-_", "x+/", 1),
        "jg_Ab3dE6gH_" + "=" * 43,
        "jg_" + "x" * 1_000_000,
    ],
)
def test_anything_else_is_no_key(text: str) -> None:
    assert present(text) is None


def test_a_key_is_meant_by_its_own_text_alone() -> None:
    assert KEY.is_meant(presented())
    assert not KEY.is_meant(presented(TEXT[:-1] + "y"))
    assert not KEY.is_meant(presented(TEXT.replace("Ab3", "Ab4")))


@pytest.mark.parametrize(
    ("expires_in", "revoked", "state"),
    [
        (None, False, KeyState.ACTIVE),
        (SECOND, False, KeyState.ACTIVE),
        (timedelta(0), False, KeyState.EXPIRED),
        (-SECOND, False, KeyState.EXPIRED),
        (None, True, KeyState.REVOKED),
        (SECOND, True, KeyState.REVOKED),
        (-SECOND, True, KeyState.REVOKED),
    ],
)
def test_a_key_is_active_until_it_expires_or_is_revoked(
    expires_in: timedelta | None, revoked: bool, state: KeyState
) -> None:
    expires_at = None if expires_in is None else NOW + expires_in
    assert replace(KEY, expires_at=expires_at, revoked_at=NOW if revoked else None).state(NOW) is state


def test_who_asks_with_a_key_has_its_name_its_scopes_and_its_reach() -> None:
    origin = Origin(CredentialKind.KEY, "Ab3dE6gH")
    assert KEY.principal == Principal("shop", READ, Reach(frozenset({"shop"}), None), "key:Ab3dE6gH", origin)
    assert replace(KEY, reach=EVERYWHERE).principal.reach.includes("other", "prd")


@pytest.mark.parametrize(
    ("used", "expected"),
    [(None, True), (NOW, False), (NOW - NOTED_EVERY + SECOND, False), (NOW - NOTED_EVERY, True)],
)
def test_a_use_is_noted_once_a_minute(used: object, expected: bool) -> None:
    assert replace(KEY, last_used_at=used).is_use_worth_noting(NOW) is expected  # type: ignore[arg-type]  # parametrized


def test_nothing_that_is_printed_of_a_key_shows_its_hash() -> None:
    for shown in (repr(KEY), repr(presented())):
        assert "digest" not in shown
        assert repr(KEY.digest) not in shown


def test_what_is_said_of_an_unknown_key_does_not_hold_its_secret() -> None:
    text, presented = new_key()
    said = str(NoSuchKey(text))
    assert presented.id in said
    assert not any(text[at : at + 4] in said for at in range(len("jg_") + 9, len(text) - 4))


def test_an_unknown_key_is_named_but_not_at_any_length() -> None:
    assert str(NoSuchKey("nope")).startswith("there is no key 'nope'; `jobgate keys list` shows")
    assert len(str(NoSuchKey("x" * 1000))) < 200
