"""GraphQL over server-sent events: who gets a stream, what is in it, and what ends it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.errors import SubscriberTooSlow
from jobs.events import EventType
from jobs.feed import feed_cursor
from tests.costs import costless
from tests.event_streams import Event, Stream
from tests.gateway import LiveGateway, serving, serving_for_all

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("nothing_is_logged")]

FOLLOW: Final = "subscription ($after: String) { jobEvents(after: $after) { cursor jobId type } }"
WIDE: Final = "subscription { jobEvents { job { input } } }"
UNKNOWN_OPERATION: Final = 'subscription { bulkOperation(id: "nope") { id } }'
TYPENAME: Final = "{ __typename }"
STREAM: Final = "text/event-stream"
URQL: Final = (
    "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"
)
COMPLETE: Final = Event("complete", None, None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb) as gateway:
        yield gateway


def answer(data: Any) -> Event:
    return Event("next", None, {"data": data})


async def ask(gateway: LiveGateway, accept: str | None, document: str) -> httpx.Response:
    headers = {} if accept is None else {"accept": accept}
    gateway.http.headers.pop("accept", None)
    return await gateway.http.post("/graphql", json={"query": document}, headers=headers)


async def cursors_of_a_job(gateway: LiveGateway) -> tuple[str, str, str]:
    """Those that lead before, behind the first and behind the second event of a new job."""
    job_id = await gateway.dispatched()
    first, second = [await gateway.told(job_id, kind) for kind in (EventType.JOB_SCHEDULED, EventType.JOB_QUEUED)]
    return feed_cursor(first.number - 1), first.cursor, second.cursor


# ---------------------------------------------------------------- who gets a stream


@pytest.mark.parametrize("accept", [STREAM, "Text/Event-Stream;q=0.5", "text/html, text/event-stream"])
async def test_who_takes_nothing_but_a_stream_gets_one_of_everything(gateway: LiveGateway, accept: str) -> None:
    async with gateway.stream(TYPENAME, accept=accept) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert await stream.rest() == [answer({"__typename": "Query"}), COMPLETE]
    async with gateway.stream('mutation { cancel(id: "nope") { __typename } }', accept=accept) as stream:
        assert await stream.rest() == [answer({"cancel": {"__typename": "NotFound"}}), COMPLETE]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (URQL, "application/graphql-response+json"),
        ("text/event-stream, */*", "application/json"),
        ("application/*, text/event-stream", "application/json"),
    ],
)
async def test_who_takes_json_as_well_gets_a_stream_of_subscriptions_only(
    gateway: LiveGateway, accept: str, media_type: str
) -> None:
    response = await ask(gateway, accept, TYPENAME)
    assert response.headers["content-type"] == media_type
    assert costless(response.json()) == {"data": {"__typename": "Query"}}
    async with gateway.stream(FOLLOW, accept=accept) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        await gateway.until_subscribers(1)
    await gateway.until_subscribers(0)


@pytest.mark.parametrize("accept", [None, "application/json", "*/*", "text/event-stream;q=0, application/json"])
async def test_a_subscription_is_not_answered_to_who_takes_no_stream(gateway: LiveGateway, accept: str | None) -> None:
    response = await ask(gateway, accept, "subscription { jobEvents { type } }")
    message = "a subscription is answered as a stream: accept text/event-stream, or use a WebSocket"
    error = {"message": message, "extensions": {"code": "BAD_REQUEST"}}
    assert (response.status_code, response.json()) == (406, {"errors": [error]})


async def test_what_is_accepted_may_be_said_in_several_lines(gateway: LiveGateway) -> None:
    headers = [("accept", "text/html"), ("accept", STREAM)]
    response = await gateway.http.post("/graphql", json={"query": TYPENAME}, headers=headers)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_an_event_source_asks_by_its_address(gateway: LiveGateway) -> None:
    before, first, _ = await cursors_of_a_job(gateway)
    parameters = {"query": FOLLOW, "variables": f'{{"after": "{before}"}}'}
    headers = {"accept": STREAM, "cache-control": "no-store"}
    async with gateway.http.stream("GET", "/graphql", params=parameters, headers=headers) as response:
        stream = Stream(response)
        assert (await stream.told("jobEvents"))["cursor"] == first


@pytest.mark.parametrize("document", [TYPENAME, 'mutation { cancel(id: "nope") { __typename } }'])
async def test_an_address_can_ask_for_subscriptions_only(gateway: LiveGateway, document: str) -> None:
    headers = {"accept": STREAM}
    async with gateway.http.stream("GET", "/graphql", params={"query": document}, headers=headers) as response:
        [refusal, complete] = await Stream(response).rest()
    kind = "mutation" if "mutation" in document else "query"
    error = {"message": f"a {kind} cannot be asked for in an address", "extensions": {"code": "BAD_REQUEST"}}
    assert (refusal, complete) == (Event("next", None, {"errors": [error]}), COMPLETE)


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("document", "variables", "code"),
    [
        ("{ nope", {}, "GRAPHQL_PARSE_FAILED"),
        ("subscription { nope }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { a: jobEvents { type } b: jobEvents { type } }", {}, "GRAPHQL_VALIDATION_FAILED"),
        (FOLLOW, {"after": 5}, "BAD_USER_INPUT"),
        (FOLLOW, {"after": "nonsense"}, "BAD_CURSOR"),
        (FOLLOW, {"after": feed_cursor(1_000_000)}, "BAD_CURSOR"),
        (UNKNOWN_OPERATION, {}, "BAD_USER_INPUT"),
        ("subscription { jobEvents { " + "x: type " * 31 + "} }", {}, "DOCUMENT_TOO_LARGE"),
        ("fragment F on Query { __typename }", {}, "BAD_REQUEST"),
        ("", {}, "BAD_REQUEST"),
    ],
)
async def test_whatever_graphql_refuses_is_told_in_the_stream(
    gateway: LiveGateway, document: str, variables: dict[str, Any], code: str
) -> None:
    async with gateway.stream(document, **variables) as stream:
        [refusal, complete] = await stream.rest()
    assert (stream.response.status_code, refusal.name, refusal.id, complete) == (200, "next", None, COMPLETE)
    assert refusal.data.get("data") is None
    assert [error["extensions"]["code"] for error in refusal.data["errors"]] == [code]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"query", "text/plain", 415),
        (b" " * (1024 * 1024 + 1), "application/json", 413),
    ],
)
async def test_what_is_wrong_with_the_request_is_told_by_its_status(
    gateway: LiveGateway, content: bytes, content_type: str, status: int
) -> None:
    headers = {"accept": STREAM, "content-type": content_type}
    response = await gateway.http.post("/graphql", content=content, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    assert [error["extensions"]["code"] for error in response.json()["errors"]] == ["BAD_REQUEST"]


# ---------------------------------------------------------------- what is in it


async def test_an_event_ends_with_two_line_feeds_and_its_id_is_its_cursor(gateway: LiveGateway) -> None:
    before, first, second = await cursors_of_a_job(gateway)
    document = "subscription ($after: String) { jobEvents(after: $after) { type } }"
    cost = '"extensions":{"cost":{"estimated":1,"limit":25000}}'
    async with gateway.stream(document, after=before) as stream:
        written = [await stream.written() for _ in range(2)]
    assert written == [
        f'id: {first}\nevent: next\ndata: {{"data":{{"jobEvents":{{"type":"JOB_SCHEDULED"}}}},{cost}}}',
        f'id: {second}\nevent: next\ndata: {{"data":{{"jobEvents":{{"type":"JOB_QUEUED"}}}}}}',
    ]


async def test_the_end_has_data_so_that_event_sources_tell_of_it(gateway: LiveGateway) -> None:
    response = await ask(gateway, STREAM, TYPENAME)
    cost = '"extensions":{"cost":{"estimated":1,"limit":25000}}'
    assert (
        response.text == f'event: next\ndata: {{"data":{{"__typename":"Query"}},{cost}}}\n\nevent: complete\ndata: \n\n'
    )


async def test_nothing_on_the_way_keeps_a_stream_or_holds_it_back(gateway: LiveGateway) -> None:
    headers = (await ask(gateway, STREAM, TYPENAME)).headers
    assert headers["cache-control"] == "no-store, no-transform"
    assert headers["x-accel-buffering"] == "no"


async def test_a_silent_stream_says_that_it_is_there(servers: Servers, database_name: str, redis_url: str) -> None:
    often = timedelta(milliseconds=20)
    opening = serving(servers.mongodb_url, redis_url, database_name, heartbeat=often)
    async with opening as gateway, gateway.stream(FOLLOW) as stream:
        assert [await stream.written() for _ in range(3)] == [": still here"] * 3
        job_id = await gateway.dispatched()
        assert (await stream.told("jobEvents"))["jobId"] == job_id


# ---------------------------------------------------------------- going on


async def test_the_last_event_id_leads_on_and_outdoes_what_was_asked_for_first(gateway: LiveGateway) -> None:
    before, seen, last = await cursors_of_a_job(gateway)
    for after in (before, None):
        async with gateway.stream(FOLLOW, last_event_id=seen, after=after) as stream:
            assert (await stream.told("jobEvents"))["cursor"] == last


async def test_an_empty_last_event_id_is_none(gateway: LiveGateway) -> None:
    before, first, _ = await cursors_of_a_job(gateway)
    async with gateway.stream(FOLLOW, last_event_id="", after=before) as stream:
        assert (await stream.told("jobEvents"))["cursor"] == first


@pytest.mark.parametrize("cursor", ["nonsense", "17", feed_cursor(1_000_000)])
async def test_a_last_event_id_that_was_never_given_out_is_refused(gateway: LiveGateway, cursor: str) -> None:
    async with gateway.stream(FOLLOW, last_event_id=cursor, after=feed_cursor(0)) as stream:
        [refusal, complete] = await stream.rest()
    [error] = refusal.data["errors"]
    assert (error["extensions"]["code"], complete) == ("BAD_CURSOR", COMPLETE)


async def test_a_bulk_operation_is_followed_to_its_end(gateway: LiveGateway) -> None:
    document = 'mutation { cancelMany(filter: { namespace: ["none"] }) { ... on BulkOperation { id } } }'
    operation_id = (await gateway.data(document))["cancelMany"]["id"]
    follow = "subscription ($id: ID!) { bulkOperation(id: $id) { status } }"
    async with gateway.stream(follow, last_event_id="nonsense", id=operation_id) as stream:
        events = await stream.rest()
    assert events == [answer({"bulkOperation": {"status": "COMPLETED"}}), COMPLETE]


async def test_an_error_in_between_has_no_id_and_is_the_end(gateway: LiveGateway) -> None:
    """Whoever goes on behind the last id goes on behind the last event."""
    before, *cursors = await cursors_of_a_job(gateway)
    async with gateway.stream(FOLLOW, after=before) as stream:
        assert [(await stream.told("jobEvents"))["cursor"] for _ in range(2)] == cursors
        await gateway.until_subscribers(1)
        [subscriber] = gateway.services.hub._subscribers
        subscriber.fail(SubscriberTooSlow(cursors[-1]))
        [failure, complete] = await stream.rest()
    assert (failure.name, failure.id, failure.data.keys(), complete) == ("next", None, {"errors"}, COMPLETE)
    [error] = failure.data["errors"]
    assert error["extensions"] == {"code": "SUBSCRIBER_TOO_SLOW", "cursor": cursors[-1]}


# ---------------------------------------------------------------- what is left behind


async def test_a_client_that_is_gone_leaves_no_subscriber(gateway: LiveGateway) -> None:
    async with gateway.stream(FOLLOW) as other:
        async with gateway.stream(FOLLOW), gateway.stream(FOLLOW):
            await gateway.until_subscribers(3)
        await gateway.until_subscribers(1)
        job_id = await gateway.dispatched()
        assert (await other.told("jobEvents"))["jobId"] == job_id
    await gateway.until_subscribers(0)


async def tell_much(gateway: LiveGateway) -> None:
    job_id = await gateway.dispatched(input="x" * 250_000)
    await gateway.told(job_id, EventType.JOB_QUEUED)


async def test_a_client_that_takes_nothing_and_leaves_leaves_no_subscriber(gateway: LiveGateway) -> None:
    """The gateway waits for it in the middle of an event, once what the system holds for it is full."""
    async with gateway.stream(WIDE):
        await gateway.until_subscribers(1)
        [subscriber] = gateway.services.hub._subscribers
        while len(subscriber._buffer) < 5:
            await tell_much(gateway)
    await gateway.until_subscribers(0)


async def test_a_client_that_takes_nothing_and_stays_is_given_up(
    servers: Servers, database_name: str, redis_url: str
) -> None:
    opening = serving(servers.mongodb_url, redis_url, database_name, unanswered=timedelta(seconds=1))
    async with opening as gateway, gateway.stream(WIDE):
        await gateway.until_subscribers(1)
        while len(gateway.services.hub._subscribers) > 0:
            await tell_much(gateway)


async def test_a_gateway_that_stops_cuts_its_streams_without_calling_them_complete(
    servers: Servers, database_name: str, redis_url: str
) -> None:
    opening = serving(servers.mongodb_url, redis_url, database_name)
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http, opening as gateway:
        request = {"query": FOLLOW}
        async with http.stream("POST", gateway.url, json=request, headers={"accept": STREAM}) as response:
            await gateway.until_subscribers(1)
            gateway.stop()
            # Left open, it would be broken off in the middle of the answer, 5 s later.
            assert await Stream(response).rest() == []
