"""Clients that others have written understand what a gateway says, and it understands them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from jobs.feed import feed_cursor
from tests.clients.clients import CLIENTS, Client, told_by
from tests.costs import costless
from tests.gateway import DISPATCH, LiveGateway, serving

FOLLOW: Final = "subscription ($after: String) { jobEvents(after: $after) { jobId type } }"
JOB: Final = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd"}


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        yield gateway


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


async def heard(client: Client, gateway: LiveGateway, document: str, **variables: Any) -> list[dict[str, Any]]:
    """All that a client hears of an operation that ends by itself."""
    async with asyncio.timeout(20), aclosing(client(gateway.url, document, variables)) as results:
        return [costless(result) async for result in results]


async def test_a_query_is_answered(gateway: LiveGateway, client: Client) -> None:
    job_id = await gateway.dispatched()
    document = "query ($id: ID!) { job(id: $id) { id status } }"
    assert await heard(client, gateway, document, id=job_id) == [{"data": {"job": {"id": job_id, "status": "QUEUED"}}}]


async def test_a_mutation_is_answered(gateway: LiveGateway, client: Client) -> None:
    [result] = await heard(client, gateway, DISPATCH, input=JOB)
    job = await gateway.job(result["data"]["dispatch"]["id"])
    assert (job["namespace"], job["task"], job["status"]) == ("demo", "echo", "QUEUED")


async def test_a_subscription_goes_from_the_past_into_the_present_and_ends_when_the_client_leaves(
    gateway: LiveGateway, client: Client
) -> None:
    first = await gateway.dispatched()
    results = client(gateway.url, FOLLOW, {"after": feed_cursor(0)})
    async with asyncio.timeout(20), aclosing(results):
        past = [costless(await anext(results)) for _ in range(2)]
        second = await gateway.dispatched()
        present = [costless(await anext(results)) for _ in range(2)]
        await gateway.until_subscribers(1)
    assert past + present == [
        {"data": {"jobEvents": {"jobId": job_id, "type": type_}}}
        for job_id in (first, second)
        for type_ in ("JOB_SCHEDULED", "JOB_QUEUED")
    ]
    await gateway.until_subscribers(0)


async def test_a_subscription_that_is_over_ends(gateway: LiveGateway, client: Client) -> None:
    document = 'mutation { cancelMany(filter: { namespace: ["none"] }) { ... on BulkOperation { id } } }'
    operation_id = (await gateway.data(document))["cancelMany"]["id"]
    follow = "subscription ($id: ID!) { bulkOperation(id: $id) { status } }"
    assert await heard(client, gateway, follow, id=operation_id) == [
        {"data": {"bulkOperation": {"status": "COMPLETED"}}}
    ]


@pytest.mark.parametrize(
    ("document", "variables", "code"),
    [
        ("{ nope }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { nope }", {}, "GRAPHQL_VALIDATION_FAILED"),
        (FOLLOW, {"after": "nonsense"}, "BAD_CURSOR"),
        ("{ jobs(first: -1) { nodes { id } } }", {}, "BAD_USER_INPUT"),
    ],
)
async def test_a_refusal_comes_with_its_code(
    gateway: LiveGateway, client: Client, document: str, variables: dict[str, Any], code: str
) -> None:
    [refusal] = await heard(client, gateway, document, **variables)
    assert [error["extensions"]["code"] for error in refusal["errors"]] == [code]


@pytest.mark.timeout(150)
async def test_graphql_over_http_is_spoken_as_specified(servers: Servers, database_name: str, redis_url: str) -> None:
    """Every rule that the audits of the package ``graphql-http`` look at; what may be otherwise, some are."""
    async with (
        asyncio.timeout(120),
        serving(servers.mongodb_url, redis_url, database_name, introspection=True) as gateway,
        aclosing(told_by("graphql_http.mjs", gateway.url)) as results,
    ):
        audits = [result async for result in results]
    assert len(audits) > 50
    assert [audit for audit in audits if audit["status"] != "ok" and not audit["name"].startswith("MAY")] == []
