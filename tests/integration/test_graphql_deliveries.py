"""Deliveries through GraphQL: those of many webhooks together, and sending one again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from pymongo import MongoClient

from gateway.devstack import Servers
from tests.gateway import Answer, LiveGateway, serving
from tests.receivers import answering
from tests.webhooks import SETTINGS, all_over, deliveries, receiving, set_webhook, until_delivered, webhook_id

REDELIVER: Final = """
    mutation ($id: ID!) {
        redeliver(deliveryId: $id) { __typename ... on Delivery { status } }
    }
"""


@pytest.fixture
async def gateway(servers: Servers, redis_url: str, database_name: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name, **SETTINGS) as gateway:
        yield gateway


async def redeliver(gateway: LiveGateway, delivery: str) -> Answer:
    answer: Answer = (await gateway.data(REDELIVER, id=delivery))["redeliver"]
    return answer


async def test_deliveries_are_listed_page_by_page(gateway: LiveGateway) -> None:
    async with receiving() as receiver:
        webhook = await webhook_id(gateway, receiver.url, "scheduled")
        jobs = [await gateway.dispatched() for _ in range(5)]
        found = await until_delivered(gateway, webhook, lambda found: len(found) == 5 and all_over(found))
        pages, after = [], None
        while True:
            page = (
                await gateway.data(
                    "query ($id: ID!, $after: String) { node(id: $id) { ... on Webhook { deliveries(first: 2, after: $after) "
                    "{ nodes { id } pageInfo { hasNextPage endCursor } } } } }",
                    id=webhook,
                    after=after,
                )
            )["node"]["deliveries"]
            pages.append([one["id"] for one in page["nodes"]])
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [one for page in pages for one in page] == [one["id"] for one in found]
    assert sorted(one["jobId"] for one in found) == sorted(jobs)
    assert await deliveries(gateway, webhook, status="DEAD") == []


async def test_those_of_all_webhooks_are_read_together(
    gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]], database_name: str
) -> None:
    database = mongodb[database_name]
    async with receiving() as receiver:
        for number in range(5):
            webhook = await webhook_id(gateway, f"{receiver.url}/{number}", "scheduled")
        job = await gateway.dispatched()
        await receiver.until(lambda: len(receiver.messages) == 5)
        await until_delivered(gateway, webhook, all_over)
    document = """{
        webhooks { id
            deliveries { nodes { jobId attempts { at } } }
            dead: deliveries(status: DEAD) { nodes { id } pageInfo { hasNextPage endCursor } }
        }
    }"""
    database.command("profile", 2)
    webhooks = (await gateway.data(document))["webhooks"]
    database.command("profile", 0)
    assert [[one["jobId"] for one in webhook["deliveries"]["nodes"]] for webhook in webhooks] == [[job]] * 5
    assert [webhook["dead"]["nodes"] for webhook in webhooks] == [[]] * 5
    reads = list(database["system.profile"].find({"command.aggregate": "webhooks"}))
    # Two pages that differ in what they ask for: not ten reads.
    assert len(reads) == 2


async def test_nothing_is_sent_again_to_a_webhook_that_is_switched_off_until_it_is_set_again(
    gateway: LiveGateway,
) -> None:
    async with receiving(lambda _: answering("410 Gone")) as receiver:
        webhook = await webhook_id(gateway, receiver.url, "scheduled")
        await gateway.dispatched()
        [dead] = await until_delivered(gateway, webhook, all_over)
        [refused] = (await gateway.ask(REDELIVER, id=dead["id"]))["errors"]
        assert refused["extensions"]["code"] == "BAD_USER_INPUT"
        [issue] = refused["extensions"]["issues"]
        assert issue == {
            "path": ["deliveryId"],
            "message": "is for a webhook that is switched off: set that again first",
        }
        receiver.reply = lambda _: answering("204 No Content")
        await set_webhook(gateway, receiver.url, "scheduled")
        assert await redeliver(gateway, dead["id"]) == {"__typename": "Delivery", "status": "PENDING"}
        [taken] = await until_delivered(gateway, webhook, all_over)
    assert taken["status"] == "DELIVERED"
    assert [one.id for one in receiver.messages] == [dead["id"]] * 2
