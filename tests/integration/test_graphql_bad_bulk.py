"""Wrong values for bulk operations: what is answered, and that no job changes and nothing is begun. Then what each may change.

``test_graphql_bad_input`` has the values of the wrong type; here they would be all that keeps an operation from beginning.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final, TypeAlias

import pytest
import pytest_asyncio
from bson import encode
from pymongo import MongoClient
from pymongo.collection import Collection

from gateway.devstack import Servers
from jobs.job import Note
from jobs.lifecycle import JobStatus
from tests.factories import NOW
from tests.gateway import Answer, LiveGateway
from tests.integration.test_graphql_bad_input import Place, places, wrong
from tests.integration.test_graphql_bad_reads import MATCHES
from tests.integration.test_graphql_steering import TARGETS, job_in, stored
from tests.refusing import JOBS, LISTS, YEAR, serving_jobs, unchanged
from tests.unit.test_lifecycle import CELLS

pytestmark = pytest.mark.asyncio(loop_scope="module")

Various: TypeAlias = Collection[dict[str, Any]]
"""The stored jobs, among which is one of every kind and status."""

MANY: Final = ("cancelMany", "pauseMany", "resumeMany", "retryMany", "deleteMany")
OPERATIONS: Final = {*MANY, "bulkOperation", "stopBulkOperation"}
PLACES: Final = [place for place in places() if [*wrong(place)]]
TYPES: Final = {"filter": "JobFilter!", "reason": "String", "delay": "Milliseconds!", "dryRun": "Boolean!"}
ALL: Final = {"ids": list(JOBS)}
"""A filter that is in order: it matches every job."""

NONE: Final = {"__typename": "BulkOperation", "status": "COMPLETED", "matched": 0, "count": 0, "skipped": 0}
ANSWER: Final = """
    __typename ... on BulkOperation { status matched count skipped } ... on InvalidInput { code issues { path message } }
