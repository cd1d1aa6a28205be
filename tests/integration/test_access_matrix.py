"""Every root field of the schema, asked by those who may and by those who may not: generated, so that no field is left out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import pytest

from jobs.access import ANYBODY, EVERYWHERE, Principal, Reach, Scope
from jobs.bulk import BulkRequest
from jobs.events import EventType
from jobs.feed import feed_cursor
from jobs.filters import JobFilter
from jobs.lifecycle import Action
from jobs.origins import Origin
from jobs.schedule import ScheduleSpec
from resolvers.dispatching import dispatch
from resolvers.services import Services
from resolvers.steering import pause
from resolvers.webhooks import WebhookRequest, set_webhook
from schema.access import root_scopes
from schema.build import Schema, build_schema
from schema.context import Context
from schema.mutation import Mutation
from schema.query import Query
from schema.subscription import Subscription
from storage.client import Database
from storage.deliveries import Deliveries
from storage.delivery_plan import DeliveryPlan
from storage.outbox import Outbox
from storage.projection import Projection
from storage.sealing import Sealer
from storage.webhooks import Webhooks
from tests.asking import document, root
from tests.factories import NOW, every, make_request
from tests.installation import Installation

SHOP: Final = Reach(frozenset({"shop"}), frozenset({"prd"}))
RIVAL: Final = Reach(frozenset({"rival"}), frozenset({"prd"}))
OTHER_ENV: Final = Reach(frozenset({"shop"}), frozenset({"dev"}))
NOWHERE: Final = Reach(frozenset(), frozenset())

SECRETS: Final = ("SECRET-INPUT", "SECRET-RESULT", "SECRET-ERROR", "SECRET-PROGRESS")
KEPT: Final = ("jobs", "executions", "events", "webhooks", "deliveries", "operations", "operation_batches", "audit")

ALIKE: Final = frozenset({"viewer", "schedulePreview", "tasks", "workers"})
"""What is the same for everybody who may ask for it."""

Place = tuple[str, str]
"""An operation type and the name of one of its root fields."""


@dataclass
class World:
    """An installation of which the shop has something of everything."""

    schema: Schema
    services: Services
    database: Database
    arguments: Mapping[Place, Mapping[str, object]]

    async def ask(self, place: Place, principal: Principal) -> tuple[Any, list[Any]]:
        """Data and errors of the answer; of a subscription, those of the first."""
        operation, field = place[0], place[1].partition("(")[0]
        given = self.arguments.get(place, {})
        text = document(self.schema._schema, operation, field, given)
        context = Context(self.services, principal)
        if operation != "subscription":
            answer = await self.schema.execute(text, dict(given), context)
            return answer.data, answer.errors or []
        stream: Any = await self.schema.subscribe(text, dict(given), context)
        if not hasattr(stream, "__anext__"):
            return None, stream.errors
        async with aclosing(stream):
            answer = await anext(stream)
            return answer.data, answer.errors or []

    async def dump(self) -> dict[str, list[Any]]:
        return {name: await self.database[name].find().sort("_id").to_list(None) for name in KEPT}


def places(schema: Schema) -> list[Place]:
    return [
        (operation, name)
        for operation in ("query", "mutation", "subscription")
        for name in root(schema._schema, operation).fields
    ]


NODES: Final[dict[Place, Scope]] = {
    ("query", "node(operation)"): Scope.JOBS_READ,
    ("query", "node(webhook)"): Scope.WEBHOOKS_MANAGE,
    ("query", "node(delivery)"): Scope.WEBHOOKS_MANAGE,
}
"""A field that leads to things of different kinds, each of which has a scope of its own."""


def scopes(schema: Schema) -> dict[Place, Scope | None]:
    naming = schema.config.name_converter.apply_naming_config
    named = root_scopes((Query, Mutation, Subscription))
    return {(type_.lower(), naming(field)): scope for (type_, field), scope in named.items()}


def only(scope: Scope | None, reach: Reach = SHOP) -> Principal:
    """Somebody with this scope, and those that what is selected beneath needs."""
    beneath = {Scope.JOBS_READ, Scope.PAYLOADS_READ}
    return Principal("ann", frozenset({*beneath, *([scope] if scope else [])}), reach)


def without(scope: Scope | None) -> Principal:
    """Somebody with all scopes but this, and but the one that stands for all."""
    return Principal("ann", frozenset(Scope) - {scope, Scope.ADMIN}, EVERYWHERE)


OWNER: Final = Principal("owner", frozenset(Scope), SHOP, origin=Origin(address="SECRET-ADDRESS"))


async def job(services: Services, **changes: Any) -> str:
    request = make_request(input={"card": "SECRET-INPUT"}, tags=("mine",), **changes)
    return (await dispatch(services, OWNER, request)).id


async def ended(services: Services, database: Database) -> str:
    """A job that has failed, and whose only run is in the history."""
    job_id = await job(services)
    error = {"code": "BAD", "message": "SECRET-ERROR"}
    told = {"progress": 0.5, "progress_message": "SECRET-PROGRESS"}
    changes = {
        **told,
        "status": "failed",
        "completed_at": NOW,
        "last_error": error,
        "result": "SECRET-RESULT",
        "run": None,
    }
    await database["jobs"].update_one({"_id": job_id}, {"$set": {**changes, "tally.failed": 1}})
    run = {"number": 1, "scheduled_for": NOW, "started_at": NOW, "completed_at": NOW, "status": "failed", "attempts": 1}
    told = {"error": error, "result": "SECRET-RESULT", "worker": "w1"}
    await database["executions"].insert_one({"_id": f"{job_id}:1", "job_id": job_id, "recurring": False, **run, **told})
    return job_id


async def paused(services: Services) -> str:
    job_id = await job(services, schedule=every(60))
    await pause(services, OWNER, job_id, "a rest")
    return job_id


async def arguments(services: Services, database: Database) -> dict[Place, Mapping[str, object]]:
    """What to ask of each field that takes something, about what is the shop's."""
    failed = await ended(services, database)
    request = WebhookRequest("https://hooks.example.com/in", (EventType.JOB_SCHEDULED,), product="shop", env="prd")
    hook = (await set_webhook(services, OWNER, request)).webhook.id
    await database["webhooks"].update_one({"_id": hook}, {"$set": {"since": 0}})
    await Outbox(database).relay(100)
    await Projection(database).fold()
    await DeliveryPlan(database, services.webhooks).extend(services.clock.now())
    [delivery, *_] = await database["deliveries"].find({"webhook_id": hook}).to_list(None)
    await database["events"].update_many({}, {"$set": {"error": {"code": "BAD", "message": "SECRET-ERROR"}}})
    retrying = BulkRequest(Action.RETRY, JobFilter(tags=("mine",)), "why")
    # Begun, and left alone.
    begun_by: dict[str, Any] = {"actor": "owner", "origin": OWNER.origin}
    operation = (await services.bulk.begin(SHOP, retrying, "op_mine", now=services.clock.now(), **begun_by)).id
    mine: dict[str, object] = {"filter": {"tags": ["mine"]}}
    later: dict[str, object] = {"schedule": {"startAt": (services.clock.now() + timedelta(days=1)).isoformat()}}
    new = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd", "input": {"card": "SECRET-INPUT"}}
    scheduled = await job(services, schedule=ScheduleSpec(start_at=services.clock.now() + timedelta(days=2)))
    return {
        ("query", "node"): {"id": failed},
        ("query", "node(operation)"): {"id": operation},
        ("query", "node(webhook)"): {"id": hook},
        ("query", "node(delivery)"): {"id": delivery["_id"]},
        ("query", "job"): {"id": failed},
        ("query", "history"): {"jobId": failed},
        ("query", "bulkOperation"): {"id": operation},
        ("query", "schedulePreview"): {"schedule": {"every": 60_000}},
        ("mutation", "dispatch"): {"input": new},
        ("mutation", "cancel"): {"id": await job(services)},
        ("mutation", "pause"): {"id": await job(services, schedule=every(60))},
        ("mutation", "resume"): {"id": await paused(services)},
        ("mutation", "reschedule"): {"id": scheduled, **later},
        ("mutation", "retry"): {"id": await ended(services, database)},
        ("mutation", "delete"): {"id": await ended(services, database)},
        **{("mutation", f"{one}Many"): mine for one in ("cancel", "pause", "resume", "retry", "delete")},
        ("mutation", "stopBulkOperation"): {"id": operation},
        ("mutation", "setWebhook"): {
            "input": {"url": "https://hooks.example.com/2", "events": ["JOB_FAILED"], "product": "shop", "env": "prd"}
        },
        ("mutation", "deleteWebhook"): {"id": hook},
        ("mutation", "redeliver"): {"deliveryId": delivery["_id"]},
        ("subscription", "jobEvents"): {"after": feed_cursor(0)},
        ("subscription", "bulkOperation"): {"id": operation},
    }


