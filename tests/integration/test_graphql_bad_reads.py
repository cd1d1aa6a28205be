"""Reads with values that make no sense, of jobs, runs, events and statistics; and ids of nothing.

``test_graphql_refused_reads`` has some for lists of jobs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.cursors import encode_cursor
from jobs.feed import feed_cursor
from jobs.paging import Order, job_cursor
from tests.factories import make_job
from tests.gateway import LiveGateway
from tests.refusing import JOBS, LISTS, serving_jobs, unchanged

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE: Final = "must be between 0 and 200, not "
CURSOR: Final = "is not a cursor of this list"
MOVE: Final = 'reschedule(id: $id, schedule: { startAt: "2099-01-01" })'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_jobs(servers, mongodb) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def nothing_changes(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> Iterator[None]:
    with unchanged(gateway, mongodb):
        yield


FILTERED: Final = {
    "jobs": "query ($filter: JobFilter) { jobs(filter: $filter) { nodes { id } } }",
    "events": "query ($filter: JobFilter) { events(filter: { jobs: $filter }) { nodes { seq } } }",
    "stats": "query ($filter: JobFilter) { stats(filter: $filter) { total } }",
}


async def refused(gateway: LiveGateway, document: str, **variables: object) -> tuple[str, str, str]:
    """The code, the path and the message of the one thing that is wrong with a query."""
    answer = await gateway.ask(document, **variables)
    [error] = answer["errors"]
    [issue] = error["extensions"]["issues"]
    assert error["message"] == f"{'.'.join(issue['path'])}: {issue['message']}"
    return error["extensions"]["code"], ".".join(issue["path"]), issue["message"]


@pytest.mark.parametrize("query", FILTERED)
async def test_a_filter_of_ten_thousand_values_is_refused(gateway: LiveGateway, query: str) -> None:
    path = "filter.jobs" if query == "events" else "filter"
    message = "10000 values, more than the 1000 allowed"
    for name, value in [*((name, "x") for name in LISTS), ("status", "FAILED")]:
        answer = await refused(gateway, FILTERED[query], filter={name: [value] * 10_000})
        assert answer == ("BAD_USER_INPUT", f"{path}.{name}", message)


@pytest.mark.parametrize("query", FILTERED)
async def test_a_filter_that_ends_before_it_begins_is_refused(gateway: LiveGateway, query: str) -> None:
    path = "filter.jobs.to" if query == "events" else "filter.to"
    answer = await refused(gateway, FILTERED[query], filter={"from": "2026-01-02", "to": "2026-01-01"})
    assert answer == ("BAD_USER_INPUT", path, "is before from")


PAGES: Final = {
    "jobs": "query ($first: Int, $after: String) { jobs(first: $first, after: $after) { nodes { id } } }",
    "jobs backward": "query ($first: Int, $after: String) { jobs(last: $first, before: $after) { nodes { id } } }",
    "history": 'query ($first: Int! = 1, $after: String) { history(jobId: "once", first: $first, after: $after) { jobId } }',
    "events": "query ($first: Int! = 1, $after: String) { events(first: $first, after: $after) { nodes { seq } } }",
    "Job.history": """
        query ($first: Int! = 1, $after: String) { job(id: "once") { history(first: $first, after: $after) { jobId } } }
    """,
    "Job.events": """
        query ($first: Int! = 1, $after: String) { job(id: "once") { events(first: $first, after: $after) { nodes { seq } } } }
    """,
}
CURSORS: Final = {
    "jobs": job_cursor(Order(), make_job()),
    "history": encode_cursor(["run", 1]),
    "events": feed_cursor(1),
}


@pytest.mark.parametrize("query", PAGES)
async def test_a_page_out_of_bounds_is_refused(gateway: LiveGateway, query: str) -> None:
    for size in (-1, 201, 10_000, 2**31 - 1, -(2**31)):
        path = "last" if query == "jobs backward" else "first"
        assert await refused(gateway, PAGES[query], first=size) == ("BAD_USER_INPUT", path, f"{PAGE}{size}")


@pytest.mark.parametrize("query", PAGES)
async def test_a_cursor_from_elsewhere_is_refused(gateway: LiveGateway, query: str) -> None:
    kind = query.removeprefix("Job.").removesuffix(" backward")
    others = [cursor for list_, cursor in CURSORS.items() if list_ != kind]
    for cursor in ("", "nonsense", "x" * 100_000, '{"$gt": ""}', "\0", *others):
        path = "before" if query == "jobs backward" else "after"
        assert await refused(gateway, PAGES[query], after=cursor) == ("BAD_CURSOR", path, CURSOR), cursor


async def test_the_next_runs_are_told_from_one_to_a_hundred(gateway: LiveGateway) -> None:
    document = 'query ($count: Int!) { job(id: "hourly") { upcomingRuns(count: $count) } }'
    for count in (0, -1, 101, 2**31 - 1):
        message = f"must be between 1 and 100, not {count}"
        assert await refused(gateway, document, count=count) == ("BAD_USER_INPUT", "count", message)


@pytest.mark.parametrize("action", ["cancel", "pause"])
async def test_a_reason_that_is_too_long_is_refused(gateway: LiveGateway, action: str) -> None:
    document = f'mutation ($reason: String) {{ {action}(id: "hourly", reason: $reason) {{ __typename }} }}'
    for length in (1001, 100_000):
        message = f"{length} characters, more than the 1000 allowed"
        assert await refused(gateway, document, reason="r" * length) == ("BAD_USER_INPUT", "reason", message)


@pytest.mark.parametrize("id_", ["", "nope", "\0", '{"$ne": null}', "$ne", "x" * 100_000, "hourly "])
async def test_an_id_of_nothing_is_not_found(gateway: LiveGateway, id_: str) -> None:
    assert await gateway.data("query ($id: ID!) { node(id: $id) { id } job(id: $id) { id } }", id=id_) == {
        "node": None,
        "job": None,
    }
    for call in ("cancel(id: $id)", "pause(id: $id)", "resume(id: $id)", "retry(id: $id)", "delete(id: $id)", MOVE):
        answer = await gateway.data(
            f"mutation ($id: ID!) {{ done: {call} {{ ... on NotFound {{ code id }} }} }}", id=id_
        )
        assert answer["done"] == {"code": "NOT_FOUND", "id": id_}


async def test_operators_in_a_filter_match_nothing(gateway: LiveGateway) -> None:
    for operator in ("$ne", '{"$ne": null}', "$exists", "/.*/", ".*"):
        for name in LISTS:
            assert (await gateway.list(filter={name: [operator]}))["nodes"] == []
        assert (await gateway.list(filter={"idempotencyKey": operator}))["nodes"] == []


MATCHES: Final[list[tuple[list[dict[str, Any]], str, str]]] = [
    ([{"path": "n", "equals": 1}] * 10_000, "", "10000 values, more than the 10 allowed"),
    ([{"path": "", "equals": 1}], ".0.path", "must be keys with single dots between them, such as user.id"),
    ([{"path": "a..b", "equals": 1}], ".0.path", "must be keys with single dots between them, such as user.id"),
    ([{"path": "$where", "equals": "1"}], ".0.path", "no key may begin with $"),
    ([{"path": "n", "equals": 1}, {"path": "user.$ne", "equals": 1}], ".1.path", "no key may begin with $"),
    ([{"path": "n" * 257, "equals": 1}], ".0.path", "257 characters, more than the 256 allowed"),
    ([{"path": "n", "equals": 2**53 + 1}], ".0.equals", "an integer beyond 2^53 at the top"),
]


@pytest.mark.parametrize("query", ["jobs", "stats"])
async def test_an_input_is_matched_by_plain_paths_and_values(gateway: LiveGateway, query: str) -> None:
    for matches, path, message in MATCHES:
        answer = await refused(gateway, FILTERED[query], filter={"input": matches})
        assert answer == ("BAD_USER_INPUT", f"filter.input{path}", message)


async def test_operators_in_a_value_to_be_matched_are_values(gateway: LiveGateway) -> None:
    # The inputs of all jobs here are {"n": 1}.
    assert len((await gateway.list(filter={"input": [{"path": "n", "equals": 1}]}))["nodes"]) == len(JOBS)
    for equals in ({"$ne": None}, {"$gt": 0}, {"$in": [1]}, {"$exists": True}, "1", [1], True):
        assert (await gateway.list(filter={"input": [{"path": "n", "equals": equals}]}))["nodes"] == [], equals
