"""What no event tells of is noted before it is done, about what it is done to: else it is not done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from jobs.access import EVERYWHERE, Principal, Reach, Scope
from jobs.audit import AuditAction, AuditFilter
from jobs.events import EventType
from jobs.webhooks import Webhook
from resolvers.services import Services
from resolvers.webhooks import WebhookRequest, delete_webhook, set_webhook
from storage.client import Database, Driver
from storage.delivery_plan import DeliveryPlan
from storage.outbox import Outbox
from storage.registry import Registry, WorkerCard
from storage.sealing import Sealer
from storage.webhooks import Webhooks
from tests.ageing import ago
from tests.callers import id_of
from tests.conftest import opened
from tests.failing import FailingMongod
from tests.gateway import LiveGateway, serving
from tests.integration.test_audit import running_operation
from tests.integration.test_graphql_webhooks import URL
from tests.integration.test_origins import shop
from tests.programs import said
from tests.webhooks import SET, SETTINGS

ROOT: Final = Principal("root", frozenset({Scope.ADMIN}), EVERYWHERE)
BLOG: Final = Principal("ann", frozenset({Scope.WEBHOOKS_MANAGE}), Reach(frozenset({"blog"}), None))
HOOK: Final = {"url": URL, "events": ["JOB_SCHEDULED"]}
REQUEST: Final = WebhookRequest(URL, (EventType.JOB_SCHEDULED,))
SEALER: Final = Sealer([b"k" * 32])


async def told(services: Services) -> list[tuple[AuditAction, tuple[str, ...]]]:
    """What was done and to what, the oldest first."""
    page = await services.audit.page(EVERYWHERE, AuditFilter(), 50, None)
    return [(entry.action, entry.subjects) for entry in reversed(page.items)]


# ---------------------------------------------------------------- what cannot be noted


DOING: Final = {
    "setWebhook": (SET, {"input": HOOK}),
    "setWebhook, a new one": (SET, {"input": {**HOOK, "url": f"{URL}/new"}}),
    "deleteWebhook": ("mutation ($webhook: ID!) { deleteWebhook(id: $webhook) { __typename } }", {}),
    "redeliver": ("mutation ($delivery: ID!) { redeliver(deliveryId: $delivery) { __typename } }", {}),
    "stopBulkOperation": ('mutation { stopBulkOperation(id: "op_1") { status } }', {}),
}


async def something_of_each(gateway: LiveGateway) -> dict[str, str]:
    """The ids of a webhook and of a delivery to it that was given up; an operation is under way beside."""
    database, services = gateway.gateway.database, gateway.services
    webhook = (await gateway.data(SET, input=HOOK))["setWebhook"]["webhook"]["id"]
    await gateway.dispatched()
    await Outbox(database).relay(10)
    await DeliveryPlan(database, services.webhooks).extend(services.clock.now())
    await database["deliveries"].update_one({}, {"$set": {"status": "dead", "due_at": None}})
    await database["operations"].insert_one(running_operation())
    [delivery] = await database["deliveries"].find().to_list(None)
    return {"webhook": webhook, "delivery": delivery["_id"]}


async def content(database: Database) -> dict[str, list[dict[str, Any]]]:
    names = ("webhooks", "deliveries", "operations", "api_keys")
    return {name: await database[name].find().sort("_id", 1).to_list(None) for name in names}


@asynccontextmanager
async def left_to_workers(url: str, name: str) -> AsyncIterator[Database]:
    """A database of which a gateway believes that workers see to its events: it does not do so itself meanwhile."""
    async with opened(url, name, Driver.MOTOR) as database:
        await Registry(database).sign_in(WorkerCard("worker", "host", 1, 10), 0)
        # Heard of from now on for as long as a test may take.
        await database["workers"].update_many({}, [{"$set": {"heartbeat_at": ago(timedelta(minutes=-10))}}])
        yield database


@pytest.mark.parametrize("name", DOING)
async def test_nothing_is_done_that_cannot_be_noted(
    failing_mongod: FailingMongod, redis_url: str, database_name: str, name: str
) -> None:
    document, variables = DOING[name]
    async with (
        left_to_workers(failing_mongod.url, database_name),
        serving(failing_mongod.url, redis_url, database_name, **SETTINGS) as gateway,
    ):
        ids = await something_of_each(gateway)
        before = await content(gateway.gateway.database)
        given = {**variables, **{key: value for key, value in ids.items() if f"${key}" in document}}
        with failing_mongod.failing("insert", on=f"{database_name}.audit", errorCode=11602):
            answer = await gateway.ask(document, **given)
        assert answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE", answer
        assert await content(gateway.gateway.database) == before
        # Nothing else stood in its way.
        assert "errors" not in await gateway.ask(document, **given)
        assert await content(gateway.gateway.database) != before


async def test_no_key_is_made_or_revoked_where_that_cannot_be_noted(
    failing_mongod: FailingMongod, redis_url: str, database_name: str
) -> None:
    store = {"MONGODB_URL": failing_mongod.url, "JOBGATE_DATABASE": database_name}
    making = ("keys", "create", "--name", "a", "--scope", "jobs:read")
    async with serving(failing_mongod.url, redis_url, database_name) as gateway:
        _, key, _ = await said(*making, **store)
        before = await content(gateway.gateway.database)
        with failing_mongod.failing("insert", on=f"{database_name}.audit", errorCode=11602):
            for command in (making, ("keys", "revoke", id_of(key))):
                status, out, _ = await said(*command, **store)
                assert (status != 0, out) == (True, "")
        assert await content(gateway.gateway.database) == before


# ---------------------------------------------------------------- what it is about


class Racing(Webhooks):
    """Somebody else sets the same URL just after it was looked for."""

    def __init__(self, database: Database, others: Services) -> None:
        super().__init__(database, SEALER)
        self.others = others

    async def list_all(self, reach: Reach) -> list[Webhook]:
        known = await super().list_all(reach)
        await set_webhook(self.others, ROOT, REQUEST)
        return known


class Elected(Webhooks):
    """A primary just after its election: until it was asked for certain, it answers from before anything was set."""

    is_current = False

    async def find(self, reach: Reach, webhook_id: str) -> Webhook | None:
        return await super().find(reach, webhook_id) if self.is_current else None

    async def is_gone(self, webhook_id: str) -> bool:
        self.is_current = True
        return await super().is_gone(webhook_id)


async def test_whoever_is_slower_to_set_a_webhook_has_it_noted_by_the_id_that_it_has(
    servers: Servers, redis_url: str, database_name: str
) -> None:
    async with shop(servers, redis_url, database_name) as there:
        services = there.gateway.services
        racing = Racing(there.gateway.gateway.database, services)
        webhook = (await set_webhook(replace(services, webhooks=racing), ROOT, REQUEST)).webhook
        noted = await told(services)
        assert {action for action, _ in noted} == {AuditAction.SET_WEBHOOK}
        # The second was about one that was never there: it could not be known before.
        assert [subjects == (webhook.id,) for _, subjects in noted] == [True, False, True]


async def test_what_a_primary_does_not_know_yet_is_not_deleted_unnoted(
    servers: Servers, redis_url: str, database_name: str
) -> None:
    async with shop(servers, redis_url, database_name) as there:
        webhook = (await set_webhook(there.gateway.services, ROOT, REQUEST)).webhook
        services = replace(there.gateway.services, webhooks=Elected(there.gateway.gateway.database, SEALER))
        assert await delete_webhook(services, ROOT, webhook.id)
        assert (await told(services))[1:] == [(AuditAction.DELETE_WEBHOOK, (webhook.id,))]


async def test_what_is_out_of_reach_takes_the_steps_of_what_is_not_there(
    servers: Servers, redis_url: str, database_name: str
) -> None:
    async with (
        left_to_workers(servers.mongodb_url, database_name) as database,
        shop(servers, redis_url, database_name) as there,
    ):
        services = there.gateway.services
        webhook = (await set_webhook(services, ROOT, REQUEST)).webhook
        steps = []
        for webhook_id in (webhook.id, "wh_unknown"):
            await database.command("profile", 2)
            assert not await delete_webhook(services, BLOG, webhook_id)
            await database.command("profile", 0)
            wanted = {"ns": {"$in": [f"{database_name}.{name}" for name in ("webhooks", "deliveries", "audit")]}}
            done = await database["system.profile"].find(wanted).sort("ts", 1).to_list(None)
            steps.append([(step["op"], step["ns"]) for step in done])
            await database["system.profile"].drop()
        assert steps[0] == steps[1]
        assert len(steps[0]) == 3
        assert await services.webhooks.find(EVERYWHERE, webhook.id) is not None