"""
CONDITIONS: Final = (
    *("ids", "status", "recurring", "product", "env", "namespace", "task", "tags", "from", "to", "errorCode"),
    *("idempotencyKey", "input"),
)
EMPTY: Final = f"give at least one of {', '.join(CONDITIONS)}: without any, every job is meant"
TOO_MANY: Final = "10000 values, more than the 1000 allowed"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_jobs(servers, mongodb) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def nothing_changes(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> Iterator[None]:
    with unchanged(gateway, mongodb):
        yield


@pytest.fixture
def nothing_begins(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> Iterator[None]:
    """No operation is stored, no jobs are gathered for one, and nothing is told of any."""
    database = mongodb[gateway.gateway.database.name]
    names = ("operations", "operation_batches", "events", "executions")
    before = {name: list(database[name].find().sort("_id")) for name in names}
    yield
    assert {name: list(database[name].find().sort("_id")) for name in names} == before


refusing = pytest.mark.usefixtures("nothing_begins")


def document(operation: str, *given: str) -> str:
    declared = ", ".join(f"${name}: {TYPES[name]}" for name in given)
    passed = ", ".join(f"{name}: ${name}" for name in given)
    return f"mutation ({declared}) {{ {operation}({passed}) {{ {ANSWER} }} }}"


async def answered(gateway: LiveGateway, operation: str, **given: object) -> Answer:
    answer: Answer = (await gateway.data(document(operation, *given), **given))[operation]
    return answer


async def invalid(gateway: LiveGateway, operation: str, **given: object) -> dict[str, str]:
    """What is wrong with each of the places that are."""
    answer = await answered(gateway, operation, **given)
    assert (answer["__typename"], answer.get("code")) == ("InvalidInput", "INVALID_INPUT"), answer
    return {".".join(issue["path"]): issue["message"] for issue in answer["issues"]}


async def mistaken(gateway: LiveGateway, text: str, **variables: object) -> tuple[str, str]:
    """The code and the message of the one error of an operation that is not carried out."""
    answer = await gateway.ask(text, **variables)
    assert "data" not in answer
    [error] = answer["errors"]
    return error["extensions"]["code"], error["message"]


# Filters


@refusing
@pytest.mark.parametrize("operation", MANY)
async def test_a_filter_without_a_condition_is_refused(gateway: LiveGateway, operation: str) -> None:
    for conditions in ({}, {"status": None}, dict.fromkeys(CONDITIONS)):
        assert await invalid(gateway, operation, filter=conditions) == {"filter": EMPTY}
        assert await invalid(gateway, operation, filter=conditions, dryRun=True) == {"filter": EMPTY}


@refusing
@pytest.mark.parametrize("operation", MANY)
async def test_what_is_wrong_with_a_filter_is_named(gateway: LiveGateway, operation: str) -> None:
    wrong: list[tuple[dict[str, Any], dict[str, str]]] = [
        *(({name: ["x"] * 10_000}, {name: TOO_MANY}) for name in LISTS),
        ({"status": ["FAILED"] * 10_000}, {"status": TOO_MANY}),
        ({"from": "2026-01-02", "to": "2026-01-01"}, {"to": "is before from"}),
        *(({"input": matches}, {f"input{path}": message}) for matches, path, message in MATCHES),
        (
            {"ids": ["x"] * 10_000, "from": 1, "to": 0, "input": [{"path": "$ne", "equals": 1}]},
            {"ids": TOO_MANY, "to": "is before from", "input.0.path": "no key may begin with $"},
        ),
    ]
    for conditions, issues in wrong:
        expected = {f"filter.{path}": message for path, message in issues.items()}
        assert await invalid(gateway, operation, filter=conditions) == expected


@pytest.mark.parametrize("operation", MANY)
async def test_an_empty_list_and_an_empty_span_match_no_job(gateway: LiveGateway, operation: str) -> None:
    for name in (*LISTS, "status", "input"):
        assert await answered(gateway, operation, filter={name: []}) == NONE, name
        assert await answered(gateway, operation, filter={**ALL, name: []}) == NONE, name
    assert await answered(gateway, operation, filter={"from": "1970-01-01", "to": "1970-01-01"}) == NONE


@pytest.mark.parametrize("operation", MANY)
async def test_operators_in_a_filter_are_values(gateway: LiveGateway, operation: str) -> None:
    for operator in ("$ne", '{"$ne": null}', "$exists", ".*", "\0"):
        for name in LISTS:
            assert await answered(gateway, operation, filter={name: [operator]}) == NONE, (name, operator)
        assert await answered(gateway, operation, filter={"idempotencyKey": operator}) == NONE
    # The inputs of all jobs here are {"n": 1}.
    for equals in ({"$ne": None}, {"$gt": 0}, {"$in": [1]}, {"$exists": True}, "1", [1], True, 2**53):
        conditions = {"input": [{"path": "n", "equals": equals}]}
        assert await answered(gateway, operation, filter=conditions) == NONE, equals
    matching = {"input": [{"path": "n", "equals": 1}]}
    assert (await answered(gateway, operation, filter=matching, dryRun=True))["matched"] == len(JOBS)


# Values of the wrong kind


@refusing
@pytest.mark.parametrize("place", [place for place in PLACES if place.operation in OPERATIONS], ids=attrgetter("name"))
async def test_a_value_of_the_wrong_kind_begins_nothing(gateway: LiveGateway, place: Place) -> None:
    for value, message in wrong(place):
        variables = place.variables(value)
        if isinstance(given := variables.get("filter"), dict):
            # All but the value is in order: were it not for that, there are jobs to be changed.
            variables["filter"] = ALL | given
        told = await mistaken(gateway, place.document(), **variables)
        assert told[0] == "BAD_USER_INPUT"
        assert told[1].startswith(place.beginning + message), value


@refusing
async def test_there_is_no_operation_without_a_filter(gateway: LiveGateway) -> None:
    for operation in MANY:
        message = "Variable '$filter' has invalid value: Expected a value of non-null type 'JobFilter!' to be provided."
        assert await mistaken(gateway, document(operation, "filter")) == ("BAD_USER_INPUT", message)


CALLS: Final = {
    "%s": "Argument 'Mutation.%s(filter:)' of type 'JobFilter!' is required, but it was not provided.",
    "%s(filter: null)": "Expected value of non-null type 'JobFilter!' not to be None.",
    "%s(filter: { status: [LOST] })": "Value 'LOST' does not exist in 'JobStatus' enum.",
    "%s(filter: { ids: [], where: 1 })": "Expected value of type 'JobFilter' not to include unknown field 'where'",
    "%s(filter: { ids: [] }, force: true)": "Unknown argument 'force' on field 'Mutation.%s'.",
    "%s(filter: { from: -1 })": "a DateTime lies between the years 1970 and 9998",
}


@refusing
@pytest.mark.parametrize("call", CALLS)
async def test_a_document_with_a_wrong_call_is_an_error(gateway: LiveGateway, call: str) -> None:
    for operation in MANY:
        code, told = await mistaken(gateway, f"mutation {{ {call.replace('%s', operation)} {{ __typename }} }}")
        assert (code, CALLS[call].replace("%s", operation) in told) == ("GRAPHQL_VALIDATION_FAILED", True), told


@refusing
@pytest.mark.parametrize("name", ["reason", "delay", "from", "equals"])
async def test_a_number_that_is_not_json_is_a_bad_request(gateway: LiveGateway, name: str) -> None:
    operation = {"reason": "cancelMany"}.get(name, "retryMany")
    matches: dict[str, Any] = {"from": {"from": "HERE"}, "equals": {"input": [{"path": "n", "equals": "HERE"}]}}
    given = {"filter": matches.get(name, ALL), **({} if name in matches else {name: "HERE"})}
    body = json.dumps({"query": document(operation, *given), "variables": given})
    for value in ("NaN", "-Infinity", "0x10"):
        content = body.replace('"HERE"', value)
        response = await gateway.http.post("/graphql", content=content, headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["errors"][0]["extensions"]) == (400, {"code": "BAD_REQUEST"})


# Reasons, delays, ids


@refusing
@pytest.mark.parametrize("operation", MANY[:2])
async def test_a_reason_that_is_too_long_is_refused(gateway: LiveGateway, operation: str) -> None:
    for length in (1001, 100_000):
        issues = {"reason": f"{length} characters, more than the 1000 allowed"}
        assert await invalid(gateway, operation, filter=ALL, reason="r" * length) == issues
        assert await invalid(gateway, operation, filter=ALL, reason="r" * length, dryRun=True) == issues


@refusing
async def test_a_delay_of_more_than_a_year_is_refused(gateway: LiveGateway) -> None:
    for delay in (YEAR + 1, 2**53 - 1):
        issues = {"delay": f"must be between 0 and {YEAR}, not {delay}"}
        assert await invalid(gateway, "retryMany", filter=ALL, delay=delay) == issues
        assert await invalid(gateway, "retryMany", filter=ALL, delay=delay, dryRun=True) == issues


async def test_the_longest_reason_and_the_longest_delay_are_accepted(gateway: LiveGateway) -> None:
    for operation in MANY[:2]:
        assert await answered(gateway, operation, filter={"ids": []}, reason="r" * 1000) == NONE
    assert await answered(gateway, "retryMany", filter={"ids": []}, delay=YEAR) == NONE


READS: Final = "query ($id: ID!) { bulkOperation(id: $id) { id } }"
STOPS: Final = "mutation ($id: ID!) { stopBulkOperation(id: $id) { id } }"
FOLLOWS: Final = "subscription ($id: ID!) { bulkOperation(id: $id) { id } }"


@refusing
@pytest.mark.parametrize("id_", ["", "nope", "op_", "op_nope", "once", "\0", '{"$ne": null}', "x" * 100_000, 0])
async def test_an_id_of_nothing_is_no_operation(gateway: LiveGateway, id_: str | int) -> None:
    assert await gateway.data(READS, id=id_) == {"bulkOperation": None}
    assert await gateway.data(STOPS, id=id_) == {"stopBulkOperation": None}
    async with gateway.socket() as socket:
        await socket.subscribe("s", FOLLOWS, id=id_)
        [error] = (await socket.receive())["payload"]
        issues = [{"path": ["id"], "message": "there is no such bulk operation"}]
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "issues": issues}


# What each may change


KINDS: Final = sorted({(recurring, status) for _, recurring, status, _ in CELLS})
NAMES: Final = {True: "recurring", False: "once"}


@pytest_asyncio.fixture(loop_scope="module")
async def various(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[Various]:
    """A job of every kind and status, by names such as ``once queued``; they are gone once all is told of them."""
    jobs = mongodb[gateway.gateway.database.name]["jobs"]
    made = {
        f"{NAMES[recurring]} {status}": job_in(JobStatus(status), recurring=recurring) for recurring, status in KINDS
    }
    made["pausing"] = replace(made["recurring running"], id="pausing", paused=Note(NOW, "ann", "rest"))
    for name, job in made.items():
        jobs.insert_one(stored(job) | {"_id": name, "product": "matrix"})
    yield jobs
    await gateway.until(lambda: jobs.count_documents({"outbox": {"$ne": []}}) == 0)
    jobs.delete_many({"product": "matrix"})


@pytest.mark.parametrize("operation", MANY)
async def test_what_the_table_says_is_changed_and_counted(
    gateway: LiveGateway, various: Various, operation: str
) -> None:
    action = operation.removesuffix("Many")
    before = {job["_id"]: job for job in various.find({"product": "matrix"})}
    changeable = {
        f"{NAMES[recurring]} {status}" for verb, recurring, status, cell in CELLS if (verb, cell) == (action, "ok")
    }
    # One that was told to pause is cancelled as any other that runs; pausing it again is nothing.
    changeable |= {"pausing"} if action == "cancel" else set()
    counts = {"matched": 14, "count": len(changeable), "skipped": 14 - len(changeable)}
    given = {"delay": 60_000} if action == "retry" else {"reason": "why"} if operation in MANY[:2] else {}
    wanted = {"filter": {"product": ["matrix"]}, **given}
    assert await answered(gateway, operation, dryRun=True, **wanted) == NONE | counts
    assert [encode(job) for job in various.find({"product": "matrix"})] == [encode(job) for job in before.values()]
    assert await answered(gateway, operation, **wanted) == NONE | counts
    after = {job["_id"]: job for job in various.find({"product": "matrix", "deleted_at": None})}
    for name in before.keys() - changeable:
        assert encode(after[name]) == encode(before[name]), name
    for name in changeable:
        status = before[name]["status"]
        expected = None if action == "delete" else (TARGETS[action, status], before[name]["revision"] + 1)
        found = after.get(name)
        assert (found and (found["status"], found["revision"])) == expected, name
