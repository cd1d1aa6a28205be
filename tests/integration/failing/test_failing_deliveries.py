"""Deliveries while MongoDB refuses some writes: what it has taken counts, and what was claimed is attempted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jobs.webhooks import DeliveryStatus
from storage.client import Database
from storage.errors import OUT_OF_DISK_SPACE
from tests.failing import FailingMongod
from tests.posting import Post, posting
from tests.receivers import answering, serving


@pytest.fixture
async def post(database: Database, failing_mongod: FailingMongod, redis_url: str) -> AsyncIterator[Post]:
    async with posting(database, failing_mongod.url, redis_url) as post:
        yield post


async def test_one_that_cannot_be_claimed_does_not_keep_the_others_from_being_attempted(post: Post) -> None:
    async with serving(answering("204 No Content")) as server:
        await post.set(server.url())
        await post.due(3)
        refused, *_ = await post.known()
        # All are claimed at once: a failpoint for one of them may be met by two.
        rule = {"$or": [{"_id": {"$ne": refused.id}}, {"token": None}]}
        await post.database.command("collMod", "deliveries", validator=rule)
        found = await post.attempt()
        assert {one.id for one in found if one.status is DeliveryStatus.PENDING} == {refused.id}
        await post.database.command("collMod", "deliveries", validator={})
        assert {one.status for one in await post.attempt()} == {DeliveryStatus.DELIVERED}
    assert len(server.requests) == 3


async def test_what_was_taken_is_noted_first(post: Post, failing_mongod: FailingMongod) -> None:
    """That its webhook has not only failed can be learned from the next message; this one must not be sent again."""
    async with serving(answering("204 No Content")) as server:
        await post.set(server.url())
        await post.due()
        with failing_mongod.failing("update", on=f"{post.database.name}.webhooks", errorCode=OUT_OF_DISK_SPACE):
            [delivery] = await post.attempt()
    assert delivery.status is DeliveryStatus.DELIVERED
