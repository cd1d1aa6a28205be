"""Inputs through GraphQL: found by what is in them, and checked against what their task declares; and the tasks themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from jobs.dispatch import TaskTerms
from jobs.input_schemas import schema_text
from storage.client import Database
from storage.registry import WORKER_ALIVE, Registry, TaskCard
from tests.gateway import Answer, LiveGateway, serving
from worker.tasks import TaskRegistry, define

LATER: Final = {"startAt": "2099-01-01T00:00:00Z"}
TASKS: Final = "{ tasks { namespace name description inputSchema workers } }"
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"n": {"$ref": "#/$defs/n"}, "rows": {"items": {"items": {"$ref": "#/$defs/n"}}}},
    "$defs": {"n": {"type": "integer"}},
}


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name, input_indexes="user.id") as gateway:
        yield gateway


@pytest.fixture
def database(gateway: LiveGateway) -> Database:
    return gateway.gateway.database


async def handler(context: Any, given: Any) -> Any:
    """Does nothing."""


# Finding jobs by their input.


async def test_jobs_are_found_by_what_is_in_their_input(gateway: LiveGateway) -> None:
    for value in ({"user": {"id": 1}}, {"user": {"id": 2}}, {"user": [{"id": 1}]}, {"user": {"id": True}}):
        await gateway.dispatched(input=value, schedule=LATER)
    for matches, expected in (
        ([{"path": "user.id", "equals": 1}], [{"user": {"id": 1}}]),
        ([{"path": "user", "equals": {"id": 2.0}}], [{"user": {"id": 2}}]),
        ([{"path": "user.0.id", "equals": 1}], [{"user": [{"id": 1}]}]),
        ([{"path": "user.id", "equals": {"$ne": None}}], []),
        ([{"path": "user.id", "equals": {"$gt": 0}}], []),
        ([{"path": "user", "equals": {"$exists": True}}], []),
        ([{"path": "user.id", "equals": "$input.user.id"}], []),
        (
            [{"path": "user.id", "equals": 1}, {"path": "user.id", "equals": True}],
            [{"user": {"id": True}}, {"user": {"id": 1}}],
        ),
        ([], []),
    ):
        answer = await gateway.list(filter={"input": matches})
        assert [node["input"] for node in answer["nodes"]] == expected
        assert answer["totalCount"] == {"value": len(expected), "exact": True}
    stats = await gateway.data(
        "query ($f: JobFilter) { stats(filter: $f) { total } }", f={"input": [{"path": "user.id", "equals": 1}]}
    )
    assert stats == {"stats": {"total": 1}}


FILTERED: Final = {
    "jobs": "query ($filter: JobFilter) { jobs(filter: $filter) { nodes { id } } }",
    "stats": "query ($filter: JobFilter) { stats(filter: $filter) { total } }",
}
DEEP: Final = {"a": {"a": {"a": {"a": {"a": 1}}}}}
WRONG: Final[list[tuple[Any, str, str]]] = [
    ([{"path": "", "equals": 1}], "0.path", "must be keys with single dots between them, such as user.id"),
    ([{"path": "a..b", "equals": 1}], "0.path", "must be keys with single dots between them, such as user.id"),
    ([{"path": "$where", "equals": "1"}], "0.path", "no key may begin with $"),
    ([{"path": "a.$gt", "equals": 1}], "0.path", "no key may begin with $"),
    ([{"path": "a\0", "equals": 1}], "0.path", "a key with a NUL character at the top"),
    ([{"path": "a" * 300, "equals": 1}], "0.path", "300 characters, more than the 256 allowed"),
    ([{"path": ".".join("a" * 17), "equals": 1}], "0.path", "17 keys, more than the 16 allowed"),
    ([{"path": "a", "equals": 1}, {"path": "a", "equals": 2**53 + 1}], "1.equals", "an integer beyond 2^53 at the top"),
    ([{"path": "a", "equals": DEEP}], "0.equals", "nested 6 levels deep, more than the 5 allowed"),
    ([{"path": "a", "equals": [0] * 100}], "0.equals", "101 values in it, more than the 100 allowed"),
    ([{"path": "a", "equals": {"b\0": 1}}], "0.equals", "a key with a NUL character at the top"),
    ([{"path": "a", "equals": 1}] * 11, "", "11 values, more than the 10 allowed"),
]


@pytest.mark.parametrize("query", FILTERED)
async def test_a_match_that_makes_no_sense_is_refused_with_its_path(gateway: LiveGateway, query: str) -> None:
    for matches, path, message in WRONG:
        [error] = (await gateway.ask(FILTERED[query], filter={"input": matches}))["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        wanted = ["filter", "input", *path.split(".")] if path else ["filter", "input"]
        assert error["extensions"]["issues"] == [{"path": wanted, "message": message}]


@pytest.mark.parametrize(
    "match",
    [
        {"path": "a"},
        {"equals": 1},
        {"path": "a", "equals": None},
        {"path": 1, "equals": 1},
        {"path": "a", "equals": 1, "eq": 1},
        "a",
    ],
)
async def test_a_match_of_another_form_is_refused(gateway: LiveGateway, match: object) -> None:
    [error] = (await gateway.ask(FILTERED["jobs"], filter={"input": [match]}))["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_events_are_not_asked_for_the_input(gateway: LiveGateway) -> None:
    complaint = "cannot be asked of events, which do not carry the input of jobs"
    issues = [{"path": ["filter", "jobs", "input"], "message": complaint}]
    for matches in ([{"path": "a", "equals": 1}], []):
        wanted = {"jobs": {"input": matches}}
        document = "query ($f: JobEventFilter) { events(filter: $f) { nodes { seq } } }"
        [error] = (await gateway.ask(document, f=wanted))["errors"]
        assert error["extensions"]["issues"] == issues
        async with gateway.socket() as socket:
            await socket.subscribe("1", "subscription ($f: JobEventFilter) { jobEvents(filter: $f) { seq } }", f=wanted)
            told = await socket.receive()
        [error] = told["payload"] if told["type"] == "error" else told["payload"]["errors"]
        assert error["extensions"]["issues"] == issues


async def test_a_scan_that_takes_too_long_is_an_error_with_a_code(
    gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.dispatched(input={"n": 1}, schedule=LATER)
    [job] = await gateway.gateway.database["jobs"].find().to_list(1)
    await gateway.gateway.database["jobs"].insert_many([job | {"_id": str(number)} for number in range(10_000)])
    monkeypatch.setattr(gateway.services.jobs, "_scan_timeout_ms", 1)
    answer = await gateway.ask(FILTERED["jobs"], filter={"input": [{"path": "n", "equals": {"x": 2}}]})
    [error] = answer["errors"]
    assert error["extensions"] == {"code": "FILTER_TIMEOUT"}
    assert error["message"].startswith("the jobs were not found within 0.001 s")


async def test_gateway_and_worker_create_the_declared_indexes(gateway: LiveGateway, database: Database) -> None:
    assert "input:user.id" in await database["jobs"].index_information()
    await database["jobs"].drop_index("input:user.id")
    async with gateway.worker({"demo.echo": handler}):
        assert "input:user.id" in await database["jobs"].index_information()


# Tasks.


async def tasks(gateway: LiveGateway) -> list[Answer]:
    found: list[Answer] = (await gateway.data(TASKS))["tasks"]
    return found


def names(found: list[Answer]) -> Mapping[str, int]:
    return {f"{task['namespace']}.{task['name']}": task["workers"] for task in found}


async def left_behind(database: Database) -> dict[str, Any]:
    """What the worker that lives has said of itself, under a name of which no worker says anything any more."""
    [worker] = await database["workers"].find().to_list(None)
    return {**worker, "_id": "gone"}


async def test_tasks_are_those_that_live_workers_can_run(
    gateway: LiveGateway, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.process._LEAVE_WITHIN", 20.0)
    assert await tasks(gateway) == []
    async with gateway.worker({"b.two": handler, "a.z": handler}):
        async with gateway.worker({"b.two": handler, "b.one": handler, "a.z.y": handler}):
            found = names(await tasks(gateway))
            assert found == {"a.z": 1, "a.z.y": 1, "b.one": 1, "b.two": 2}
            assert list(found) == sorted(found)
        assert names(await tasks(gateway)) == {"a.z": 1, "b.two": 1}
        [task, _] = await tasks(gateway)
        assert task == {
            "namespace": "a",
            "name": "z",
            "description": "Does nothing.",
            "inputSchema": None,
            "workers": 1,
        }
        worker = await left_behind(database)
    # One that was killed has not signed out.
    await database["workers"].insert_one(worker | {"heartbeat_at": worker["heartbeat_at"] - WORKER_ALIVE})
    assert await tasks(gateway) == []


async def test_workers_and_tasks_of_an_older_version_are_read(
    gateway: LiveGateway, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.process._LEAVE_WITHIN", 20.0)
    async with gateway.worker({"demo.echo": handler}):
        await database["tasks"].update_one({"_id": "demo.echo"}, {"$unset": {"input_schema": ""}})
        [task] = await tasks(gateway)
        assert task["inputSchema"] is None
        await gateway.dispatched(input="anything")
        worker = await left_behind(database)
    del worker["tasks"]
    await database["workers"].insert_one(worker)
    assert await tasks(gateway) == []


# Input schemas.


async def offer(database: Database, schema: dict[str, Any] | None) -> None:
    terms = TaskTerms(input_schema=None if schema is None else schema_text(schema))
    await Registry(database).offer([TaskCard("demo", "echo", None, terms)])


async def test_an_input_that_violates_the_schema_is_not_dispatched(gateway: LiveGateway, database: Database) -> None:
    await offer(database, SCHEMA)
    answer = await gateway.dispatch(input={"n": "x", "rows": [[1], [2, {}]]}, schedule=LATER)
    assert answer["__typename"] == "InvalidInput"
    assert answer["issues"] == [
        {"path": ["input", "input", "n"], "message": "'x' is not of type 'integer'"},
        {"path": ["input", "input", "rows", "1", "1"], "message": "{} is not of type 'integer'"},
    ]
    assert (await gateway.list())["nodes"] == []
    await gateway.dispatched(input={"n": 1, "rows": [[1], [2, 3]]}, schedule=LATER)


async def test_the_schema_that_came_last_holds(gateway: LiveGateway, database: Database) -> None:
    await offer(database, {"type": "string"})
    assert (await gateway.dispatch(input={}))["__typename"] == "InvalidInput"
    await offer(database, {"type": "object"})
    await gateway.dispatched(input={})
    assert (await gateway.dispatch(input="text"))["__typename"] == "InvalidInput"
    await offer(database, None)
    await gateway.dispatched(input="text")


async def test_the_schema_of_a_worker_is_shown_and_applied(
    gateway: LiveGateway, database: Database, servers: Servers
) -> None:
    seen: list[object] = []

    async def look(context: Any, given: Any) -> None:
        seen.append(given)

    async with gateway.worker_of(TaskRegistry([define("mail.send", look, input=SCHEMA)])):
        [task] = await tasks(gateway)
        assert task["inputSchema"] == SCHEMA
        refused = await gateway.dispatch(namespace="mail", task="send", input={"n": []})
        assert [issue["path"] for issue in refused["issues"]] == [["input", "input", "n"]]
        await gateway.dispatched(namespace="mail", task="send", input={"n": 5})
        await gateway.until(lambda: bool(seen))
    assert seen == [{"n": 5}]
