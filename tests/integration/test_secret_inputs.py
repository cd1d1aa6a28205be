"""Secrets of inputs, from the dispatch to the handler: sealed wherever they lie, and told by nobody."""

from __future__ import annotations

import json
import logging
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import redis.asyncio

from gateway.devstack import Servers
from jobs.dispatch import TaskTerms
from jobs.events import EventType
from jobs.input_schemas import schema_text
from jobs.secret_inputs import MASK
from storage.client import Database
from storage.registry import Registry, TaskCard
from storage.sealing import Sealer
from tests.gateway import LiveGateway, serving
from tests.secrecy import secret
from tests.webhooks import KEY, SETTINGS, receiving, set_webhook
from worker.context import TaskContext
from worker.tasks import TaskError, TaskRegistry, define

PHRASE: Final = secret("correct-horse-battery", "the secret of an input")
OTHER: Final = secret("staple-hyperbole-donkey", "the secret of an input")
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "user": {"type": "string"},
        "password": {"type": "string", "writeOnly": True, "minLength": 4},
        "accounts": {"type": "array", "items": {"properties": {"pin": {"writeOnly": True}}}},
    },
}
GIVEN: Final = {"user": "ann", "password": PHRASE, "accounts": [{"pin": OTHER, "n": 1}, {"n": 2}]}
SHOWN: Final = {"user": "ann", "password": MASK, "accounts": [{"pin": MASK, "n": 1}, {"n": 2}]}
LATER: Final = {"startAt": "2099-01-01T00:00:00Z"}
SOON: Final = {"initialDelay": 20, "maxDelay": 20}
ONLY_ONE: Final = {"password": PHRASE}


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name, **SETTINGS) as gateway:
        await offer(gateway.gateway.database, SCHEMA)
        yield gateway


@pytest.fixture
async def keyless(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    """A gateway without a key to seal anything with."""
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        await offer(gateway.gateway.database, SCHEMA)
        yield gateway


@pytest.fixture
def database(gateway: LiveGateway) -> Database:
    return gateway.gateway.database


async def offer(database: Database, schema: dict[str, Any] | None) -> None:
    terms = TaskTerms(input_schema=None if schema is None else schema_text(schema))
    await Registry(database).offer([TaskCard("demo", "echo", None, terms)])


def tasks(handler: Any) -> TaskRegistry:
    return TaskRegistry([define("demo.echo", handler, input=SCHEMA)])


async def everything(database: Database, redis_url: str) -> str:
    """All that MongoDB and Redis hold of this test."""
    found = [repr(one) for name in await database.list_collection_names() async for one in database[name].find({})]
    assert found
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        found += [repr((key, await client.dump(key))) async for key in client.scan_iter()]
    return "\n".join(found)


def assert_untold(text: str) -> None:
    assert [secret for secret in (PHRASE, OTHER) if secret in text] == []


async def test_the_handler_alone_gets_what_was_given(
    gateway: LiveGateway, database: Database, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[object] = []

    async def look(context: TaskContext, given: Any) -> None:
        seen.append(given)
        if context.execution == 1 and context.attempt == 1:
            raise TaskError("AGAIN")
        if context.execution == 1:
            raise TaskError("FAILED")

    async with receiving() as receiver:
        await set_webhook(gateway, receiver.url, "scheduled", "started", "retrying", "failed", "completed")
        job_id = await gateway.dispatched(input=GIVEN, retries=1, retryConfig=SOON, idempotencyKey="k")
        assert_untold(await everything(database, redis_url))
        async with gateway.worker_of(tasks(look)):
            await gateway.told(job_id, EventType.JOB_FAILED)
            assert_untold(await everything(database, redis_url))
            await gateway.data("mutation ($id: ID!) { retry(id: $id) { __typename } }", id=job_id)
            await gateway.told(job_id, EventType.JOB_COMPLETED)
            await receiver.until(lambda: receiver.messages[-1:] != [] and receiver.messages[-1].event == "completed")
    assert seen == [GIVEN] * 3
    assert_untold(await everything(database, redis_url))
    assert_untold(caplog.text)
    assert_untold(repr(receiver.messages))
    assert (await gateway.job(job_id))["input"] == SHOWN


async def test_with_every_scope_the_mask_is_all_that_is_shown_and_found(gateway: LiveGateway) -> None:
    job_id = await gateway.dispatched(input=GIVEN, schedule=LATER)
    assert (await gateway.job(job_id))["input"] == SHOWN
    for value, found in ((PHRASE, 0), (MASK, 1)):
        page = await gateway.list(filter={"input": [{"path": "password", "equals": value}]})
        assert len(page["nodes"]) == found
    answer = await gateway.ask(
        "query ($id: ID!) { job(id: $id) { events(first: 10) { nodes { type } } history { nodes { number } } } }",
        id=job_id,
    )
    assert_untold(repr(answer))


async def test_a_refused_input_is_neither_stored_nor_quoted(
    gateway: LiveGateway, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await gateway.dispatch(input={"password": [PHRASE], "user": {"x": OTHER}})
    assert {tuple(issue["path"]) for issue in answer["issues"]} == {
        ("input", "input", "password"),
        ("input", "input", "user"),
    }
    assert_untold(repr(answer))
    assert_untold(caplog.text)
    assert await database["jobs"].count_documents({}) == 0


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"nope": 1}, "Expected value of type 'DispatchInput' not to include unknown field 'nope'"),
        ({"env": None}, "Expected value of type 'DispatchInput' to include required field 'env'"),
    ],
)
async def test_an_operation_that_graphql_refuses_is_not_quoted(
    gateway: LiveGateway, wrong: dict[str, Any], complaint: str
) -> None:
    request = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd", "input": GIVEN, **wrong}
    request = {name: value for name, value in request.items() if value is not None}
    pairs = [f"{name}: {json.dumps(value)}" for name, value in request.items() if name != "input"]
    inline = f'{{ {", ".join(pairs)}, input: {{ password: "{PHRASE}" }} }}'
    literal = {"query": f"mutation {{ dispatch(input: {inline}) {{ __typename }} }}"}
    for answer in (
        await gateway.ask("mutation ($i: DispatchInput!) { dispatch(input: $i) { __typename } }", i=request),
        (await gateway.http.post("/graphql", json=literal)).json(),
    ):
        [error] = answer["errors"]
        assert error["message"].endswith(complaint)
        assert_untold(repr(answer))