@pytest.fixture
async def world(installation: Installation, database: Database) -> World:
    """Where nothing happens but what is asked for: no worker lives, and nobody relays."""
    webhooks = Webhooks(database, Sealer((b"k" * 32,)))
    services = replace(installation.services, webhooks=webhooks, deliveries=Deliveries(database, webhooks))
    return World(build_schema(), services, database, await arguments(services, database))


def text(answer: object) -> str:
    return json.dumps(answer, default=str)


def asked_of(world: World, operations: tuple[str, ...]) -> Iterator[tuple[Place, Scope | None]]:
    of = scopes(world.schema)
    # What it was sent goes with a webhook, and is asked for before that.
    for place in sorted(places(world.schema), key=lambda one: one[1] == "deleteWebhook"):
        if place[0] in operations:
            yield place, of[place]


def typename(data: Any, place: Place) -> str | None:
    value = data[place[1]]
    return value["__typename"] if isinstance(value, dict) else None


async def test_whoever_lacks_the_scope_of_a_field_is_told_which_it_is_and_nothing_is_changed(world: World) -> None:
    before = await world.dump()
    for place, scope in asked_of(world, ("query", "mutation", "subscription")):
        if scope is None:
            continue
        data, errors = await world.ask(place, without(scope))
        if errors:
            assert [error.extensions for error in errors] == [{"code": "FORBIDDEN", "scope": scope.value}], place
            assert not data or data[place[1]] is None, place
        else:
            assert data[place[1]] == {
                "__typename": "Forbidden",
                "code": "FORBIDDEN",
                "message": f"this needs the scope {scope.value}",
                "scope": scope.value,
            }, place
        assert await world.dump() == before, place


