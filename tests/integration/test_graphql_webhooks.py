"""Webhooks that cannot be set: each answer names the argument that is wrong, and nothing changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from tests.gateway import LiveGateway, serving
from tests.webhooks import KEY, SETTINGS, set_webhook

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "https://hooks.example.com/jobs"

HOSTILE = [
    ("", "must begin with http:// or https://"),
    ("hooks.example.com", "must begin with http:// or https://"),
    ("ftp://hooks.example.com", "must begin with http:// or https://"),
    ("javascript:alert(1)", "must begin with http:// or https://"),
    ("http://hooks.example.com/", "must begin with https://, so that nobody on the way can read what it is told"),
    ("https://", "has no host"),
    ("https://0177.0.0.1/", "is not a URL: Invalid IPv4 address: '0177.0.0.1'"),
    ("https://\uff11\uff12\uff17.0.0.1/", "is not a URL: Invalid IDNA hostname: '\uff11\uff12\uff17.0.0.1'"),
    ("https://xn--ss.de", "is not a URL: it cannot be decoded"),
    ("https://user:password@hooks.example.com", "must not hold a user or password"),
    ("https://" + "a" * 2000 + ".example.com", "is longer than 2000 characters"),
    *(
        (f"https://{host}/", "does not lead to a public address")
        for host in (
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "127.0.0.1.",
            "10.0.0.8",
            "169.254.169.254",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[fd00::1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
        )
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    name = "test_webhooks_refused"
    async with serving(servers.mongodb_url, servers.redis_url, name, secret_keys=KEY) as gateway:
        yield gateway
    mongodb.drop_database(name)


async def refused(gateway: LiveGateway, url: str = URL, *events: str, **changes: object) -> list[tuple[str, str]]:
    answer = await set_webhook(gateway, url, *events, **changes)
    assert answer["__typename"] == "InvalidInput", answer
    assert (await gateway.data("{ webhooks { id } }"))["webhooks"] == []
    return [(".".join(issue["path"]), issue["message"]) for issue in answer["issues"]]


@pytest.mark.parametrize(("url", "message"), HOSTILE)
async def test_a_url_that_must_not_be_called(gateway: LiveGateway, url: str, message: str) -> None:
    assert await refused(gateway, url) == [("input.url", message)]


@pytest.mark.parametrize("secret", ["", "hunter2", "whsec_c2hvcnQ=", "whsec_!"])
async def test_a_secret_that_is_none(gateway: LiveGateway, secret: str) -> None:
    assert await refused(gateway, secret=secret) == [("input.secret", "must be whsec_ and 24 to 64 bytes in base64")]


async def test_no_events(gateway: LiveGateway) -> None:
    assert await refused(gateway, events=[]) == [("input.events", "must name one event at least")]


async def test_a_filter_that_events_cannot_be_compared_with(gateway: LiveGateway) -> None:
    [(path, message)] = await refused(gateway, filter={"input": [{"path": "a", "equals": 1}]})
    assert (path, message.split(",")[0]) == ("input.filter.input", "cannot be asked of events")


@pytest.mark.parametrize("name", ["product", "env"])
@pytest.mark.parametrize("value", ["", "x" * 201])
async def test_a_name_that_no_job_has(gateway: LiveGateway, name: str, value: str) -> None:
    assert await refused(gateway, **{name: value}) == [(f"input.{name}", "must have 1 to 200 characters")]


async def test_all_that_is_wrong_is_told_at_once(gateway: LiveGateway) -> None:
    issues = await refused(gateway, "ftp://x", events=[], secret="x", env="")
    assert [path for path, _ in issues] == ["input.url", "input.secret", "input.events", "input.env"]


@pytest.mark.parametrize("field", ["deleteWebhook(id: $id)", "redeliver(deliveryId: $id)"])
@pytest.mark.parametrize("unknown", ["wh_unknown", "dlv_unknown_1", "job_1", "", "\0", "x" * 5000])
async def test_what_is_not_there(gateway: LiveGateway, field: str, unknown: str) -> None:
    answer = await gateway.data(
        f"mutation ($id: ID!) {{ {field} {{ __typename ... on NotFound {{ id code }} }} }}", id=unknown
    )
    [problem] = answer.values()
    assert problem == {"__typename": "NotFound", "id": unknown, "code": "NOT_FOUND"}


@pytest.mark.parametrize("unknown", ["wh_unknown", "dlv_unknown_1", "dlv_"])
async def test_no_node_has_an_unknown_id(gateway: LiveGateway, unknown: str) -> None:
    assert (await gateway.data("query ($id: ID!) { node(id: $id) { id } }", id=unknown))["node"] is None


async def test_without_a_key_no_webhook_can_be_set(servers: Servers, redis_url: str, database_name: str) -> None:
    async with serving(servers.mongodb_url, redis_url, database_name) as keyless:
        assert await refused(keyless) == [
            ("input.secret", "cannot be kept: JOBGATE_SECRET_KEYS is not set in this installation")
        ]


@pytest.mark.parametrize("after", ["", "nonsense", "WyJydW4iLDFd"])
async def test_a_cursor_of_no_list_of_deliveries(
    servers: Servers, redis_url: str, database_name: str, after: str
) -> None:
    async with serving(servers.mongodb_url, redis_url, database_name, **SETTINGS) as gateway:
        webhook = (await set_webhook(gateway, URL))["webhook"]["id"]
        answer = await gateway.ask(
            "query ($id: ID!, $after: String) { node(id: $id) { ... on Webhook { deliveries(after: $after) "
            "{ nodes { id } } } } }",
            id=webhook,
            after=after,
        )
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_CURSOR"]


async def test_there_are_no_more_than_a_thousand(
    servers: Servers, redis_url: str, database_name: str, mongodb: MongoClient[dict[str, Any]]
) -> None:
    stored = mongodb[database_name]["webhooks"]
    async with serving(servers.mongodb_url, redis_url, database_name, **SETTINGS) as gateway:
        await set_webhook(gateway, URL)
        [first] = stored.find()
        stored.insert_many([first | {"_id": f"wh_{number}", "url": f"{URL}/{number}"} for number in range(998)])
        assert (await set_webhook(gateway, f"{URL}/last"))["__typename"] == "WebhookSet"
        answer = await set_webhook(gateway, f"{URL}/too-many")
        message = "there are as many webhooks as there may be"
        assert answer["issues"] == [{"path": ["input", "url"], "message": message}]
        # One that is there can be set again all the same.
        assert (await set_webhook(gateway, URL))["__typename"] == "WebhookSet"
    assert stored.count_documents({}) == 1000