async def test_nor_is_one_that_graphql_has_a_suggestion_for(
    servers: Servers, database_name: str, redis_url: str
) -> None:
    async with serving(servers.mongodb_url, redis_url, database_name, introspection=True) as gateway:
        request = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd", "input": GIVEN, "inputs": 1}
        answer = await gateway.ask("mutation ($i: DispatchInput!) { dispatch(input: $i) { __typename } }", i=request)
    assert answer["errors"][0]["message"].endswith("unknown field 'inputs'. Did you mean 'input'?")
    assert_untold(repr(answer))


async def test_without_a_key_nothing_secret_is_taken(keyless: LiveGateway) -> None:
    answer = await keyless.dispatch(input=ONLY_ONE)
    assert answer["__typename"] == "InvalidInput"
    assert answer["issues"] == [
        {
            "path": ["input", "input", "password"],
            "message": "is secret and cannot be kept so: JOBGATE_SECRET_KEYS is not set in this installation",
        }
    ]
    assert await keyless.gateway.database["jobs"].count_documents({}) == 0
    await keyless.dispatched(input={"user": "ann"})


# Idempotency.


async def test_the_same_secret_is_the_same_request_and_another_one_a_conflict(gateway: LiveGateway) -> None:
    key: dict[str, Any] = {"idempotencyKey": "k", "schedule": LATER}
    first = await gateway.dispatched(input=GIVEN, **key)
    assert await gateway.dispatched(input=dict(reversed(GIVEN.items())), **key) == first
    for other in (
        {**GIVEN, "password": OTHER},
        {**GIVEN, "user": "bob"},
        {**GIVEN, "accounts": [{"pin": OTHER, "n": 1}, {"n": 2, "pin": OTHER}]},
        {**GIVEN, "accounts": []},
        {"user": "ann"},
    ):
        answer = await gateway.dispatch(input=other, **key)
        assert (answer["__typename"], answer["job"]) == ("IdempotencyConflict", {"id": first})
        assert_untold(repr(answer))


