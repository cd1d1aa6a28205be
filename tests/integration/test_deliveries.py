"""Deliveries in the store: who may attempt one, in which order, and whose word on it counts."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from datetime import datetime, timedelta
from typing import Final

import pytest

from jobs.access import EVERYWHERE
from jobs.events import EventType
from jobs.filters import JobFilter
from jobs.times import EPOCH
from jobs.webhooks import Delivery, DeliveryStatus, Try, Verdict
from storage.client import Database
from storage.deliveries import Claimed, Deliveries, Room
from storage.delivery_plan import DeliveryPlan
from storage.outbox import Outbox
from storage.sealing import NO_KEYS, Sealer
from storage.webhooks import NewWebhook, Target, Webhooks
from tests.installation import Installation

HOLD: Final = timedelta(seconds=45)
DELIVERED: Final = Verdict(DeliveryStatus.DELIVERED)
HOOK: Final = "wh_1"


@pytest.fixture
async def deliveries(installation: Installation, database: Database) -> Deliveries:
    """Of two events of one job, and two of another: scheduled, then queued."""
    webhooks = Webhooks(database, Sealer([os.urandom(32)]))
    asked = (EventType.JOB_SCHEDULED, EventType.JOB_QUEUED)
    url, now = "https://hooks.example.com", installation.services.clock.now()
    await webhooks.set(NewWebhook(url, asked, JobFilter(), None, None, 0, b"s" * 32, now, payloads=True), HOOK)
    for _ in range(2):
        await installation.dispatch()
    await Outbox(database).relay(10)
    assert await DeliveryPlan(database, webhooks).extend(now) == (4, False)
    return Deliveries(database, webhooks)


def room(under_way: int = 0, to_each: int = 8) -> Room:
    return Room(to_each, Counter({HOOK: under_way}))


async def claim(deliveries: Deliveries, at: datetime, token: str = "t1") -> list[Claimed]:
    return list((await deliveries.claim(32, room(), token, at, HOLD)).claimed)


def attempt(at: datetime) -> Try:
    return Try(at, timedelta(seconds=1), 204)


LITTLE: Final = timedelta(milliseconds=500)
"""Whoever waits for another becomes due by the database's clock, of which this process knows only about how late it is. Less
than what waits is put off for by itself."""


async def known(deliveries: Deliveries) -> list[Delivery]:
    return list((await deliveries.pages(EVERYWHERE, [HOOK], None, 100, None))[HOOK].items)


async def test_only_the_first_of_each_job_may_be_attempted(installation: Installation, deliveries: Deliveries) -> None:
    now = installation.services.clock.now()
    first = await claim(deliveries, now)
    assert [one.delivery.event for one in first] == [EventType.JOB_SCHEDULED] * 2
    assert await claim(deliveries, now) == []
    # Those that wait for them do not stand in the way of others meanwhile.
    due = await deliveries.next_due(room())
    assert due is not None
    assert due >= now + timedelta(seconds=1)
    assert await deliveries.conclude(first[0], attempt(now), DELIVERED)
    [second] = await claim(deliveries, installation.services.clock.now() + LITTLE)
    assert (second.delivery.job_id, second.delivery.event) == (first[0].delivery.job_id, EventType.JOB_QUEUED)


async def test_what_waits_is_looked_at_again_when_the_first_of_its_job_is_due(
    installation: Installation, deliveries: Deliveries
) -> None:
    """Not every now and then: those of a receiver that is down would crowd out all others."""
    now = installation.services.clock.now()
    later = now + timedelta(hours=1)
    look = await deliveries.claim(32, room(), "t1", now, HOLD)
    assert (len(look.claimed), look.moved) == (2, True)
    for one in look.claimed:
        failed = Verdict(DeliveryStatus.PENDING, next_attempt_at=later)
        assert await deliveries.conclude(one, attempt(now), failed)
    look = await deliveries.claim(32, room(), "t1", now + timedelta(seconds=2), HOLD)
    assert (look.claimed, look.moved) == ([], True)
    assert await deliveries.next_due(room()) == later
    look = await deliveries.claim(32, room(), "t1", now + timedelta(seconds=2), HOLD)
    assert (look.claimed, look.moved) == ([], False)
    assert [one.delivery.event for one in await claim(deliveries, later)] == [EventType.JOB_SCHEDULED] * 2


async def test_who_was_too_slow_has_nothing_to_say(installation: Installation, deliveries: Deliveries) -> None:
    now = installation.services.clock.now()
    [slow, _] = await claim(deliveries, now, "slow")
    later = await claim(deliveries, now + HOLD, "quick")
    assert slow.delivery.id in {one.delivery.id for one in later}
    before = await known(deliveries)
    assert not await deliveries.conclude(slow, attempt(now), DELIVERED)
    await deliveries.give_back(slow, EPOCH)
    assert await known(deliveries) == before


async def test_what_waits_for_a_webhook_that_is_switched_off_is_dead(
    installation: Installation, deliveries: Deliveries
) -> None:
    now = installation.services.clock.now()
    [first, second] = await claim(deliveries, now)
    await deliveries.conclude(first, attempt(now), DELIVERED)
    await deliveries.bury(HOOK, "it was switched off", now)
    # The other one under way is its worker's to judge: it may be taken yet.
    assert await deliveries.conclude(second, attempt(now), DELIVERED)
    told = Counter((one.status, one.reason, one.next_attempt_at) for one in await known(deliveries))
    assert told == {
        (DeliveryStatus.DELIVERED, None, None): 2,
        (DeliveryStatus.DEAD, "it was switched off", None): 2,
    }
    assert await claim(deliveries, now + 2 * HOLD) == []


async def test_what_became_due_after_a_webhook_was_switched_off_is_not_buried(
    installation: Installation, deliveries: Deliveries
) -> None:
    now = installation.services.clock.now()
    await deliveries.bury(HOOK, "it was switched off", EPOCH)
    assert {one.status for one in await known(deliveries)} == {DeliveryStatus.PENDING}
    assert len(await claim(deliveries, now)) == 2


async def test_no_more_is_attempted_than_there_is_room_for(installation: Installation, deliveries: Deliveries) -> None:
    now = installation.services.clock.now()
    assert (await deliveries.claim(32, room(under_way=5), "t1", now, HOLD)).claimed == []
    assert len((await deliveries.claim(32, room(to_each=1), "t1", now, HOLD)).claimed) == 1


async def test_what_is_given_back_is_made_by_somebody_else_at_once(
    installation: Installation, deliveries: Deliveries
) -> None:
    now = installation.services.clock.now()
    [first, _] = await claim(deliveries, now)
    await deliveries.give_back(first, now)
    [again] = await claim(deliveries, now, "t2")
    assert (again.delivery.id, again.token) == (first.delivery.id, "t2")
    assert not await deliveries.conclude(first, attempt(now), DELIVERED)
    assert await deliveries.conclude(again, attempt(now), DELIVERED)


async def test_what_is_asked_for_again_while_it_is_attempted_is_not_made_twice(
    installation: Installation, deliveries: Deliveries
) -> None:
    now = installation.services.clock.now()
    [first, _] = await claim(deliveries, now)
    asked = await deliveries.redeliver(EVERYWHERE, first.delivery.id)
    assert asked == await deliveries.find(EVERYWHERE, first.delivery.id)
    assert first.delivery.id not in {
        one.delivery.id for one in await claim(deliveries, installation.services.clock.now())
    }
    assert await deliveries.conclude(first, attempt(now), DELIVERED)


async def test_what_was_planned_for_a_webhook_that_is_deleted_is_removed(
    installation: Installation, deliveries: Deliveries, database: Database
) -> None:
    await database["webhooks"].delete_many({})
    look = await deliveries.claim(1, room(), "t1", installation.services.clock.now(), HOLD)
    assert (look.claimed, look.moved) == ([], True)
    assert await database["deliveries"].count_documents({}) == 0


async def test_a_webhook_that_a_new_primary_does_not_see_yet_keeps_what_was_planned_for_it(
    installation: Installation, deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def see_none(*_: object) -> dict[str, Target]:
        return {}

    now = installation.services.clock.now()
    with monkeypatch.context() as patch:
        patch.setattr(Webhooks, "targets", see_none)
        assert await claim(deliveries, now) == []
    assert len(await claim(deliveries, now)) == 2


async def test_two_who_plan_the_same_at_once_plan_it_once(
    installation: Installation, deliveries: Deliveries, database: Database
) -> None:
    """``deliveries`` has planned four already."""
    for _ in range(3):
        await installation.dispatch()
    await Outbox(database).relay(10)
    plan = DeliveryPlan(database, installation.services.webhooks)
    now = installation.services.clock.now()
    await asyncio.gather(*(plan.extend(now) for _ in range(4)))
    assert await plan.extend(now) == (0, False)
    numbers = [one["number"] async for one in database["deliveries"].find({}).sort([("number", 1)])]
    assert numbers == list(range(1, 11))


async def test_what_waits_behind_one_that_is_dropped_does_not_wait_any_longer(
    installation: Installation, deliveries: Deliveries, database: Database
) -> None:
    now = installation.services.clock.now()
    for one in await claim(deliveries, now):
        await deliveries.give_back(one, now)
    assert await Webhooks(database, NO_KEYS).disable(HOOK, 1, "it is gone") is not None
    assert await claim(deliveries, now) == []
    due = await deliveries.next_due(room())
    assert due is not None
    soon = installation.services.clock.now() + LITTLE
    assert due <= soon
    assert await claim(deliveries, soon) == []
    told = {(one.status, one.reason) for one in await known(deliveries)}
    assert told == {(DeliveryStatus.DEAD, "the webhook was switched off: it is gone")}
