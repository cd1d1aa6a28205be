"""Webhooks as their receivers see them: what is sent, in which order, how often, and what is noted of it."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import bson
import pytest
from pymongo import MongoClient
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.devstack import Servers
from jobs.events import EventType
from jobs.webhooks import RETRIES
from tests.gateway import LiveGateway, serving
from tests.receivers import Reply, answering, break_off, drip, hang_up, never_end, say_nothing, speak_something_else
from tests.webhooks import (
    IMPATIENT,
    OK,
    SECRET,
    SETTINGS,
    SOON,
    all_over,
    receiving,
    set_webhook,
    until_delivered,
    webhook_id,
)
from worker.context import TaskContext
from worker.tasks import TaskError

RESCHEDULE: Final = """
    mutation ($id: ID!) { reschedule(id: $id, schedule: {startAt: "2020-01-01T00:00:00Z"}) { __typename } }
"""
SHOWN: Final = "query ($id: ID!) { node(id: $id) { ... on Webhook { enabled disabledReason } } }"

BROKEN: Final = answering("500 Internal Server Error", b"<html>" + b"x" * 100_000)


@pytest.fixture
async def gateway(servers: Servers, redis_url: str, database_name: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name, **SETTINGS) as gateway:
        yield gateway


async def echo(_: TaskContext, value: Any) -> Any:
    return value


async def fail(context: TaskContext, _: Any) -> Any:
    raise TaskError("BROKEN", f"attempt {context.attempt}")


HANDLERS: Final = {"demo.echo": echo, "demo.fail": fail}


async def test_each_event_of_the_page_is_told_once_and_in_order(gateway: LiveGateway) -> None:
    async with receiving() as receiver, gateway.worker(HANDLERS, delivery=SOON):
        await webhook_id(gateway, receiver.url, "scheduled", "started", "completed", "failed")
        job = await gateway.dispatched()
        await receiver.until(lambda: len(receiver.messages) == 3)
        failing = await gateway.dispatched(task="fail", retries=1, retryConfig={"initialDelay": 10, "maxDelay": 10})
        await receiver.until(lambda: len(receiver.messages) == 7)
    assert [(one.job_id, one.event) for one in receiver.messages] == [
        (job, "scheduled"),
        (job, "started"),
        (job, "completed"),
        (failing, "scheduled"),
        (failing, "started"),
        # The delayed retry; its attempt is no start of a run.
        (failing, "scheduled"),
        (failing, "failed"),
    ]
    assert receiver.messages[-1].body["job"]["error"] == {"code": "BROKEN", "message": "attempt 2"}


async def test_messages_say_who_sends_them_and_what_they_are(gateway: LiveGateway) -> None:
    async with receiving() as receiver, gateway.worker(HANDLERS, delivery=SOON):
        webhook = await webhook_id(gateway, receiver.url)
        await gateway.dispatched()
        await receiver.until(lambda: bool(receiver.messages))
        [delivery] = await until_delivered(gateway, webhook, all_over)
    [message] = receiver.messages
    assert message.id == delivery["id"]
    assert "." not in message.id
    assert (message.headers["content-type"], message.headers["user-agent"]) == ("application/json", "jobgate")
    assert delivery["status"] == "DELIVERED"
    assert [one["responseStatus"] for one in delivery["attempts"]] == [204]
    assert delivery["nextAttemptAt"] is None


async def test_what_fails_is_tried_again_with_the_same_id_until_it_is_taken(gateway: LiveGateway) -> None:
    replies = [BROKEN, hang_up, break_off, say_nothing, answering("302 Found", Location="/"), speak_something_else]
    async with (
        receiving(lambda number: replies[number] if number < len(replies) else OK) as receiver,
        gateway.worker(HANDLERS, delivery=IMPATIENT),
    ):
        webhook = await webhook_id(gateway, receiver.url)
        await gateway.dispatched()
        [delivery] = await until_delivered(gateway, webhook, all_over)
    assert delivery["status"] == "DELIVERED"
    assert [one["responseStatus"] for one in delivery["attempts"]] == [500, None, None, None, 302, None, 204]
    assert {one.id for one in receiver.messages} == {delivery["id"]}
    assert len({str(one.body) for one in receiver.messages}) == 1


@pytest.mark.parametrize(
    ("endless", "noted"),
    [
        # One that comes too slowly is given up.
        (drip, [None, 204]),
        # What is read of an answer is bounded, and its status is known by then.
        (never_end, [200]),
    ],
)
async def test_an_answer_without_an_end(gateway: LiveGateway, endless: Reply, noted: list[int | None]) -> None:
    async with (
        receiving(lambda number: OK if number else endless) as receiver,
        gateway.worker(HANDLERS, delivery=IMPATIENT),
    ):
        webhook = await webhook_id(gateway, receiver.url)
        await gateway.dispatched()
        [delivery] = await until_delivered(gateway, webhook, all_over)
    assert [one["responseStatus"] for one in delivery["attempts"]] == noted


async def test_nobody_home_for_the_whole_night_is_dead_in_the_end_and_can_be_sent_again(gateway: LiveGateway) -> None:
    async with (
        receiving(lambda number: BROKEN if number < 1 + len(RETRIES) else OK) as receiver,
        gateway.worker(HANDLERS, delivery=SOON),
    ):
        webhook = await webhook_id(gateway, receiver.url)
        await gateway.dispatched()
        [dead] = await until_delivered(gateway, webhook, all_over)
        assert (dead["status"], dead["reason"]) == ("DEAD", "failed 8 times, last: it answered 500")
        assert len(dead["attempts"]) == 1 + len(RETRIES)
        again = await gateway.data(
            "mutation ($id: ID!) { redeliver(deliveryId: $id) { ... on Delivery { id status reason } } }",
            id=dead["id"],
        )
        assert again["redeliver"]["id"] == dead["id"]
        [delivered] = await until_delivered(gateway, webhook, all_over)
    assert (delivered["status"], delivered["reason"]) == ("DELIVERED", None)
    assert {one.id for one in receiver.messages} == {dead["id"]}


async def test_what_happens_to_a_job_is_told_in_order_however_often_the_first_fails(gateway: LiveGateway) -> None:
    """Another job's messages do not wait for it."""
    failures = Counter[str]()

    async with receiving() as receiver, gateway.worker(HANDLERS, delivery=SOON):

        def reply(number: int) -> Any:
            message = receiver.messages[number]
            # Its id is not known yet: this may come before the dispatch is answered.
            failures[message.job_id] += message.body["job"]["product"] == "blog"
            return BROKEN if 0 < failures[message.job_id] <= 4 else OK

        receiver.reply = reply
        webhook = await webhook_id(gateway, receiver.url, "scheduled", "started", "completed")
        stubborn = await gateway.dispatched(product="blog", schedule={"startAt": "2099-01-01T00:00:00Z"})
        await receiver.until(lambda: failures[stubborn] == 1)
        await gateway.data(
            'mutation ($id: ID!) { reschedule(id: $id, schedule: {startAt: "2020-01-01T00:00:00Z"}) { __typename } }',
            id=stubborn,
        )
        other = await gateway.dispatched()
        await until_delivered(gateway, webhook, lambda found: len(found) == 7 and all_over(found))
    told = [one.event for one in receiver.messages if one.job_id == stubborn]
    assert told == ["scheduled"] * 6 + ["started", "completed"]
    assert [one.event for one in receiver.messages if one.job_id == other] == ["scheduled", "started", "completed"]


