"""API keys in the store, through each driver: what comes back, what a revocation says, and how often uses are noted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from jobs.access import EVERYWHERE, Reach, Scope
from jobs.api_keys import NOTED_EVERY, ApiKey, NoSuchKey, new_key
from storage.api_keys import ApiKeys
from storage.client import Database
from tests.factories import NOW

SECOND = timedelta(seconds=1)


def make_key(**changes: object) -> ApiKey:
    _, presented = new_key()
    key = ApiKey(presented.id, "shop", presented.digest, frozenset({Scope.JOBS_READ}), EVERYWHERE, NOW)
    return replace(key, **changes)  # type: ignore[arg-type]  # fields of a key


@pytest.fixture
def keys(any_database: Database) -> ApiKeys:
    return ApiKeys(any_database)


async def test_a_key_comes_back_as_it_was_stored(keys: ApiKeys) -> None:
    narrow = Reach(frozenset({"shop", "blog"}), frozenset())
    full = make_key(
        scopes=frozenset(Scope), reach=narrow, expires_at=NOW + SECOND, revoked_at=NOW, last_used_at=NOW - SECOND
    )
    plain = make_key(created_at=NOW - SECOND)
    for key in (full, plain):
        await keys.insert(key)
        assert await keys.find(key.id) == key
    assert await keys.find_all([full.id, "nope"]) == {full.id: full}
    assert await keys.find_all([]) == {}
    assert await keys.list_all() == [plain, full]
    assert await keys.find("nope") is None


async def test_a_scope_that_this_release_does_not_know_gives_nothing(keys: ApiKeys, any_database: Database) -> None:
    key = make_key()
    await keys.insert(key)
    await any_database["api_keys"].update_one({"_id": key.id}, {"$push": {"scopes": "jobs:dream"}})
    assert await keys.find(key.id) == key


async def test_a_key_is_revoked_once_and_an_unknown_one_not_at_all(keys: ApiKeys) -> None:
    key, other = make_key(), make_key()
    for one in (key, other):
        await keys.insert(one)
    assert await keys.revoke(key.id, NOW) is True
    assert await keys.revoke(key.id, NOW + SECOND) is False
    assert await keys.find(key.id) == replace(key, revoked_at=NOW)
    assert await keys.find(other.id) == other
    with pytest.raises(NoSuchKey):
        await keys.revoke("nope", NOW)


async def test_a_use_is_noted_at_most_once_a_minute_whoever_notes_it(keys: ApiKeys) -> None:
    key = make_key()
    await keys.insert(key)
    noted = []
    for at in (NOW, NOW + NOTED_EVERY - SECOND, NOW + NOTED_EVERY, NOW):
        await keys.note_use(key.id, at)
        found = await keys.find(key.id)
        assert found is not None
        noted.append(found.last_used_at)
    assert noted == [NOW, NOW, NOW + NOTED_EVERY, NOW + NOTED_EVERY]
