"""Webhooks in the store: which secrets sign, for how long, and who may switch one off."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import pytest

from jobs.access import EVERYWHERE
from jobs.events import EventType
from jobs.filters import JobFilter
from storage.client import Database
from storage.clock import DatabaseClock
from storage.sealing import CannotOpen, Sealer
from storage.webhooks import ROTATION, NewWebhook, Webhooks

OLD_KEY, NEW_KEY = os.urandom(32), os.urandom(32)
HOOK: Final = "wh_1"
FIRST, SECOND, THIRD = (bytes([number]) * 32 for number in (1, 2, 3))


@pytest.fixture
async def now(database: Database) -> datetime:
    clock = DatabaseClock(database)
    await clock.synchronise()
    return clock.now()


@pytest.fixture
def webhooks(database: Database) -> Webhooks:
    return Webhooks(database, Sealer([OLD_KEY]))


def new(secret: bytes, now: datetime, since: int = 0) -> NewWebhook:
    return NewWebhook(
        "https://hooks.example.com", (EventType.JOB_FAILED,), JobFilter(), None, None, since, secret, now, payloads=True
    )


async def test_certainty_is_not_waited_for_for_ever(webhooks: Webhooks, database: Database) -> None:
    """As it would be by a primary that reaches no majority any more."""
    await database.command("profile", 2)
    assert await webhooks.is_gone(HOOK)
    await database.command("profile", 0)
    asked = await database["system.profile"].find_one({"command.readConcern.level": "linearizable"})
    assert asked is not None
    assert asked["command"]["maxTimeMS"] == 5_000


async def set_each(webhooks: Webhooks, now: datetime, *secrets: bytes) -> None:
    for secret in secrets:
        assert (await webhooks.set(new(secret, now), HOOK)).id == HOOK


@pytest.mark.parametrize(
    ("given", "signing"),
    [
        ([FIRST, SECOND, THIRD], [THIRD, SECOND, FIRST]),
        # Once more the same, by somebody who has got no answer, or in another order.
        ([FIRST, SECOND, SECOND], [SECOND, FIRST]),
        ([FIRST, SECOND, FIRST], [FIRST, SECOND]),
        ([FIRST, SECOND, FIRST, SECOND], [SECOND, FIRST]),
    ],
)
async def test_all_that_receivers_may_still_use_sign_each_once(
    webhooks: Webhooks, now: datetime, given: Sequence[bytes], signing: Sequence[bytes]
) -> None:
    await set_each(webhooks, now, *given)
    assert await webhooks.secrets_of(HOOK, now) == signing


async def test_a_replaced_secret_signs_for_a_day(webhooks: Webhooks, now: datetime) -> None:
    await set_each(webhooks, now, FIRST, SECOND)
    assert await webhooks.secrets_of(HOOK, now + ROTATION - timedelta(seconds=1)) == [SECOND, FIRST]
    a_minute_for_setting = timedelta(minutes=1)
    assert await webhooks.secrets_of(HOOK, now + ROTATION + a_minute_for_setting) == [SECOND]


async def test_no_more_than_five_replaced_secrets_sign_and_none_whose_day_is_over_is_kept(
    webhooks: Webhooks, now: datetime, database: Database
) -> None:
    many = [bytes([number]) * 32 for number in range(9)]
    await set_each(webhooks, now, *many)
    assert await webhooks.secrets_of(HOOK, now) == many[:2:-1]
    await database["webhooks"].update_one({}, {"$set": {"previous.$[].until": now}})
    await set_each(webhooks, now, FIRST)
    stored = await database["webhooks"].find_one({})
    assert stored is not None
    assert len(stored["previous"]) == 1


async def test_a_replaced_secret_whose_key_is_gone_keeps_no_other_from_signing(
    database: Database, webhooks: Webhooks, now: datetime
) -> None:
    await set_each(webhooks, now, FIRST)
    rotated = Webhooks(database, Sealer([NEW_KEY]))
    with pytest.raises(CannotOpen):
        await rotated.secrets_of(HOOK, now)
    await set_each(Webhooks(database, Sealer([NEW_KEY, OLD_KEY])), now, SECOND)
    assert await rotated.secrets_of(HOOK, now) == [SECOND]
    # It can be set by who has the new key only: what cannot be opened is let go.
    await set_each(rotated, now, THIRD)
    assert await rotated.secrets_of(HOOK, now) == [THIRD, SECOND]


async def test_of_many_who_set_it_at_once_none_is_lost(webhooks: Webhooks, now: datetime) -> None:
    many = [bytes([number]) * 32 for number in range(5)]
    await asyncio.gather(*(webhooks.set(new(secret, now), f"wh_{secret[0]}") for secret in many))
    [webhook] = await webhooks.list_all(EVERYWHERE)
    assert sorted(await webhooks.secrets_of(webhook.id, now)) == many
    assert (await webhooks.targets([webhook.id]))[webhook.id].generation == len(many)


async def test_who_was_told_of_an_earlier_setting_does_not_switch_the_new_one_off(
    webhooks: Webhooks, now: datetime
) -> None:
    await set_each(webhooks, now, FIRST)
    claimed = (await webhooks.targets([HOOK]))[HOOK]
    await set_each(webhooks, now, FIRST)
    assert await webhooks.disable(HOOK, claimed.generation, "it is gone") is None
    assert [one.enabled for one in await webhooks.list_all(EVERYWHERE)] == [True]


async def test_what_failed_for_an_earlier_setting_is_not_held_against_the_new_one(
    webhooks: Webhooks, now: datetime
) -> None:
    await set_each(webhooks, now, FIRST)
    assert await webhooks.note_failure(HOOK, 1) is not None
    await set_each(webhooks, now, FIRST)
    assert await webhooks.note_failure(HOOK, 1) is None
    assert await webhooks.note_failure(HOOK, 2) is not None


async def test_one_that_has_taken_a_message_meanwhile_is_not_switched_off_for_failing(
    webhooks: Webhooks, now: datetime
) -> None:
    await set_each(webhooks, now, FIRST)
    since = await webhooks.note_failure(HOOK, 1)
    await webhooks.note_success(HOOK)
    assert await webhooks.disable(HOOK, 1, "it only fails", since) is None
    since = await webhooks.note_failure(HOOK, 1)
    off = await webhooks.disable(HOOK, 1, "it only fails", since)
    assert off is not None
    assert (await webhooks.targets([HOOK]))[HOOK].off == "it only fails"
    # Once: what has become due by then is buried by whoever did it.
    assert await webhooks.disable(HOOK, 1, "it only fails", since) is None


async def test_one_that_was_switched_off_begins_anew_when_it_is_set(webhooks: Webhooks, now: datetime) -> None:
    await set_each(webhooks, now, FIRST)
    assert (await webhooks.set(new(FIRST, now, since=7), HOOK)).since == 0
    await webhooks.disable(HOOK, 2, "it is gone")
    webhook = await webhooks.set(new(FIRST, now, since=9), HOOK)
    assert (webhook.enabled, webhook.disabled_reason, webhook.since) == (True, None, 9)