async def test_a_receiver_that_is_gone_is_told_nothing_more(gateway: LiveGateway) -> None:
    async with receiving(lambda _: answering("410 Gone")) as receiver, gateway.worker(HANDLERS, delivery=SOON):
        webhook = await webhook_id(gateway, receiver.url, "scheduled", "started", "completed")
        await gateway.dispatched()
        found = await until_delivered(gateway, webhook, lambda found: bool(found) and all_over(found))
        shown = (
            await gateway.data(
                "query ($id: ID!) { node(id: $id) { ... on Webhook { enabled disabledReason } } }", id=webhook
            )
        )["node"]
    assert len(receiver.messages) == 1
    assert shown == {"enabled": False, "disabledReason": "it answered 410 Gone"}
    assert {one["status"] for one in found} == {"DEAD"}


async def test_a_webhook_is_told_of_what_happens_after_it_was_set(gateway: LiveGateway) -> None:
    async with receiving() as receiver, gateway.worker(HANDLERS, delivery=SOON):
        await webhook_id(gateway, receiver.url, "completed", product="other")
        before = await gateway.dispatched()
        await gateway.told(before, EventType.JOB_COMPLETED)
        await webhook_id(gateway, receiver.url)
        after = await gateway.dispatched()
        await receiver.until(lambda: bool(receiver.messages))
    assert [one.job_id for one in receiver.messages] == [after]