async def test_the_order_of_keys_within_a_secret_is_no_difference(gateway: LiveGateway) -> None:
    key: dict[str, Any] = {"idempotencyKey": "k", "schedule": LATER}
    first = await gateway.dispatched(input={"accounts": [{"pin": {"a": 1, "b": 2}}]}, **key)
    assert await gateway.dispatched(input={"accounts": [{"pin": {"b": 2, "a": 1}}]}, **key) == first


async def test_a_request_from_before_its_task_had_secrets_is_still_the_same(
    gateway: LiveGateway, database: Database
) -> None:
    key: dict[str, Any] = {"idempotencyKey": "k", "schedule": LATER}
    await offer(database, None)
    # Not one of those that are looked for: it is stored as it is.
    open_then = {"password": "not-a-secret-yet"}
    first = await gateway.dispatched(input=open_then, **key)
    await offer(database, SCHEMA)
    assert await gateway.dispatched(input=open_then, **key) == first
    assert (await gateway.dispatch(input={"password": OTHER}, **key))["__typename"] == "IdempotencyConflict"


async def test_a_secret_that_cannot_be_opened_is_not_known_to_be_the_same(
    gateway: LiveGateway, database: Database
) -> None:
    key: dict[str, Any] = {"idempotencyKey": "k", "schedule": LATER}
    await gateway.dispatched(input=ONLY_ONE, **key)
    await database["jobs"].update_one({}, {"$set": {"secrets.0.key": "0" * 12}})
    assert (await gateway.dispatch(input=ONLY_ONE, **key))["__typename"] == "IdempotencyConflict"


# Running.


@pytest.mark.parametrize("keys", [(), (b"o" * 32,)])
async def test_a_run_whose_secret_no_key_opens_fails_at_once_and_names_the_field(
    gateway: LiveGateway, keys: tuple[bytes, ...]
) -> None:
    called: list[object] = []

    async def look(_: TaskContext, given: Any) -> None:
        called.append(given)

    job_id = await gateway.dispatched(input=ONLY_ONE, retries=3, retryConfig=SOON)
    async with gateway.worker_of(tasks(look), secret_keys=keys):
        await gateway.told(job_id, EventType.JOB_FAILED)
    job = await gateway.job(job_id)
    assert (job["errorCode"], job["retryCount"]) == ("SECRET_UNREADABLE", 0)
    assert job["lastError"].startswith("the secret input.password cannot be opened: there is no key ")
    assert called == []


async def test_a_secret_copied_from_another_job_is_not_handed_out(gateway: LiveGateway, database: Database) -> None:
    called: list[object] = []

    async def look(_: TaskContext, given: Any) -> None:
        called.append(given)

    mine = await gateway.dispatched(input={"password": OTHER})
    yours = await gateway.dispatched(input=ONLY_ONE, schedule=LATER)
    stolen = (await database["jobs"].find_one({"_id": yours}))["secrets"]
    await database["jobs"].update_one({"_id": mine}, {"$set": {"secrets": stolen}})
    async with gateway.worker_of(tasks(look)):
        await gateway.told(mine, EventType.JOB_FAILED)
    assert (await gateway.job(mine))["errorCode"] == "SECRET_UNREADABLE"
    assert called == []


async def test_a_key_may_be_followed_by_another(gateway: LiveGateway) -> None:
    seen: list[object] = []

    async def look(_: TaskContext, given: Any) -> None:
        seen.append(given)

    job_id = await gateway.dispatched(input=GIVEN)
    async with gateway.worker_of(tasks(look), secret_keys=(b"n" * 32, b64decode(KEY))):
        await gateway.told(job_id, EventType.JOB_COMPLETED)
    assert seen == [GIVEN]


async def test_each_secret_is_sealed_for_its_job_and_place(gateway: LiveGateway, database: Database) -> None:
    job_id = await gateway.dispatched(input=GIVEN, schedule=LATER)
    document = await database["jobs"].find_one({"_id": job_id})
    password, pin = document["secrets"]
    assert (password["place"], pin["place"]) == (["password"], ["accounts", "0", "pin"])
    sealer = Sealer([b64decode(KEY)])
    assert sealer.open(password, f'["input", "{job_id}", "password"]') == f'"{PHRASE}"'.encode()