async def test_with_the_scope_of_a_field_alone_it_answers(world: World) -> None:
    for place, scope in asked_of(world, ("query", "subscription", "mutation")):
        before = await world.dump()
        data, errors = await world.ask(place, only(scope))
        assert not errors, (place, errors)
        assert data[place[1]] is not None, place
        assert typename(data, place) not in {"Forbidden", "NotFound", "InvalidInput", "TransitionRefused"}, (
            place,
            data,
        )
        if place[0] == "mutation":
            assert await world.dump() != before, place


async def test_the_scope_admin_stands_for_all(world: World) -> None:
    admin = Principal("root", frozenset({Scope.ADMIN}), SHOP)
    for place, _ in asked_of(world, ("query", "subscription", "mutation")):
        data, errors = await world.ask(place, admin)
        assert not errors, place
        assert typename(data, place) != "Forbidden", place


@pytest.mark.parametrize("reach", [RIVAL, OTHER_ENV])
async def test_what_is_out_of_reach_is_answered_as_if_it_were_not_there(world: World, reach: Reach) -> None:
    """Every reader gets what somebody gets who reaches nothing at all, for whom there is nothing."""
    for place, scope in asked_of(world, ("query",)):
        if place[1] in ALIKE:
            continue
        given = await world.ask(place, only(scope, reach))
        assert text(given) == text(await world.ask(place, only(scope, NOWHERE))), place
        assert "mine" not in text(given), place
        assert text(given) != text(await world.ask(place, only(scope))), place


