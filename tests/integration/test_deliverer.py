"""Attempts at deliveries, made one at a time: what is noted of them, and what becomes of the others."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from jobs.events import EventType
from jobs.filters import JobFilter
from jobs.webhooks import Delivery, DeliveryStatus
from storage.client import Database
from storage.deliveries import Deliveries
from storage.delivery_plan import DeliveryPlan
from storage.outbox import Outbox
from storage.sealing import Sealer
from storage.webhooks import NewWebhook, Webhooks
from tests.installation import Installation, installed, offer
from tests.receivers import answering, serving
from tests.webhooks import SOON
from worker.deliverer import Deliverer
from worker.guarded_http import GuardedHttp, resolve

KEY: Final = os.urandom(32)
HOOK: Final = "wh_1"


async def always() -> bool:
    return True


@dataclass
class Post:
    """One webhook, and the attempts at what it is to be told."""

    database: Database
    installation: Installation
    webhooks: Webhooks
    deliveries: Deliveries
    plan: DeliveryPlan
    url: str = ""

    async def set(self, url: str, secret: bytes = b"s" * 32) -> None:
        """Set the webhook, for the scheduling of jobs."""
        self.url = url
        asked, now = (EventType.JOB_SCHEDULED,), self.installation.services.clock.now()
        await self.webhooks.set(NewWebhook(url, asked, JobFilter(), None, None, 0, secret, now), HOOK)

    async def due(self, jobs: int = 1) -> None:
        """Have so many messages be due."""
        for _ in range(jobs):
            await self.installation.dispatch()
        await Outbox(self.database).relay(10)
        assert await self.plan.extend(self.installation.services.clock.now()) == (jobs, False)

    def deliverer(
        self,
        wanted: Callable[[], Awaitable[bool]] = always,
        resolve: Callable[[str, int], Awaitable[Sequence[str]]] = resolve,
        webhooks: Webhooks | None = None,
    ) -> Deliverer:
        services = self.installation.services
        http = GuardedHttp(allow_private=True, resolve=resolve)
        return Deliverer(
            self.deliveries, webhooks or self.webhooks, http, services.signals, services.clock, wanted, SOON
        )

    async def attempt(self, **how: Any) -> list[Delivery]:
        """What is known of all deliveries once those that are due were attempted."""
        deliverer = self.deliverer(**how)
        await deliverer.run_once()
        await deliverer.stop()
        return await self.known()

    async def known(self) -> list[Delivery]:
        return list((await self.deliveries.pages([HOOK], None, 100, None))[HOOK].items)


@pytest.fixture
async def post(database: Database, servers: Servers, redis_url: str) -> AsyncIterator[Post]:
    await offer(database, "demo.echo")
    webhooks = Webhooks(database, Sealer([KEY]))
    async with installed(database, servers.mongodb_url, redis_url) as installation:
        yield Post(database, installation, webhooks, Deliveries(database, webhooks), DeliveryPlan(database, webhooks))


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
