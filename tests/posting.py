"""One webhook of an installation, and attempts at what it is to be told, made one at a time."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from jobs.access import EVERYWHERE
from jobs.events import EventType
from jobs.filters import JobFilter
from jobs.webhooks import Delivery
from storage.client import Database
from storage.deliveries import Deliveries
from storage.delivery_plan import DeliveryPlan
from storage.outbox import Outbox
from storage.sealing import Sealer
from storage.webhooks import NewWebhook, Webhooks
from tests.installation import Installation, installed, offer
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
        await self.webhooks.set(NewWebhook(url, asked, JobFilter(), None, None, 0, secret, now, payloads=True), HOOK)

    async def due(self, jobs: int = 1) -> None:
        """Have so many messages be due."""
        for _ in range(jobs):
            await self.installation.dispatch()
        await Outbox(self.database).relay(10)
        assert await self.plan.extend(self.installation.services.clock.now()) == (jobs, False)

    async def due_later(self, jobs: int) -> None:
        """Have so many messages be there that are not attempted at the next look."""
        due = {one.id for one in await self.known()}
        await self.due(jobs)
        later = self.installation.services.clock.now() + timedelta(hours=1)
        await self.database["deliveries"].update_many({"_id": {"$nin": list(due)}}, {"$set": {"due_at": later}})

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

    async def failing_for(self, time: timedelta) -> None:
        """Have the webhook have failed for so long."""
        since = self.installation.services.clock.now() - time
        await self.database["webhooks"].update_one({}, {"$set": {"failing_since": since}})

    async def known(self) -> list[Delivery]:
        return list((await self.deliveries.pages(EVERYWHERE, [HOOK], None, 100, None))[HOOK].items)


@asynccontextmanager
async def posting(database: Database, mongodb_url: str, redis_url: str) -> AsyncIterator[Post]:
    """A webhook that is not set yet, of an installation without any process that makes attempts by itself."""
    await offer(database, "demo.echo")
    webhooks = Webhooks(database, Sealer([KEY]))
    async with installed(database, mongodb_url, redis_url) as installation:
        yield Post(database, installation, webhooks, Deliveries(database, webhooks), DeliveryPlan(database, webhooks))
