"""Filters and orders of a list of jobs through GraphQL, on one gateway that four jobs were dispatched through."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient
from pymongo.collection import Collection

from gateway.devstack import Servers
from tests.gateway import LiveGateway, inputs, serving_for_all

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOON: Final = datetime(2099, 1, 1, 12, tzinfo=UTC)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb) as gateway:
        await dispatch_various(gateway, mongodb[gateway.gateway.database.name]["jobs"])
        yield gateway


def after_noon(hours: int) -> str:
    return (NOON + timedelta(hours=hours)).isoformat()


async def dispatch_various(gateway: LiveGateway, jobs: Collection[dict[str, Any]]) -> None:
    """Jobs that differ in everything that can be asked for; the last one has failed."""
    various: dict[str, dict[str, Any]] = {
        "a": {"schedule": {"startAt": after_noon(0)}, "tags": ["red", "big"], "priority": 5},
        "b": {"schedule": {"startAt": after_noon(3), "every": 60_000}, "tags": ["red"], "priority": -5},
        "c": {"schedule": {"startAt": after_noon(1)}, "product": "other", "idempotencyKey": "key"},
        "d": {"schedule": {"startAt": after_noon(2)}, "env": "dev", "priority": 7},
    }
    ids = {name: await gateway.dispatched(input=name, **fields) for name, fields in various.items()}
    ended = {"status": "failed", "completed_at": NOON, "effective_at": NOON, "updated_at": NOON}
    error = {"last_error": {"code": "BROKEN", "message": "no luck"}}
    jobs.update_one({"_id": ids["d"]}, {"$set": ended | error | {"next_run_at": None}})


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (None, "dcba"),
        ({}, "dcba"),
        ({"status": ["FAILED"]}, "d"),
        ({"status": ["SCHEDULED", "FAILED"]}, "dcba"),
        ({"status": []}, ""),
        ({"recurring": True}, "b"),
        ({"recurring": False}, "dca"),
        ({"product": ["other"]}, "c"),
        ({"product": ["shop", "nope"]}, "dba"),
        ({"env": ["dev"]}, "d"),
        ({"namespace": ["demo"]}, "dcba"),
        ({"task": ["nope"]}, ""),
        ({"tags": ["red"]}, "ba"),
        ({"tags": ["big", "red"]}, "a"),
        ({"tags": []}, ""),
        ({"from": after_noon(1)}, "cb"),
        ({"to": after_noon(1)}, "da"),
        ({"from": after_noon(0), "to": after_noon(3)}, "dca"),
        ({"errorCode": ["BROKEN", "OTHER"]}, "d"),
        ({"idempotencyKey": "key"}, "c"),
        ({"product": ["shop"], "tags": ["red"], "recurring": False}, "a"),
        ({"ids": ["nope"]}, ""),
    ],
)
async def test_a_filter_lists_and_counts_what_matches(
    gateway: LiveGateway, conditions: dict[str, Any] | None, expected: str
) -> None:
    answer = await gateway.list(filter=conditions)
    assert inputs(answer) == expected
    assert answer["totalCount"] == {"value": len(expected), "exact": True}


async def test_jobs_are_found_by_their_ids(gateway: LiveGateway) -> None:
    ids = {node["input"]: node["id"] for node in (await gateway.list())["nodes"]}
    assert inputs(await gateway.list(filter={"ids": [ids["a"], "nope", ids["c"]]})) == "ca"


@pytest.mark.parametrize(
    ("field", "ascending"),
    [
        ("CREATED_AT", "abcd"),
        ("SCHEDULED_AT", "acdb"),
        ("PRIORITY", "bcad"),
        ("UPDATED_AT", "abcd"),
        ("COMPLETED_AT", "abcd"),
    ],
)
async def test_an_order_holds_both_ways_and_from_page_to_page(gateway: LiveGateway, field: str, ascending: str) -> None:
    for direction, expected in (("ASC", ascending), ("DESC", ascending[::-1])):
        order = {"field": field, "direction": direction}
        assert inputs(await gateway.list(orderBy=order)) == expected
        page = await gateway.list(orderBy=order, first=1)
        found = inputs(page)
        while page["pageInfo"]["hasNextPage"]:
            page = await gateway.list(orderBy=order, first=1, after=page["pageInfo"]["endCursor"])
            found += inputs(page)
        assert found == expected
