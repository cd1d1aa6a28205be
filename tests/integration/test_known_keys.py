"""What a gateway remembers of keys: for how long, how many, and which uses it writes down."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from gateway.credentials import Caller, Unauthenticated
from gateway.known_keys import KEPT_FOR, KnownKeys
from jobs.access import Principal, Reach, Scope
from jobs.api_keys import PresentedKey, present
from jobs.origins import CredentialKind, Origin
from storage.api_keys import ApiKeys
from storage.client import Database
from storage.clock import DatabaseClock
from tests.callers import id_of, key_in, wrong_secret

KEPT = KEPT_FOR.total_seconds()


def presented(text: str) -> PresentedKey:
    key = present(text)
    assert key is not None
    return key


class Watch:
    """A monotonic clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
async def clock(database: Database) -> DatabaseClock:
    clock = DatabaseClock(database)
    await clock.synchronise()
    return clock


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def known(database: Database, clock: DatabaseClock, watch: Watch) -> KnownKeys:
    return KnownKeys(ApiKeys(database), clock, watch, most=3)


async def why_refused(known: KnownKeys, text: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        await known.caller(presented(text))
    assert refused.value.shown == f"key {id_of(text)}"
    return refused.value.why


async def test_who_shows_a_key_is_who_it_was_made_for(known: KnownKeys, database: Database) -> None:
    reach = Reach(frozenset({"shop"}), frozenset({"prd"}))
    text = await key_in(database, name="ann", scopes=frozenset({Scope.JOBS_READ}), reach=reach)
    origin = Origin(CredentialKind.KEY, id_of(text))
    expected = Principal("ann", frozenset({Scope.JOBS_READ}), reach, f"key:{id_of(text)}", origin)
    assert await known.caller(presented(text)) == Caller(expected, None, presented(text))


async def test_what_opens_nothing_is_refused_and_the_log_may_know_why(
    known: KnownKeys, database: Database, clock: DatabaseClock
) -> None:
    now = clock.now()
    text = await key_in(database)
    assert await why_refused(known, wrong_secret(text)) == "wrong secret"
    assert await why_refused(known, await key_in(database, expires_at=now)) == "expired"
    assert await why_refused(known, await key_in(database, revoked_at=now)) == "revoked"
    assert await why_refused(known, "jg_" + "x" * 8 + "_" + "y" * 43) == "unknown"


async def test_a_revocation_is_known_after_five_seconds(
    known: KnownKeys, database: Database, watch: Watch, clock: DatabaseClock
) -> None:
    text = await key_in(database)
    await known.caller(presented(text))
    await ApiKeys(database).revoke(id_of(text), clock.now())
    watch.seconds += KEPT - 0.1
    await known.caller(presented(text))
    watch.seconds += 0.1
    assert await why_refused(known, text) == "revoked"
    assert KEPT <= 5


async def test_that_a_key_is_unknown_is_remembered_as_well(known: KnownKeys, database: Database, watch: Watch) -> None:
    text = await key_in(database)
    document = await database["api_keys"].find_one_and_delete({"_id": id_of(text)})
    assert await why_refused(known, text) == "unknown"
    await database["api_keys"].insert_one(document)
    assert await why_refused(known, text) == "unknown"
    watch.seconds += KEPT
    await known.caller(presented(text))


async def test_no_more_is_remembered_than_may_be(known: KnownKeys, database: Database) -> None:
    texts = [await key_in(database) for _ in range(4)]
    for text in texts:
        await known.caller(presented(text))
    await database["api_keys"].delete_many({})
    for text in texts[1:]:
        await known.caller(presented(text))
    assert await why_refused(known, texts[0]) == "unknown"


async def test_of_what_is_in_use_the_store_is_asked_and_not_what_is_remembered(
    known: KnownKeys, database: Database, clock: DatabaseClock
) -> None:
    good, revoked, deleted = [await key_in(database) for _ in range(3)]
    shown = {presented(text) for text in (good, revoked, deleted, wrong_secret(good))}
    for text in (good, revoked, deleted):
        await known.caller(presented(text))
    await ApiKeys(database).revoke(id_of(revoked), clock.now())
    await database["api_keys"].delete_one({"_id": id_of(deleted)})
    assert await known.good_among(shown) == {presented(good)}


async def used_at(database: Database, text: str) -> datetime | None:
    document = await database["api_keys"].find_one({"_id": id_of(text)})
    at: datetime | None = document["last_used_at"]
    return at


async def test_uses_are_written_down_once_a_minute(
    known: KnownKeys, database: Database, watch: Watch, clock: DatabaseClock
) -> None:
    text = await key_in(database)
    await known.caller(presented(text))
    assert await used_at(database, text) is None
    await known.note_uses()
    first = await used_at(database, text)
    assert first is not None
    assert clock.now() - first < timedelta(seconds=30)
    await known.note_uses()
    watch.seconds += KEPT
    await known.caller(presented(text))
    assert known._used == {}
    long_ago = first - timedelta(minutes=1)
    await database["api_keys"].update_one({"_id": id_of(text)}, {"$set": {"last_used_at": long_ago}})
    watch.seconds += KEPT
    await known.caller(presented(text))
    await known.note_uses()
    again = await used_at(database, text)
    assert again is not None
    assert again >= first
