"""A list of very many jobs, read page by page to its end while it grows: ``--jobs 100000`` for a hundred thousand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest

from examples.shop.client import Gateway
from gateway.devstack import Servers
from storage.client import Database
from storage.documents import job_to_document
from tests.factories import NOW, make_job
from tests.installation import offer
from tests.programs import running

PAGE: Final = 200
CHUNK: Final = 5_000
TICK: Final = timedelta(milliseconds=1)

_PAGE: Final = """
query Page($order: JobOrder, $first: Int, $after: String) {
  jobs(orderBy: $order, first: $first, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } }
}"""


async def store(database: Database, count: int) -> None:
    """So many jobs. Eight of them share each instant, so that the order hangs on their ids as well."""
    template = job_to_document(make_job()) | {"outbox": [], "event_seq": 2}
    for start in range(0, count, CHUNK):
        numbers = range(start, min(start + CHUNK, count))
        at = {number: NOW + (number // 8) * TICK for number in numbers}
        await database["jobs"].insert_many(
            [
                template | {"_id": f"job_{n:06}", "created_at": at[n], "updated_at": at[n], "priority": n % 5}
                for n in numbers
            ]
        )


@asynccontextmanager
async def growing(gateway: Gateway) -> AsyncIterator[list[str]]:
    """Dispatches one job after the other for as long as this lasts; the ids of all that were dispatched."""
    ids: list[str] = []
    request: dict[str, Any] = {"namespace": "demo", "task": "echo", "product": "shop", "env": "test"}

    async def grow() -> None:
        while True:
            ids.append((await gateway.dispatch(request))["id"])

    growth = asyncio.create_task(grow())
    yield ids
    assert not growth.done()
    growth.cancel()


async def read_all(http: httpx.AsyncClient, url: str, order: dict[str, str]) -> list[str]:
    """The ids of all jobs, page by page."""
    ids: list[str] = []
    after = None
    while True:
        answer = await http.post(
            url, json={"query": _PAGE, "variables": {"order": order, "first": PAGE, "after": after}}
        )
        page = answer.json()["data"]["jobs"]
        ids += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return ids


@pytest.mark.timeout(240)
async def test_no_job_is_missed_or_seen_twice(
    request: pytest.FixtureRequest, servers: Servers, database: Database, database_name: str, redis_url: str
) -> None:
    count = request.config.getoption("--jobs")
    await store(database, count)
    await offer(database, "demo.echo")
    there = {f"job_{number:06}" for number in range(count)}
    own_redis = Servers(servers.mongodb_url, redis_url)
    async with running(own_redis, database_name, workers=0) as system, httpx.AsyncClient(timeout=30) as http:
        for field, direction in (("CREATED_AT", "DESC"), ("CREATED_AT", "ASC"), ("PRIORITY", "DESC")):
            async with growing(Gateway(http, system.url)) as dispatched:
                seen = await read_all(http, system.url, {"field": field, "direction": direction})
            assert len(set(seen)) == len(seen)
            assert there <= set(seen)
            assert dispatched
            there.update(dispatched)
