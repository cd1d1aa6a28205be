"""Dispatches, schedules and delays that make no sense: all that is wrong with them is named, and nothing changes.

``test_graphql_refusals`` has more for dispatches.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from tests.gateway import Answer, LiveGateway
from tests.refusing import YEAR, serving_jobs, unchanged

pytestmark = pytest.mark.asyncio(loop_scope="module")

CRON: Final = "* * * * *"
LABEL: Final = "must be 1 to 128 characters, none of them a control character"
CODE: Final = f"a code {LABEL}"
KEY: Final = "must be 1 to 255 characters, none of them a control character"
EVERY: Final = "every must be from 1000 ms to 315360000000 ms (10 years)"
LIMIT: Final = "limit must be from 1 to 2147483647"

INVALID: Final = {
    "dispatch": "mutation ($input: DispatchInput!) { dispatch(input: $input) { %s } }",
    "schedulePreview": "query ($schedule: ScheduleInput!) { schedulePreview(schedule: $schedule) { %s } }",
    "reschedule": "mutation ($id: ID!, $schedule: RescheduleInput!) { reschedule(id: $id, schedule: $schedule) { %s } }",
    "retry": 'mutation ($delay: Milliseconds!) { retry(id: "broken", delay: $delay) { %s } }',
}
GIVEN: Final = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_jobs(servers, mongodb) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def nothing_changes(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> Iterator[None]:
    with unchanged(gateway, mongodb):
        yield


async def invalid(gateway: LiveGateway, operation: str, **variables: object) -> dict[str, str]:
    """What is wrong with each of the places that are."""
    document = INVALID[operation] % "__typename ... on InvalidInput { issues { path message } }"
    answer: Answer = (await gateway.data(document, **variables))[operation]
    assert answer["__typename"] == "InvalidInput", answer
    return {".".join(issue["path"]): issue["message"] for issue in answer["issues"]}


@pytest.mark.parametrize(
    ("changes", "issues"),
    [
        ({"namespace": ""}, {"task": "no worker has ever offered the task '.echo'"}),
        ({"namespace": "$ne"}, {"task": "no worker has ever offered the task '$ne.echo'"}),
        ({"task": "a\0"}, {"task": r"no worker has ever offered the task 'demo.a\x00'"}),
        ({"product": "x" * 10_000, "env": ""}, {"product": LABEL, "env": LABEL}),
        ({"priority": -1001}, {"priority": "must be between -1000 and 1000, not -1001"}),
        ({"priority": 2**31 - 1}, {"priority": "must be between -1000 and 1000, not 2147483647"}),
        ({"retries": 1001}, {"retries": "must be between 0 and 1000, not 1001"}),
        ({"timeout": 2_592_000_001}, {"timeout": "must be between 1 and 2592000000, not 2592000001"}),
        ({"timeout": 2**53 - 1}, {"timeout": "must be between 1 and 2592000000, not 9007199254740991"}),
        ({"tags": ["x"] * 10_000}, {"tags": "10000 tags, more than the 50 allowed"}),
        ({"tags": ["good", "", "x" * 129]}, {"tags.1": LABEL, "tags.2": LABEL}),
        ({"idempotencyKey": ""}, {"idempotencyKey": KEY}),
        ({"idempotencyKey": "k" * 256}, {"idempotencyKey": KEY}),
        (
            {"retryConfig": {"initialDelay": YEAR + 1, "maxDelay": 2**53 - 1}},
            {
                "retryConfig.initialDelay": f"must be between 0 and {YEAR}, not {YEAR + 1}",
                "retryConfig.maxDelay": f"must be between 0 and {YEAR}, not 9007199254740991",
            },
        ),
        (
            {"retryConfig": {"backoffMultiplier": 1000.5, "jitter": 2**53}},
            {
                "retryConfig.backoffMultiplier": "must be between 1.0 and 1000.0, not 1000.5",
                "retryConfig.jitter": "must be between 0.0 and 1.0, not 9007199254740992.0",
            },
        ),
        (
            {"retryConfig": {"retryableErrors": [""], "nonRetryableErrors": ["a\nb"]}},
            {"retryConfig.retryableErrors": CODE, "retryConfig.nonRetryableErrors": CODE},
        ),
        (
            {"retryConfig": {"retryableErrors": ["C"] * 101, "nonRetryableErrors": ["D"] * 10_000}},
            {
                "retryConfig.retryableErrors": "101 codes, more than the 100 allowed",
                "retryConfig.nonRetryableErrors": "10000 codes, more than the 100 allowed",
            },
        ),
    ],
)
async def test_what_is_wrong_with_a_dispatch_is_named(
    gateway: LiveGateway, changes: dict[str, Any], issues: dict[str, str]
) -> None:
    answer = await invalid(gateway, "dispatch", input=GIVEN | changes)
    assert answer == {f"input.{path}": message for path, message in issues.items()}


SCHEDULES: Final[list[tuple[dict[str, Any], dict[str, str]]]] = [
    ({"cron": ""}, {"cron": "a cron has exactly five fields, this has none"}),
    ({"cron": "*" * 10_000}, {"cron": "a cron has at most 128 characters, this has 10000"}),
    ({"cron": "@daily"}, {"cron": "aliases such as @daily are not accepted: write five fields, such as 0 0 * * *"}),
    ({"cron": "H * * * *"}, {"cron": "H (hashed) is not accepted in the minute field: give the value itself"}),
    ({"cron": CRON, "tz": ""}, {"tz": "unknown time zone ''"}),
    ({"cron": CRON, "tz": "../../etc/passwd"}, {"tz": "unknown time zone '../../etc/passwd'"}),
    ({"cron": CRON, "tz": "x" * 10_000}, {"tz": f"unknown time zone '{'x' * 64}…'"}),
    ({"every": 315_360_000_001}, {"every": EVERY}),
    ({"every": 2**53 - 1, "limit": -(2**31)}, {"every": EVERY, "limit": LIMIT}),
]


@pytest.mark.parametrize(("schedule", "issues"), SCHEDULES)
async def test_a_schedule_is_refused_by_everything_that_takes_one(
    gateway: LiveGateway, schedule: dict[str, Any], issues: dict[str, str]
) -> None:
    expected = {f"schedule.{path}": message for path, message in issues.items()}
    assert await invalid(gateway, "schedulePreview", schedule=schedule) == expected
    assert await invalid(gateway, "reschedule", id="hourly", schedule=schedule) == expected
    assert await invalid(gateway, "reschedule", id="resting", schedule=schedule) == expected
    nested = {f"input.{path}": message for path, message in expected.items()}
    assert await invalid(gateway, "dispatch", input=GIVEN | {"schedule": schedule}) == nested


@pytest.mark.parametrize("operation", ["dispatch", "schedulePreview"])
async def test_a_schedule_that_is_over_before_it_begins_is_refused(gateway: LiveGateway, operation: str) -> None:
    for times in ({"endDate": 0}, {"startAt": "2099-01-02", "endDate": "2099-01-01"}):
        schedule = {"every": 1000, **times}
        given: dict[str, Any] = (
            {"schedule": schedule} if operation != "dispatch" else {"input": GIVEN | {"schedule": schedule}}
        )
        [(path, message)] = (await invalid(gateway, operation, **given)).items()
        assert (path.removeprefix("input."), message) == ("schedule.endDate", "no run is due on or before endDate")


@pytest.mark.parametrize("schedule", [{"cron": CRON}, {"every": 1000}, {"limit": 3}, {"endDate": "2099-01-01"}])
async def test_a_job_that_runs_once_does_not_become_recurring(gateway: LiveGateway, schedule: dict[str, Any]) -> None:
    assert [f"schedule.{name}" for name in schedule] == list(
        await invalid(gateway, "reschedule", id="once", schedule=schedule)
    )


async def test_a_delay_is_a_year_at_most(gateway: LiveGateway) -> None:
    for delay in (YEAR + 1, 2**53 - 1):
        issues = {"delay": f"must be between 0 and {YEAR}, not {delay}"}
        assert await invalid(gateway, "retry", delay=delay) == issues


# What is no JSON, or no number, but could be taken for one.


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "01", "1_000", "0x10"])
@pytest.mark.parametrize("field", ["priority", "timeout", "input", "retryConfig"])
async def test_a_number_that_is_not_json_is_a_bad_request(gateway: LiveGateway, field: str, value: str) -> None:
    response = await post(gateway, field, f'{{"jitter": {value}}}' if field == "retryConfig" else value)
    assert response == (400, "BAD_REQUEST", "Unable to parse request body as JSON")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("priority", "Variable '$input' has invalid value at .priority: Int cannot represent non-integer value: inf"),
        ("timeout", "Variable '$input' has invalid value at .timeout: Milliseconds are a whole number"),
    ],
)
async def test_a_number_that_is_too_large_for_any_is_refused(gateway: LiveGateway, field: str, message: str) -> None:
    assert await post(gateway, field, "1e999") == (200, "BAD_USER_INPUT", message)


async def post(gateway: LiveGateway, field: str, value: str) -> tuple[int, str, str]:
    """A dispatch that has this text for one of its fields: its status, and its error."""
    document = INVALID["dispatch"] % "__typename"
    body = json.dumps({"query": document, "variables": {"input": GIVEN | {field: "HERE"}}}).replace('"HERE"', value)
    response = await gateway.http.post("/graphql", content=body, headers={"content-type": "application/json"})
    [error] = response.json()["errors"]
    return response.status_code, error["extensions"]["code"], error["message"]


async def test_operators_in_an_input_are_kept_as_they_are(
    gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]
) -> None:
    given: dict[str, Any] = {
        "$ne": None,
        "$where": "sleep(1000)",
        "a.b": {"$gt": ""},
        "$set": {"status": "completed"},
        "": [{"$in": []}],
    }
    job_id = await gateway.dispatched(input=given, schedule={"startAt": "2099-01-01"})
    job = await gateway.job(job_id)
    assert (job["input"], job["status"]) == (given, "SCHEDULED")
    jobs = mongodb[gateway.gateway.database.name]["jobs"]
    assert jobs.delete_one({"_id": job_id}).deleted_count == 1
