"""From where and with what something was asked for: on every event of it, for those with the scope admin alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from jobs.access import EVERYWHERE, Principal, Reach, Scope
from jobs.errors import CursorExpired
from jobs.feed import feed_cursor
from jobs.filters import EventFilter
from jobs.lifecycle import JobStatus
from jobs.origins import OriginFilter
from resolvers.log import list_events
from storage.delivery_plan import DeliveryPlan
from storage.events import EventLog, Passage
from tests.callers import bearer, id_of, key_in
from tests.gateway import DISPATCH, LiveGateway, serving
from tests.integration.test_graphql_steering import job_in, stored
from tests.tokens import AUDIENCE, ISSUER, claims, token, written
from tests.webhooks import SET, SETTINGS

ORIGIN: Final = "origin { address credentialKind credential issuer }"
LOG: Final = f"""
    query ($filter: JobEventFilter, $first: Int! = 50, $after: String) {{
        events(filter: $filter, first: $first, after: $after) {{
            nodes {{ type jobId actor reason {ORIGIN} }} pageInfo {{ hasNextPage endCursor }}
        }}
    }}
"""
JOB: Final = f"query ($id: ID!) {{ job(id: $id) {{ events {{ nodes {{ type {ORIGIN} }} }} }} }}"
STEERING: Final = {
    "cancel": ('cancel(id: $id, reason: "enough")', JobStatus.SCHEDULED, "JOB_CANCELLED"),
    "pause": ("pause(id: $id)", JobStatus.SCHEDULED, "JOB_PAUSED"),
    "resume": ("resume(id: $id)", JobStatus.PAUSED, "JOB_RESUMED"),
    "reschedule": ("reschedule(id: $id, schedule: { every: 60000 })", JobStatus.SCHEDULED, "JOB_RESCHEDULED"),
    "retry": ("retry(id: $id)", JobStatus.FAILED, "JOB_SCHEDULED"),
    "delete": ("delete(id: $id)", JobStatus.FAILED, "JOB_DELETED"),
}
HERE: Final = "127.0.0.1"
READER: Final = frozenset({Scope.JOBS_READ, Scope.JOBS_DISPATCH, Scope.JOBS_CONTROL})


@dataclass(frozen=True, slots=True)
class Shop:
    """A gateway that wants to know who asks, and the keys of an admin and of somebody who is none."""

    gateway: LiveGateway
    admin: str
    other: str

    async def ask(self, key: str, document: str, **variables: object) -> dict[str, Any]:
        request = {"query": document, "variables": variables}
        answer: dict[str, Any] = (await self.gateway.http.post("/graphql", json=request, headers=bearer(key))).json()
        return answer

    async def data(self, key: str, document: str, **variables: object) -> Any:
        answer = await self.ask(key, document, **variables)
        assert "errors" not in answer, answer
        return answer["data"]

    async def dispatched(self, key: str, **changes: object) -> str:
        request = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd", **changes}
        return str((await self.data(key, DISPATCH, input=request))["dispatch"]["id"])

    async def told(self, key: str, **wanted: object) -> list[dict[str, Any]]:
        """The events in the log once all that has happened is there."""
        await self.relayed()
        nodes: list[dict[str, Any]] = (await self.data(key, LOG, filter=wanted))["events"]["nodes"]
        return nodes

    async def relayed(self) -> None:
        async with asyncio.timeout(20):
            while await self.gateway.gateway.database["jobs"].find_one({"outbox.0": {"$exists": True}}):
                await self.gateway.http.get("/healthz")


def origin(key: str, address: str = HERE) -> dict[str, Any]:
    return {"address": address, "credentialKind": "KEY", "credential": id_of(key), "issuer": None}


@asynccontextmanager
async def shop(servers: Servers, redis_url: str, name: str, **changes: Any) -> AsyncIterator[Shop]:
    async with serving(servers.mongodb_url, redis_url, name, auth="keys", **{**SETTINGS, **changes}) as gateway:
        database = gateway.gateway.database
        admin = await key_in(database, name="root", scopes=frozenset({Scope.ADMIN}))
        yield Shop(gateway, admin, await key_in(database, name="ann", scopes=READER))


@pytest.fixture
async def installed(servers: Servers, redis_url: str, database_name: str) -> AsyncIterator[Shop]:
    async with shop(servers, redis_url, database_name) as there:
        yield there


async def test_a_dispatch_says_from_where_and_with_which_key_it_was_asked_for(installed: Shop) -> None:
    job_id = await installed.dispatched(installed.other)
    assert [event["origin"] for event in await installed.told(installed.admin)] == [origin(installed.other)] * 2
    nodes = (await installed.data(installed.admin, JOB, id=job_id))["job"]["events"]["nodes"]
    assert [event["origin"] for event in nodes] == [origin(installed.other)] * 2
    dumped = str([event async for event in installed.gateway.gateway.database["events"].find()])
    assert id_of(installed.other) in dumped
    assert installed.other.split("_", 2)[2] not in dumped


@pytest.mark.parametrize("action", STEERING)
async def test_every_action_says_so_as_well(installed: Shop, action: str) -> None:
    call, status, type_ = STEERING[action]
    job = stored(job_in(status, recurring=action in ("pause", "resume", "reschedule")))
    await installed.gateway.gateway.database["jobs"].insert_one(job)
    await installed.data(installed.admin, f"mutation ($id: ID!) {{ {call} {{ __typename }} }}", id=job["_id"])
    events = [event for event in await installed.told(installed.admin) if event["actor"] is not None]
    assert events
    assert events[0]["type"] == type_
    assert {str(event["origin"]) for event in events} == {str(origin(installed.admin))}
    assert {event["actor"] for event in events} == {"root"}


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "retry", "delete"])
async def test_what_an_operation_does_says_who_began_it_whoever_carries_it_out(
    installed: Shop, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing of it is done before the answer: a runner, of any process, does all of it.
    monkeypatch.setattr("resolvers.bulk.MAX_GOING_ON", 0)
    _, status, type_ = STEERING[action]
    job = stored(job_in(status, recurring=action in ("pause", "resume")))
    await installed.gateway.gateway.database["jobs"].insert_one(job)
    call = f"{action}Many(filter: {{ ids: [$id] }})"
    begun = await installed.data(
        installed.admin,
        f"mutation ($id: ID!) {{ {call} {{ ... on BulkOperation {{ id {ORIGIN} }} }} }}",
        id=job["_id"],
    )
    operation = begun[f"{action}Many"]
    assert operation["origin"] == origin(installed.admin)
    wanted = {"_id": operation["id"], "status": "completed", "count": 1}
    async with asyncio.timeout(20):
        while not await installed.gateway.gateway.database["operations"].find_one(wanted):
            await installed.gateway.http.get("/healthz")
    events = [event for event in await installed.told(installed.admin) if event["actor"] is not None]
    assert events[0]["type"] == type_
    assert {str(event["origin"]) for event in events} == {str(origin(installed.admin))}
    read = f"query ($id: ID!) {{ bulkOperation(id: $id) {{ {ORIGIN} }} }}"
    assert (await installed.data(installed.other, read, id=operation["id"]))["bulkOperation"] == {"origin": None}


async def test_what_nobody_asked_for_says_nothing(installed: Shop) -> None:
    async def echo(_: object, value: Any) -> Any:
        return value

    async with installed.gateway.worker({"demo.echo": echo}):
        job_id = await installed.dispatched(installed.admin)
        async with asyncio.timeout(20):
            while not await installed.gateway.gateway.database["events"].find_one({"type": "job.completed"}):
                await installed.gateway.http.get("/healthz")
    nodes = (await installed.data(installed.admin, JOB, id=job_id))["job"]["events"]["nodes"]
    asked = [event["type"] for event in nodes if event["origin"] is not None]
    assert asked == ["JOB_SCHEDULED", "JOB_QUEUED"]
    assert [event["type"] for event in nodes if event["origin"] is None] == ["JOB_STARTED", "JOB_COMPLETED"]


async def test_nobody_else_is_told(installed: Shop) -> None:
    job_id = await installed.dispatched(installed.admin)
    assert [event["origin"] for event in await installed.told(installed.other)] == [None, None]
    nodes = (await installed.data(installed.other, JOB, id=job_id))["job"]["events"]["nodes"]
    assert [event["origin"] for event in nodes] == [None, None]


async def test_of_subscribers_who_ask_alike_each_is_told_what_they_may_know(installed: Shop) -> None:
    document = f"subscription ($after: String) {{ jobEvents(after: $after) {{ type actor {ORIGIN} }} }}"
    async with installed.gateway.socket(initialised=False) as one, installed.gateway.socket(initialised=False) as two:
        for socket, key in ((one, installed.admin), (two, installed.other)):
            await socket.initialise(**bearer(key))
            await socket.subscribe("1", document, after=feed_cursor(0))
        await installed.gateway.until_subscribers(2)
        await installed.dispatched(installed.other)
        assert (await one.next("1", "jobEvents"))["origin"] == origin(installed.other)
        assert (await two.next("1", "jobEvents"))["origin"] is None


async def test_what_is_asked_for_over_a_websocket_comes_from_somewhere_too(installed: Shop) -> None:
    new = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd"}
    async with installed.gateway.socket(initialised=False) as socket:
        await socket.initialise(**bearer(installed.other))
        await socket.subscribe("1", DISPATCH, input=new)
        assert (await socket.next("1", "dispatch"))["__typename"] == "Job"
    assert [event["origin"] for event in await installed.told(installed.admin)] == [origin(installed.other)] * 2


async def test_webhooks_are_told_nothing_of_it(installed: Shop) -> None:
    hook = {"url": "http://127.0.0.1:1/", "events": ["JOB_SCHEDULED"]}
    await installed.data(installed.admin, SET, input=hook)
    await installed.dispatched(installed.admin)
    await installed.relayed()
    database, services = installed.gateway.gateway.database, installed.gateway.services
    await DeliveryPlan(database, services.webhooks).extend(services.clock.now())
    bodies = [delivery["body"] async for delivery in database["deliveries"].find()]
    assert bodies
    for told in (id_of(installed.admin), HERE, "root"):
        assert not any(told in body for body in bodies)


async def test_who_shows_a_token_is_told_by_its_id_and_issuer(
    servers: Servers, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    terms: dict[str, Any] = {
        "auth": "jwt",
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_jwks": written(tmp_path),
    }
    shown = token(claims(scope="admin", products="*", jti="t-1"))
    async with serving(servers.mongodb_url, redis_url, database_name, **terms) as gateway:
        there = Shop(gateway, shown, shown)
        await there.dispatched(shown)
        expected = {"address": HERE, "credentialKind": "TOKEN", "credential": "t-1", "issuer": ISSUER}
        assert [event["origin"] for event in await there.told(shown)] == [expected] * 2
        dumped = str([event async for event in gateway.gateway.database["events"].find()])
        assert not any(part in dumped for part in shown.split("."))


async def test_where_nobody_is_asked_who_they_are_at_least_the_address_is_known(
    servers: Servers, redis_url: str, database_name: str
) -> None:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        await gateway.dispatched()
        await Shop(gateway, "", "").relayed()
        [event, _] = (await gateway.data(LOG))["events"]["nodes"]
        assert event["origin"] == {"address": HERE, "credentialKind": "NONE", "credential": None, "issuer": None}


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        ("", "192.0.2.7", HERE),
        ("10.0.0.0/8", "192.0.2.7", HERE),
        (HERE, "192.0.2.7", "192.0.2.7"),
        ("127.0.0.0/8,10.0.0.0/8", "198.51.100.1, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        (HERE, "x" * 1000, "x" * 255),
    ],
)
async def test_a_proxy_is_believed_only_if_it_is_named(
    servers: Servers, redis_url: str, database_name: str, trusted: str, forwarded: str, address: str
) -> None:
    async with shop(servers, redis_url, database_name, trusted_proxies=trusted) as there:
        new = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd"}
        headers = {**bearer(there.admin), "x-forwarded-for": forwarded}
        request = {"query": DISPATCH, "variables": {"input": new}}
        await there.gateway.http.post("/graphql", json=request, headers=headers)
        assert [event["origin"]["address"] for event in await there.told(there.admin)] == [address] * 2


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        ("10.0.3.0/28", "192.0.2.7", HERE),
        (HERE, "192.0.2.7", "192.0.2.7"),
        # Two hops: what the client says of itself stands in front, and the inner proxy has appended the outer one.
        (f"{HERE},10.0.3.0/28", "198.51.100.1, 192.0.2.7, 10.0.3.2", "192.0.2.7"),
        # An outer proxy that is not named is the client.
        (HERE, "192.0.2.7, 10.0.3.2", "10.0.3.2"),
    ],
)
async def test_a_proxy_is_believed_of_websockets_too(
    servers: Servers, redis_url: str, database_name: str, trusted: str, forwarded: str, address: str
) -> None:
    new = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd"}
    headers = {"X-Forwarded-For": forwarded}
    async with shop(servers, redis_url, database_name, trusted_proxies=trusted) as there:
        async with there.gateway.socket(initialised=False, additional_headers=headers) as socket:
            await socket.initialise(**bearer(there.other))
            await socket.subscribe("1", DISPATCH, input=new)
            assert (await socket.next("1", "dispatch"))["__typename"] == "Job"
        assert [event["origin"] for event in await there.told(there.admin)] == [origin(there.other, address)] * 2


# ---------------------------------------------------------------- the log by origin


WHO: Final[list[Mapping[str, Any]]] = [
    {"origin": {"by": ["ann"]}},
    {"origin": {"by": ["ann", "nobody"], "address": [HERE]}},
    {"origin": {"by": ["root", "ann"]}, "types": ["JOB_QUEUED"], "jobs": {"product": ["blog"]}},
]


@pytest.mark.parametrize("wanted", WHO, ids=str)
async def test_the_log_is_had_by_who_asked(installed: Shop, wanted: Mapping[str, Any]) -> None:
    await installed.dispatched(installed.admin)
    job_id = await installed.dispatched(installed.other, product="blog")
    events = await installed.told(installed.admin, **wanted)
    assert {event["jobId"] for event in events} == {job_id}
    assert len(events) == (1 if "types" in wanted else 2)


async def test_the_log_is_had_by_key_and_by_address(installed: Shop) -> None:
    await installed.dispatched(installed.admin)
    job_id = await installed.dispatched(installed.other)
    events = await installed.told(installed.admin, origin={"credential": [id_of(installed.other)]})
    assert [event["jobId"] for event in events] == [job_id] * 2
    assert len(await installed.told(installed.admin, origin={"address": [HERE]})) == 4
    assert await installed.told(installed.admin, origin={"address": ["192.0.2.1"]}) == []
    assert await installed.told(installed.admin, origin={"by": []}) == []


async def test_the_log_is_had_by_time(installed: Shop) -> None:
    await installed.dispatched(installed.other)
    await installed.relayed()
    [first, *_] = await installed.gateway.gateway.database["events"].find().sort("_id", 1).to_list(1)
    at = first["at"].isoformat()
    assert len(await installed.told(installed.other, **{"from": at})) == 2
    assert await installed.told(installed.other, to=at) == []
    answer = await installed.ask(installed.other, LOG, filter={"from": "2026-01-02", "to": "2026-01-01"})
    assert answer["errors"][0]["message"] == "filter.to: is before from"


async def test_pages_of_what_somebody_asked_for_lead_on(installed: Shop) -> None:
    jobs = [await installed.dispatched(key) for key in (installed.other, installed.admin) * 3]
    await installed.relayed()
    seen: list[str] = []
    after, more = None, True
    while more:
        wanted = {"origin": {"by": ["ann"]}}
        page = (await installed.data(installed.admin, LOG, filter=wanted, first=4, after=after))["events"]
        seen += [event["jobId"] for event in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert seen == [job_id for job_id in jobs[::2] for _ in range(2)]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"by": ["x"] * 10}, None),
        ({}, "filter.origin: give at least one of by, credential and address"),
        ({"by": [str(one) for one in range(51)]}, "filter.origin.by: 51 values, more than the 50 allowed"),
        ({"address": [str(one) for one in range(51)]}, "filter.origin.address: 51 values, more than the 50 allowed"),
    ],
)
async def test_what_cannot_be_looked_for(installed: Shop, wanted: dict[str, Any], message: str | None) -> None:
    answer = await installed.ask(installed.admin, LOG, filter={"origin": wanted})
    assert [error["message"] for error in answer.get("errors", [])] == ([] if message is None else [message])


async def test_who_asked_is_looked_for_by_admins_alone(installed: Shop) -> None:
    wanted = {"origin": {"by": ["root"]}}
    answer = await installed.ask(installed.other, LOG, filter=wanted)
    assert answer["errors"][0]["extensions"] == {"code": "FORBIDDEN", "scope": "admin"}
    follow = "subscription ($filter: JobEventFilter) { jobEvents(filter: $filter) { type } }"
    async with installed.gateway.socket(initialised=False) as socket:
        await socket.initialise(**bearer(installed.other))
        await socket.subscribe("1", follow, filter=wanted)
        message = await socket.receive()
    assert "'scope': 'admin'" in str(message), message


async def test_an_admin_of_one_product_is_told_of_that_one(installed: Shop) -> None:
    await installed.dispatched(installed.other, product="blog")
    reach = Reach(frozenset({"shop"}), None)
    narrow = await key_in(installed.gateway.gateway.database, scopes=frozenset({Scope.ADMIN}), reach=reach)
    await installed.relayed()
    assert await installed.told(narrow, origin={"by": ["ann"]}) == []
    assert len(await installed.told(installed.admin, origin={"by": ["ann"]})) == 2


async def test_what_somebody_asked_for_is_followed(installed: Shop) -> None:
    follow = "subscription ($filter: JobEventFilter) { jobEvents(filter: $filter) { jobId } }"
    async with installed.gateway.socket(initialised=False) as socket:
        await socket.initialise(**bearer(installed.admin))
        await socket.subscribe("1", follow, filter={"origin": {"by": ["ann"]}})
        await installed.gateway.until_subscribers(1)
        await installed.dispatched(installed.admin)
        job_id = await installed.dispatched(installed.other)
        assert (await socket.next("1", "jobEvents"))["jobId"] == job_id


async def test_what_is_pruned_while_it_is_read_is_noticed(installed: Shop) -> None:
    await installed.dispatched(installed.other)
    await installed.dispatched(installed.other)
    await installed.relayed()

    class Pruning(EventLog):
        async def read_of(self, reach: Reach, wanted: OriginFilter, after: int, limit: int) -> Passage:
            await self._events.delete_many({"_id": {"$lte": 3}})
            return await super().read_of(reach, wanted, after, limit)

    services = replace(installed.gateway.services, events=Pruning(installed.gateway.gateway.database))
    admin = Principal("root", frozenset({Scope.ADMIN}), EVERYWHERE)
    wanted = EventFilter(origin=OriginFilter(by=("ann",)))
    with pytest.raises(CursorExpired):
        await list_events(services, admin, wanted, 10, feed_cursor(1))
    # Without a cursor, the list begins with what there is.
    assert [event.number for event in (await list_events(services, admin, wanted, 10, None)).page.items] == [4]


async def test_no_event_was_pruned_unnoticed_on_the_way(installed: Shop) -> None:
    await installed.dispatched(installed.other)
    await installed.dispatched(installed.other)
    await installed.relayed()
    wanted = {"origin": {"by": ["ann"]}}
    page = (await installed.data(installed.admin, LOG, filter=wanted, first=1))["events"]
    await installed.gateway.gateway.database["events"].delete_many({"_id": {"$lte": 2}})
    answer = await installed.ask(installed.admin, LOG, filter=wanted, after=page["pageInfo"]["endCursor"])
    assert answer["errors"][0]["extensions"]["code"] == "CURSOR_EXPIRED"


@pytest.mark.parametrize("by", ["ann", "nobody"])
async def test_a_search_that_came_to_the_end_goes_on_behind_all_that_there_was(installed: Shop, by: str) -> None:
    await installed.dispatched(installed.other)
    await installed.dispatched(installed.admin)
    await installed.relayed()
    page = (await installed.data(installed.admin, LOG, filter={"origin": {"by": [by]}}))["events"]
    await installed.gateway.gateway.database["events"].delete_many({"_id": {"$lte": 3}})
    after = page["pageInfo"]["endCursor"]
    await installed.data(installed.admin, LOG, filter={"origin": {"by": [by]}}, after=after)


async def test_who_is_meant_meets_every_condition(installed: Shop) -> None:
    await installed.dispatched(installed.other)
    await installed.relayed()
    assert len(await installed.told(installed.admin, origin={"by": ["ann"], "address": [HERE]})) == 2
    assert await installed.told(installed.admin, origin={"by": ["ann"], "address": ["192.0.2.9"]}) == []