@pytest.mark.parametrize("reach", [RIVAL, OTHER_ENV])
async def test_what_is_out_of_reach_cannot_be_changed(world: World, reach: Reach) -> None:
    before = await world.dump()
    for place, scope in asked_of(world, ("mutation",)):
        data, errors = await world.ask(place, only(scope, reach))
        assert not errors, (place, errors)
        answer = data[place[1]]
        if place[1].endswith("Many"):
            assert (answer["matched"], answer["count"]) == (0, 0), place
        elif place[1] in ("dispatch", "setWebhook"):
            assert (answer["__typename"], answer["scope"]) == ("Forbidden", scope), place
        else:
            assert answer is None or answer["__typename"] == "NotFound", place
        after = await world.dump()
        assert {**after, "operations": None} == {**before, "operations": None}, place
        assert [one for one in after["operations"] if one in before["operations"]] == before["operations"], place


@pytest.mark.parametrize("reach", [RIVAL, OTHER_ENV])
async def test_nobody_is_told_of_what_is_out_of_reach(world: World, reach: Reach) -> None:
    assert reach.products is not None
    assert reach.envs is not None
    [product], [env] = reach.products, reach.envs
    request = make_request(product=product, env=env)
    own = (await dispatch(world.services, ANYBODY, request)).id
    await Outbox(world.database).relay(100)
    data, errors = await world.ask(("subscription", "jobEvents"), only(Scope.JOBS_READ, reach))
    assert not errors
    assert data["jobEvents"]["jobId"] == own
    data, [error] = await world.ask(("subscription", "bulkOperation"), only(Scope.JOBS_READ, reach))
    assert "there is no such bulk operation" in error.message


async def test_without_payloads_nobody_sees_what_jobs_are_given_and_answer(world: World) -> None:
    seen: set[str] = set()
    for place, scope in asked_of(world, ("query", "subscription", "mutation")):
        blind = Principal("ann", only(scope).scopes - {Scope.PAYLOADS_READ}, SHOP)
        data, errors = await world.ask(place, blind)
        assert not errors, place
        assert not any(secret in text(data) for secret in SECRETS), place
        data, _ = await world.ask(place, replace(blind, scopes=blind.scopes | {Scope.PAYLOADS_READ}))
        seen.update(secret for secret in SECRETS if secret in text(data))
    assert seen == set(SECRETS)


async def test_without_admin_nobody_sees_from_where_something_was_asked_for(world: World) -> None:
    seen: set[Place] = set()
    for place, scope in asked_of(world, ("query", "subscription", "mutation")):
        if scope is not Scope.ADMIN:
            data, errors = await world.ask(place, Principal("ann", frozenset(Scope) - {Scope.ADMIN}, SHOP))
            assert not errors, place
            assert "SECRET-ADDRESS" not in text(data), place
        data, _ = await world.ask(place, Principal("root", frozenset({Scope.ADMIN}), SHOP))
        seen |= {place} if "SECRET-ADDRESS" in text(data) else set()
    told = {("query", "events"), ("query", "job"), ("query", "audit"), ("query", "bulkOperation")}
    assert told | {("subscription", "jobEvents"), ("subscription", "bulkOperation")} <= seen


@pytest.mark.parametrize("place", [("query", "jobs"), ("query", "stats"), ("mutation", "cancelMany")])
async def test_without_payloads_nobody_can_guess_at_input(world: World, place: Place) -> None:
    world.arguments = {place: {"filter": {"input": [{"path": "card", "equals": "SECRET-INPUT"}]}}}
    before = await world.dump()
    blind = Principal("ann", frozenset({Scope.JOBS_READ, Scope.JOBS_CONTROL}), SHOP)
    data, errors = await world.ask(place, blind)
    scope = errors[0].extensions["scope"] if errors else data[place[1]]["scope"]
    assert scope == Scope.PAYLOADS_READ
    assert await world.dump() == before


