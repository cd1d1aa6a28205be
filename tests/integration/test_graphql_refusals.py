"""Dispatches that a gateway refuses: it says what is wrong and where, and stores nothing."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from tests.costs import costless
from tests.gateway import DISPATCH, LiveGateway, serving_for_all

# One gateway for all: nothing here may leave anything behind in it.
pytestmark = pytest.mark.asyncio(loop_scope="module")

VALID: Final = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd"}
LABEL: Final = "must be 1 to 128 characters, none of them a control character"
EVERY: Final = "every must be from 1000 ms to 315360000000 ms (10 years)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def nothing_is_stored(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> Iterator[None]:
    jobs = mongodb[gateway.gateway.database.name]["jobs"]
    assert jobs.count_documents({}) == 0
    yield
    stored = list(jobs.find())
    jobs.delete_many({})
    assert stored == []


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def schedule(**fields: object) -> dict[str, Any]:
    return {"schedule": fields}


def retry(**fields: object) -> dict[str, Any]:
    return {"retryConfig": fields}


@pytest.mark.parametrize(
    ("changes", "issues"),
    [
        pytest.param({"task": "nope"}, {"task": "no worker has ever offered the task 'demo.nope'"}, id="unknown task"),
        pytest.param({"task": ""}, {"task": "no worker has ever offered the task 'demo.'"}, id="empty task"),
        pytest.param(
            schedule(cron="0 8 * * *", tz="Mars/Olympus"),
            {"schedule.tz": "unknown time zone 'Mars/Olympus'"},
            id="unknown zone",
        ),
        pytest.param(schedule(cron="0 0 30 2 *"), {"schedule.cron": "30 February never comes"}, id="30 February"),
        pytest.param(
            schedule(cron="0 0 8 * * *"),
            {"schedule.cron": "a cron has exactly five fields, this has six"},
            id="six fields",
        ),
        pytest.param(
            schedule(cron="0 8 * * *", every=60_000),
            dict.fromkeys(["schedule.cron", "schedule.every"], "give cron or every, not both"),
            id="cron and every",
        ),
        pytest.param(schedule(tz="UTC"), {"schedule.tz": "tz needs cron"}, id="tz without cron"),
        pytest.param(schedule(every=1000, tz="UTC"), {"schedule.tz": "tz needs cron"}, id="tz with every"),
        pytest.param(
            schedule(startAt="2099-01-01", limit=1, endDate="2099-02-01", missed="SKIP", overlap="SKIP"),
            {f"schedule.{name}": f"{name} needs cron or every" for name in ("limit", "endDate", "missed", "overlap")},
            id="bounds without recurrence",
        ),
        pytest.param(schedule(every=0), {"schedule.every": EVERY}, id="every 0"),
        pytest.param(schedule(every=999), {"schedule.every": EVERY}, id="every 999"),
        pytest.param(
            schedule(every=1000, limit=0), {"schedule.limit": "limit must be from 1 to 2147483647"}, id="limit 0"
        ),
        pytest.param(
            schedule(every=1000, limit=-1), {"schedule.limit": "limit must be from 1 to 2147483647"}, id="limit -1"
        ),
        pytest.param(
            schedule(every=60_000, endDate="2020-01-01"),
            {"schedule.endDate": "no run is due on or before endDate"},
            id="over before it begins",
        ),
        pytest.param({"retries": -1}, {"retries": "must be between 0 and 1000, not -1"}, id="retries -1"),
        pytest.param({"priority": 1001}, {"priority": "must be between -1000 and 1000, not 1001"}, id="priority 1001"),
        pytest.param({"timeout": 0}, {"timeout": "must be between 1 and 2592000000, not 0"}, id="timeout 0"),
        pytest.param(
            retry(backoffMultiplier=0.9),
            {"retryConfig.backoffMultiplier": "must be between 1.0 and 1000.0, not 0.9"},
            id="multiplier below 1",
        ),
        pytest.param(
            retry(backoffMultiplier=-2),
            {"retryConfig.backoffMultiplier": "must be between 1.0 and 1000.0, not -2.0"},
            id="negative multiplier",
        ),
        pytest.param(
            retry(jitter=1.1), {"retryConfig.jitter": "must be between 0.0 and 1.0, not 1.1"}, id="jitter above 1"
        ),
        pytest.param(
            retry(jitter=-0.1), {"retryConfig.jitter": "must be between 0.0 and 1.0, not -0.1"}, id="negative jitter"
        ),
        pytest.param(
            retry(initialDelay=2000, maxDelay=1999),
            {"retryConfig.maxDelay": "must not be less than initialDelay"},
            id="maxDelay below initialDelay",
        ),
        pytest.param(
            retry(retryableErrors=["A", "B"], nonRetryableErrors=["B"]),
            {"retryConfig.nonRetryableErrors": "'B' is among the retryableErrors as well"},
            id="a code both retryable and not",
        ),
        pytest.param(
            {"input": nested(33)}, {"input": f"nested more than 32 levels deep at {'[0]' * 32}"}, id="33 levels"
        ),
        pytest.param(
            {"input": "x" * (256 * 1024 - 1)},
            {"input": "262145 bytes of JSON, more than the 262144 allowed"},
            id="256 KB",
        ),
        pytest.param({"input": {"n": 2**53 + 1}}, {"input": "an integer beyond 2^53 at n"}, id="2^53 + 1"),
        pytest.param({"input": [-(2**53) - 1]}, {"input": "an integer beyond 2^53 at [0]"}, id="-2^53 - 1"),
        pytest.param({"input": 2**70}, {"input": "an integer beyond 2^53 at the top"}, id="2^70"),
        pytest.param(
            {"input": {"a\0b": 1}}, {"input": "a key with a NUL character at the top"}, id="NUL in a key of the input"
        ),
        pytest.param(
            {"tags": [f"tag {n}" for n in range(51)]}, {"tags": "51 tags, more than the 50 allowed"}, id="51 tags"
        ),
        pytest.param({"product": ""}, {"product": LABEL}, id="empty product"),
        pytest.param({"product": "x" * 129}, {"product": LABEL}, id="product of 129 characters"),
        pytest.param({"product": "a\nb"}, {"product": LABEL}, id="line feed in product"),
        pytest.param({"env": "\x7f"}, {"env": LABEL}, id="DEL in env"),
        pytest.param({"tags": ["good", "a\0"]}, {"tags.1": LABEL}, id="NUL in a tag"),
        pytest.param(
            {"idempotencyKey": "a\tb"},
            {"idempotencyKey": "must be 1 to 255 characters, none of them a control character"},
            id="tab in the key",
        ),
        pytest.param(
            {"product": "", "retries": -1, **schedule(cron="x", limit=0)},
            {
                "product": LABEL,
                "retries": "must be between 0 and 1000, not -1",
                "schedule.cron": "a cron has exactly five fields, this has one",
                "schedule.limit": "limit must be from 1 to 2147483647",
            },
            id="everything at once",
        ),
    ],
)
async def test_a_dispatch_is_refused_with_all_that_is_wrong(
    gateway: LiveGateway, changes: dict[str, Any], issues: dict[str, str]
) -> None:
    assert await gateway.dispatch(**changes) == {
        "__typename": "InvalidInput",
        "code": "INVALID_INPUT",
        "message": "; ".join(f"input.{path}: {message}" for path, message in issues.items()),
        "issues": [{"path": ["input", *path.split(".")], "message": message} for path, message in issues.items()],
    }


NOT_A_DATE: Final = "is not a DateTime such as 2026-01-31T08:00:00Z"
YEARS: Final = "a DateTime lies between the years 1970 and 9998"


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        (schedule(every=1000, missed="NEVER"), "schedule.missed", "Value 'NEVER' does not exist in 'MissedRuns' enum."),
        ({"priority": "high"}, "priority", "Int cannot represent non-integer value: 'high'"),
        ({"retries": True}, "retries", "Int cannot represent non-integer value: True"),
        ({"retries": 2**31}, "retries", "Int cannot represent non 32-bit signed integer value: 2147483648"),
        ({"tags": 5}, "tags", "String cannot represent a non string value: 5"),
        ({"tags": [None]}, "tags[0]", "Expected value of non-null type 'String!' not to be None."),
        ({"input": None}, "input", "Expected value of non-null type 'JSON!' not to be None."),
        (schedule(every=-1), "schedule.every", "Milliseconds are between 0 and 2^53 - 1, not -1"),
        (schedule(every=1.5), "schedule.every", "Milliseconds are a whole number"),
        ({"timeout": -1}, "timeout", "Milliseconds are between 0 and 2^53 - 1, not -1"),
        (retry(initialDelay=-1), "retryConfig.initialDelay", "Milliseconds are between 0 and 2^53 - 1, not -1"),
        (schedule(startAt="tomorrow"), "schedule.startAt", f"'tomorrow' {NOT_A_DATE}"),
        (schedule(startAt="2026-02-30T00:00:00Z"), "schedule.startAt", f"'2026-02-30T00:00:00Z' {NOT_A_DATE}"),
        (schedule(startAt="2026-W01-1"), "schedule.startAt", f"'2026-W01-1' {NOT_A_DATE}"),
        (schedule(startAt="20260101"), "schedule.startAt", f"'20260101' {NOT_A_DATE}"),
        (schedule(startAt=""), "schedule.startAt", f"'' {NOT_A_DATE}"),
        (schedule(startAt=1e300), "schedule.startAt", "the number is not a DateTime: it is too large"),
        (schedule(startAt=-1), "schedule.startAt", YEARS),
        (schedule(every=1000, endDate="9999-01-01"), "schedule.endDate", YEARS),
        (
            schedule(startAt=True),
            "schedule.startAt",
            "a DateTime is RFC 3339 text or a number of milliseconds since 1970",
        ),
    ],
)
async def test_a_variable_of_the_wrong_kind_is_named(
    gateway: LiveGateway, changes: dict[str, Any], place: str, message: str
) -> None:
    assert costless(await gateway.ask(DISPATCH, input=VALID | changes)) == {
        "errors": [
            {
                "message": f"Variable '$input' has invalid value at .{place}: {message}",
                "locations": [{"line": 2, "column": 15}],
                "extensions": {"code": "BAD_USER_INPUT"},
            }
        ],
    }


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"n": NaN}', id="NaN"),
        pytest.param('{"n": -Infinity}', id="infinity"),
        pytest.param(r'{"text": "\ud83d"}', id="half a character"),
        pytest.param('{"n": ' + "9" * 5000 + "}", id="5000 digits"),
    ],
)
async def test_an_input_that_is_not_json_is_a_bad_request(gateway: LiveGateway, body: str) -> None:
    request = json.dumps({"query": DISPATCH, "variables": {"input": {**VALID, "input": "HERE"}}})
    json_type = {"content-type": "application/json"}
    response = await gateway.http.post("/graphql", content=request.replace('"HERE"', body), headers=json_type)
    error = {"message": "Unable to parse request body as JSON", "extensions": {"code": "BAD_REQUEST"}}
    assert (response.status_code, response.json()) == (400, {"errors": [error]})