async def test_one_event_is_planned_once_however_often_its_planner_starts_anew(
    gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]
) -> None:
    async with receiving() as receiver:
        webhook = await webhook_id(gateway, receiver.url, "scheduled")
        async with gateway.worker(HANDLERS, delivery=SOON):
            await gateway.dispatched()
            await until_delivered(gateway, webhook, all_over)
            mongodb[gateway.gateway.database.name]["projections"].update_one(
                {"_id": "deliveries"}, {"$set": {"position": 0}}
            )
            await gateway.dispatched()
            await until_delivered(gateway, webhook, lambda found: len(found) == 2 and all_over(found))
    assert Counter(one.id for one in receiver.messages).most_common(1)[0][1] == 1


async def test_while_a_secret_is_replaced_messages_carry_both_signatures(gateway: LiveGateway) -> None:
    async with receiving() as receiver, gateway.worker(HANDLERS, delivery=SOON):
        first = await webhook_id(gateway, receiver.url)
        answer = await set_webhook(gateway, receiver.url, secret=None)
        assert answer["webhook"]["id"] == first
        await gateway.dispatched()
        await receiver.until(lambda: bool(receiver.messages))
    _, headers, body = receiver.server.requests[0]
    for secret in (SECRET, answer["secret"]):
        Webhook(secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(body, headers)


async def test_a_deleted_webhook_is_told_nothing_and_nothing_is_kept_of_it(
    gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]
) -> None:
    stored = mongodb[gateway.gateway.database.name]
    async with receiving() as receiver, gateway.worker(HANDLERS, delivery=SOON):
        webhook = await webhook_id(gateway, receiver.url)
        await gateway.dispatched()
        await until_delivered(gateway, webhook, all_over)
        gone = await gateway.data(
            "mutation ($id: ID!) { deleteWebhook(id: $id) { __typename ... on DeletedWebhook { id } } }", id=webhook
        )
        assert gone["deleteWebhook"] == {"__typename": "DeletedWebhook", "id": webhook}
        job = await gateway.dispatched()
        await gateway.told(job, EventType.JOB_COMPLETED)
    assert stored["webhooks"].count_documents({}) == 0
    assert stored["deliveries"].count_documents({}) == 0


async def test_secrets_are_neither_stored_nor_shown(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> None:
    answer = await set_webhook(gateway, "https://example.com/hook", secret=None)
    assert answer["secret"].startswith("whsec_")
    again = await set_webhook(gateway, "https://example.com/other")
    assert again["secret"] is None
    raw = b"".join(map(bson.encode, mongodb[gateway.gateway.database.name]["webhooks"].find()))
    written = answer["secret"].removeprefix("whsec_").encode()
    assert b"https://example.com/hook" in raw
    assert written not in raw
    assert b64decode(written) not in raw
    assert "secret" not in str(await gateway.data("{ webhooks { id url events filter } }"))


async def test_one_that_answers_slowly_does_not_hold_up_the_others(gateway: LiveGateway) -> None:
    at_once = most = 0

    async def say_nothing_counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            await say_nothing(reader, writer)
        finally:
            at_once -= 1

    async with (
        receiving(lambda _: say_nothing_counted) as slow,
        receiving() as quick,
        gateway.worker(HANDLERS, delivery=IMPATIENT),
    ):
        await webhook_id(gateway, slow.url, "scheduled")
        await webhook_id(gateway, quick.url, "scheduled")
        await asyncio.gather(*(gateway.dispatched() for _ in range(100)))
        await quick.until(lambda: len(quick.messages) >= 100)
        # Of 64 attempts at once; twice as many as it may have, since a receiver finds out late that one was given up.
        assert most <= 16


async def test_what_waits_goes_out_without_a_worker(gateway: LiveGateway) -> None:
    async with receiving() as receiver:
        await webhook_id(gateway, receiver.url, "scheduled")
        await gateway.dispatched()
        await receiver.until(lambda: bool(receiver.messages))
