"""Attempts at deliveries, made one at a time: what is noted of them, and what becomes of the others."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Final

import pytest

from gateway.devstack import Servers
from jobs.access import EVERYWHERE
from jobs.webhooks import Delivery, DeliveryStatus
from storage.client import Database
from storage.sealing import Sealer
from storage.webhooks import Webhooks
from tests.posting import HOOK, Post, posting
from tests.receivers import answering, serving


@pytest.fixture
async def post(database: Database, servers: Servers, redis_url: str) -> AsyncIterator[Post]:
    async with posting(database, servers.mongodb_url, redis_url) as post:
        yield post


async def test_a_defect_spends_an_attempt(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody foresees it: one that was not noted would be made again and again, and what waits behind it never."""

    async def broken(_: str, __: int) -> Sequence[str]:
        raise RuntimeError("with something in it that a tenant should not see")

    await post.set("http://shop.example/")
    await post.due()
    [delivery] = await post.attempt(resolve=broken)
    assert (delivery.status, delivery.tries) == (DeliveryStatus.PENDING, 1)
    assert [one.error for one in delivery.attempts] == ["RuntimeError"]
    assert f"an attempt at delivery {delivery.id}" in caplog.text


@pytest.mark.parametrize("asked", ["Mon, 1 Jan 99999999999 00:00:00 GMT", "soon", "Mon, 1 Jan 2001 00:00:00 -0000"])
async def test_a_time_to_come_back_that_makes_no_sense_is_passed_over(post: Post, asked: str) -> None:
    async with serving(answering("503 Service Unavailable", Retry_After=asked)) as server:
        await post.set(server.url())
        await post.due()
        [delivery] = await post.attempt()
    assert (delivery.tries, [one.status for one in delivery.attempts]) == (1, [503])


def events_of(found: list[Delivery]) -> Counter[tuple[DeliveryStatus, str | None]]:
    return Counter((one.status, one.reason) for one in found)


GONE: Final = "the receiver is gone (410)"
OFF: Final = "the webhook was switched off: it answered 410 Gone"


async def test_a_receiver_that_is_gone_ends_what_waits_for_it_as_well(post: Post) -> None:
    async with serving(answering("410 Gone")) as server:
        await post.set(server.url())
        await post.due()
        await post.due_later(2)
        found = await post.attempt()
    assert len(server.requests) == 1
    assert events_of(found) == {(DeliveryStatus.DEAD, GONE): 1, (DeliveryStatus.DEAD, OFF): 2}
    [webhook] = await post.webhooks.list_all(EVERYWHERE)
    assert (webhook.enabled, webhook.disabled_reason) == (False, "it answered 410 Gone")


async def test_an_answer_to_an_earlier_setting_does_not_end_the_new_one(post: Post) -> None:
    async def set_again_meanwhile(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await post.set(post.url)
        await answering("410 Gone")(_, writer)

    async with serving(set_again_meanwhile) as server:
        await post.set(server.url())
        await post.due()
        await post.due_later(2)
        found = await post.attempt()
    assert events_of(found) == {(DeliveryStatus.DEAD, GONE): 1, (DeliveryStatus.PENDING, None): 2}
    assert [one.enabled for one in await post.webhooks.list_all(EVERYWHERE)] == [True]


async def test_after_five_days_of_failure_an_answer_to_an_earlier_setting_is_a_failure_like_any_other(
    post: Post,
) -> None:
    async def set_again_meanwhile(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await post.set(post.url)
        await post.failing_for(timedelta(days=6))
        await answering("500 Internal Server Error")(_, writer)

    async with serving(set_again_meanwhile) as server:
        await post.set(server.url())
        await post.due()
        [delivery] = await post.attempt()
    assert (delivery.status, delivery.tries, len(delivery.attempts)) == (DeliveryStatus.PENDING, 1, 1)
    assert [one.enabled for one in await post.webhooks.list_all(EVERYWHERE)] == [True]


async def test_after_five_days_of_failure_a_webhook_is_switched_off(post: Post) -> None:
    async with serving(answering("500 Internal Server Error")) as server:
        await post.set(server.url())
        await post.failing_for(timedelta(days=6))
        await post.due()
        [delivery] = await post.attempt()
    assert (delivery.status, delivery.reason) == (DeliveryStatus.DEAD, "failed 1 times, last: it answered 500")
    assert [one.disabled_reason for one in await post.webhooks.list_all(EVERYWHERE)] == ["it has failed for 5 days"]


async def test_a_webhook_is_switched_off_before_that_is_noted_of_the_delivery(post: Post) -> None:
    """So that whoever is killed in between leaves nothing that goes on being sent."""

    async def given_to_another_meanwhile(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await post.database["deliveries"].update_one({}, {"$set": {"token": "another's"}})
        await answering("410 Gone")(_, writer)

    async with serving(given_to_another_meanwhile) as server:
        await post.set(server.url())
        await post.due()
        [delivery] = await post.attempt()
    assert delivery.status is DeliveryStatus.PENDING
    assert [one.enabled for one in await post.webhooks.list_all(EVERYWHERE)] == [False]


async def test_what_is_due_to_a_webhook_that_is_switched_off_is_not_sent(post: Post) -> None:
    async with serving(answering("204 No Content")) as server:
        await post.set(server.url())
        await post.due(2)
        await post.webhooks.disable(HOOK, 1, "it answered 410 Gone")
        found = await post.attempt()
    assert events_of(found) == {(DeliveryStatus.DEAD, OFF): 2}
    assert server.requests == []


async def test_a_key_that_is_gone_is_no_failure_of_the_receiver(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(answering("204 No Content")) as server:
        await post.set(server.url())
        await post.due()
        before = post.installation.services.clock.now()
        [delivery] = await post.attempt(webhooks=Webhooks(post.database, Sealer([os.urandom(32)])))
        after = post.installation.services.clock.now()
    assert (delivery.status, delivery.tries, delivery.attempts) == (DeliveryStatus.PENDING, 0, ())
    assert delivery.next_attempt_at is not None
    assert before <= delivery.next_attempt_at - timedelta(minutes=1) <= after
    stored = await post.database["webhooks"].find_one({})
    assert stored is not None
    assert stored["failing_since"] is None
    [logged] = [one for one in caplog.records if one.name == "jobgate.webhooks"]
    assert (logged.levelname, "there is no key" in logged.getMessage()) == ("ERROR", True)


async def test_what_is_claimed_while_the_process_is_leaving_is_given_back(post: Post) -> None:
    async def leave() -> bool:
        await deliverer.stop()
        return True

    deliverer = post.deliverer(wanted=leave)
    async with serving(answering("204 No Content")) as server:
        await post.set(server.url())
        await post.due(2)
        await deliverer.run_once()
        assert server.requests == []
        found = await post.attempt()
    assert {one.status for one in found} == {DeliveryStatus.DELIVERED}


async def test_what_waits_behind_others_is_seen_at_once(post: Post) -> None:
    """One look finds so many; where these are only put out of the way, the next look must not wait."""
    await post.set("http://127.0.0.1:1/")
    await post.due()
    await post.webhooks.disable(HOOK, 1, "it answered 410 Gone")
    deliverer = post.deliverer()
    assert await deliverer.run_once() == 0.0
    assert await deliverer.run_once() > 0