@pytest.mark.parametrize("reach", [RIVAL, OTHER_ENV, NOWHERE])
async def test_a_node_of_any_kind_is_there_for_those_who_reach_it_and_may_see_its_kind(
    world: World, reach: Reach
) -> None:
    for place, scope in NODES.items():
        seen = Principal("ann", frozenset({Scope.JOBS_READ, scope}), SHOP)
        data, errors = await world.ask(place, seen)
        assert not errors, place
        assert data["node"]["id"] == world.arguments[place]["id"]
        for blind in (replace(seen, reach=reach), replace(seen, scopes=frozenset({Scope.JOBS_READ}))):
            data, errors = await world.ask(place, blind)
            assert not errors, place
            assert (data["node"] is None) is (blind.reach is not SHOP or not blind.may(scope)), place


@pytest.mark.parametrize("reach", [RIVAL, OTHER_ENV])
async def test_live_events_are_told_within_reach_alone(world: World, reach: Reach) -> None:
    assert reach.products is not None
    assert reach.envs is not None
    [product], [env] = reach.products, reach.envs
    services, context = world.services, Context(world.services, only(Scope.JOBS_READ, reach))
    stream: Any = await world.schema.subscribe("subscription { jobEvents { jobId } }", {}, context)
    async with aclosing(stream), asyncio.timeout(10):
        first = asyncio.ensure_future(anext(stream))
        before = len(services.hub._subscribers)
        while len(services.hub._subscribers) == before:
            await services.events.head()
        await job(services)
        await Outbox(world.database).relay(100)
        own = (await dispatch(services, ANYBODY, make_request(product=product, env=env))).id
        await Outbox(world.database).relay(100)
        assert (await first).data["jobEvents"]["jobId"] == own


@pytest.mark.parametrize("may", [True, False])
async def test_a_webhook_is_told_errors_as_whoever_set_it_may_read_them(world: World, may: bool) -> None:
    services, database = world.services, world.database
    scopes_ = frozenset({Scope.WEBHOOKS_MANAGE, *([Scope.PAYLOADS_READ] if may else [])})
    # Set anew by somebody else: it is theirs from then on.
    for setter in (replace(OWNER, scopes=frozenset(Scope) if not may else scopes_ - {Scope.PAYLOADS_READ}), OWNER):
        request = WebhookRequest("https://hooks.example.com/3", (EventType.JOB_FAILED,), product="shop", env="prd")
        principal = setter if setter is not OWNER else replace(OWNER, scopes=scopes_)
        hook = (await set_webhook(services, principal, request)).webhook.id
    [last] = await database["events"].find().sort("_id", -1).limit(1).to_list(1)
    assert last is not None
    failed = {**last, "_id": last["_id"] + 1, "seq": last["seq"] + 1, "type": "job.failed", "status": "failed"}
    await database["events"].insert_one(failed)
    await DeliveryPlan(database, services.webhooks).extend(services.clock.now())
    [delivery] = await database["deliveries"].find({"webhook_id": hook}).to_list(None)
    assert ("SECRET-ERROR" in delivery["body"]) is may


async def test_whoever_only_steers_sees_no_more_than_the_job_that_is_steered(world: World) -> None:
    """Neither its history nor its events, to which the job would lead."""
    [failed] = [world.arguments["query", "job"]["id"]]
    steering = Principal("ann", frozenset({Scope.JOBS_CONTROL}), SHOP)
    for what in ("history { totalExecutions }", "events { nodes { type } }"):
        text_ = f"mutation ($id: ID!) {{ resume(id: $id) {{ ... on TransitionRefused {{ job {{ id {what} }} }} }} }}"
        answer = await world.schema.execute(text_, {"id": failed}, Context(world.services, steering))
        [error] = answer.errors or []
        assert error.extensions == {"code": "FORBIDDEN", "scope": "jobs:read"}
