"""Following jobs over a WebSocket: live, from a cursor, through a filter; and what is left when a client is gone."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from jobs.feed import feed_cursor
from storage.client import Database
from storage.projection import Projection
from storage.retention import Retention
from tests.ageing import DAY, ago
from tests.gateway import LiveGateway, serving
from tests.sockets import Socket
from worker.context import TaskContext
from worker.tasks import TaskError

FOLLOW: Final = """
    subscription ($filter: JobEventFilter, $after: String) {
        jobEvents(filter: $filter, after: $after) {
            cursor type jobId seq status namespace task product env executionCount error actor reason
            job { id status }
        }
    }
"""
READ_LOG: Final = "query ($after: String) { events(after: $after) { nodes { jobId type } } }"
BEGINNING: Final = feed_cursor(0)


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        yield gateway


async def events(socket: Socket, count: int, id_: str = "1") -> list[dict[str, Any]]:
    return [await socket.next(id_, "jobEvents") for _ in range(count)]


def told(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["jobId"], event["type"]) for event in events]


def queued(*job_ids: str) -> list[tuple[str, str]]:
    """What jobs tell that are due at once."""
    return [(job_id, kind) for job_id in job_ids for kind in ("JOB_SCHEDULED", "JOB_QUEUED")]


async def prune_events(database: Database, *, up_to: int) -> None:
    """Have these grow old, and removed for it."""
    while await Projection(database).fold():
        pass
    await database["events"].update_many({"_id": {"$lte": up_to}}, [{"$set": {"at": ago(30 * DAY)}}])
    retention, pruned = Retention(database), 0
    # A gateway plans deliveries from them as well, now and then.
    async with asyncio.timeout(10):
        while pruned < up_to:
            pruned += (await retention.prune_events(30 * DAY)).count
    assert pruned == up_to


# ---------------------------------------------------------------- what is told


async def test_a_job_is_followed_live_from_its_dispatch_to_its_end(gateway: LiveGateway) -> None:
    hold = asyncio.Event()

    async def fail_once(context: TaskContext, _: Any) -> Any:
        await hold.wait()
        if context.attempt == 1:
            raise TaskError("BUSY", "not yet")

    async with gateway.worker({"demo.echo": fail_once}), gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW)
        await gateway.until_subscribers(1)
        job_id = await gateway.dispatched(retries=1, retryConfig={"initialDelay": 0})
        first = await events(socket, 3)
        hold.set()
        rest = await events(socket, 4)
    assert [(event["type"], event["seq"], event["status"]) for event in first + rest] == [
        ("JOB_SCHEDULED", 1, "QUEUED"),
        ("JOB_QUEUED", 2, "QUEUED"),
        ("JOB_STARTED", 3, "RUNNING"),
        ("JOB_RETRYING", 4, "SCHEDULED"),
        ("JOB_QUEUED", 5, "QUEUED"),
        ("JOB_STARTED", 6, "RUNNING"),
        ("JOB_COMPLETED", 7, "COMPLETED"),
    ]
    assert first[2]["job"] == {"id": job_id, "status": "RUNNING"}
    assert [event["error"] for event in rest] == ["not yet", "not yet", "not yet", None]
    assert [event["actor"] for event in first + rest] == ["anonymous", "anonymous", None, None, None, None, None]
    assert [event["cursor"] for event in first + rest] == [feed_cursor(number) for number in range(1, 8)]


async def test_a_cancellation_is_told_with_who_and_why(gateway: LiveGateway) -> None:
    job_id = await gateway.dispatched()
    async with gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW, filter={"types": ["JOB_CANCELLED"]})
        await gateway.until_subscribers(1)
        await gateway.data('mutation ($id: ID!) { cancel(id: $id, reason: "enough") { __typename } }', id=job_id)
        [event] = await events(socket, 1)
    assert event == {
        "cursor": feed_cursor(3),
        "type": "JOB_CANCELLED",
        "jobId": job_id,
        "seq": 3,
        "status": "CANCELLED",
        "namespace": "demo",
        "task": "echo",
        "product": "shop",
        "env": "prd",
        "executionCount": 0,
        "error": None,
        "actor": "anonymous",
        "reason": "enough",
        "job": {"id": job_id, "status": "CANCELLED"},
    }


async def test_a_client_that_comes_back_goes_on_where_it_was(gateway: LiveGateway) -> None:
    first = await gateway.dispatched()
    async with gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW, after=BEGINNING)
        [seen] = await events(socket, 1)
        socket.vanish()
    second = await gateway.dispatched()
    async with gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW, after=seen["cursor"])
        assert told([seen, *await events(socket, 3)]) == queued(first, second)
        third = await gateway.dispatched()
        assert told(await events(socket, 2)) == queued(third)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"types": ["JOB_QUEUED"]}, [("red", "JOB_QUEUED"), ("both", "JOB_QUEUED")]),
        (
            {"jobs": {"tags": ["red", "blue"]}},
            [("later", "JOB_SCHEDULED"), ("both", "JOB_SCHEDULED"), ("both", "JOB_QUEUED")],
        ),
        ({"types": ["JOB_QUEUED"], "jobs": {"tags": ["blue"]}}, [("both", "JOB_QUEUED")]),
        ({"jobs": {"status": ["SCHEDULED"]}}, [("later", "JOB_SCHEDULED")]),
        ({"types": []}, []),
        ({"jobs": {"ids": ["job_nobody"]}}, []),
    ],
)
@pytest.mark.parametrize("live", [False, True])
async def test_a_filter_lets_through_what_matches(
    gateway: LiveGateway, conditions: dict[str, Any], expected: list[tuple[str, str]], live: bool
) -> None:
    dispatched: dict[str, dict[str, Any]] = {
        "red": {"tags": ["red"]},
        "later": {"tags": ["red", "blue"], "schedule": {"startAt": "2099-01-01"}},
        "both": {"tags": ["blue", "red"]},
    }
    async with gateway.socket() as socket:
        if live:
            await socket.subscribe("1", FOLLOW, filter=conditions)
            await gateway.until_subscribers(1)
        names = {await gateway.dispatched(**fields): name for name, fields in dispatched.items()}
        if not live:
            await socket.subscribe("1", FOLLOW, filter=conditions, after=BEGINNING)
        found = told(await events(socket, len(expected)))
        await gateway.until(lambda: gateway.services.hub.position == 5)
        # Whatever else had been let through would come before the answer to this.
        await socket.subscribe("end", "{ __typename }")
        assert await socket.next("end", "__typename") == "Query"
    assert [(names[job_id], kind) for job_id, kind in found] == expected


async def test_two_subscriptions_of_a_socket_are_told_apart(gateway: LiveGateway) -> None:
    job_id = await gateway.dispatched()
    async with gateway.socket() as socket:
        await socket.subscribe("a", FOLLOW, filter={"types": ["JOB_QUEUED"]}, after=BEGINNING)
        assert told(await events(socket, 1, "a")) == [(job_id, "JOB_QUEUED")]
        await socket.subscribe("b", FOLLOW, filter={"types": ["JOB_SCHEDULED"]}, after=BEGINNING)
        assert told(await events(socket, 1, "b")) == [(job_id, "JOB_SCHEDULED")]


@pytest.mark.parametrize("cursor", ["nonsense", "", "WyJmZWVkIiwtMV0", feed_cursor(1_000_000)])
async def test_a_cursor_that_was_never_given_out_is_refused(gateway: LiveGateway, cursor: str) -> None:
    async with gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW, after=cursor)
        message = await socket.receive()
    issue = {"path": ["after"], "message": "is not a cursor of this list"}
    error = {
        "message": "after: is not a cursor of this list",
        "extensions": {"code": "BAD_CURSOR", "issues": [issue]},
    }
    assert message == {"id": "1", "type": "error", "payload": [error]}


async def test_a_cursor_that_the_log_no_longer_reaches_has_expired(gateway: LiveGateway, database: Database) -> None:
    async with gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW, after=BEGINNING)
        first, second = await gateway.dispatched(), await gateway.dispatched()
        assert told(await events(socket, 4)) == queued(first, second)
        await prune_events(database, up_to=2)
        await socket.subscribe("2", FOLLOW, after=feed_cursor(1))
        refusal = await socket.receive()
        await socket.subscribe("2", FOLLOW, after=feed_cursor(2))
        assert told(await events(socket, 2, "2")) == queued(second)
    query = await gateway.ask(READ_LOG, after=feed_cursor(1))
    error = {
        "message": "the event log no longer reaches back to this cursor; read the jobs again and start from now",
        "extensions": {"code": "CURSOR_EXPIRED"},
    }
    assert refusal == {"id": "2", "type": "error", "payload": [error]}
    assert [{name: one[name] for name in error} for one in query["errors"]] == [error]


async def test_the_lists_of_events_begin_with_what_is_left(gateway: LiveGateway, database: Database) -> None:
    async with gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW, after=BEGINNING)
        ids = [await gateway.dispatched() for _ in range(3)]
        await events(socket, 6)
        await prune_events(database, up_to=3)
    assert told((await gateway.data(READ_LOG))["events"]["nodes"]) == queued(*ids)[3:]
    document = "query ($id: ID!) { job(id: $id) { events { nodes { jobId type } pageInfo { endCursor } } } }"
    of_jobs = [(await gateway.data(document, id=job_id))["job"]["events"] for job_id in ids]
    assert [told(each["nodes"]) for each in of_jobs] == [[], queued(ids[1])[1:], queued(ids[2])]
    # Each leads on behind all that there is, also where nothing is left.
    assert [each["pageInfo"]["endCursor"] for each in of_jobs] == [feed_cursor(6)] * 3
    assert (await gateway.data(READ_LOG, after=feed_cursor(6)))["events"]["nodes"] == []


async def test_a_filter_that_makes_no_sense_is_refused_with_its_place(gateway: LiveGateway) -> None:
    jobs = {"from": "2026-02-01", "to": "2026-01-01"}
    async with gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW, filter={"jobs": jobs})
        [error] = (await socket.receive())["payload"]
    issue = {"path": ["filter", "jobs", "to"], "message": "is before from"}
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "issues": [issue]}


# ---------------------------------------------------------------- what is left behind


async def test_completing_a_subscription_ends_it_and_leaves_the_others(gateway: LiveGateway) -> None:
    async with gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW)
        await socket.subscribe("2", FOLLOW)
        await gateway.until_subscribers(2)
        await socket.complete("1")
        await gateway.until_subscribers(1)
        job_id = await gateway.dispatched()
        assert told(await events(socket, 2, "2")) == queued(job_id)
        await socket.complete("2")
        await gateway.until_subscribers(0)


async def test_an_id_can_be_used_again_once_it_is_completed(gateway: LiveGateway) -> None:
    async with gateway.socket() as socket:
        await socket.subscribe("1", FOLLOW)
        await gateway.until_subscribers(1)
        await socket.complete("1")
        await socket.subscribe("1", FOLLOW, after=BEGINNING)
        job_id = await gateway.dispatched()
        assert told(await events(socket, 2)) == queued(job_id)


@pytest.mark.parametrize("politely", [True, False])
async def test_a_client_that_is_gone_leaves_no_subscriber(gateway: LiveGateway, politely: bool) -> None:
    async with gateway.socket() as other, gateway.socket() as socket:
        await other.subscribe("1", FOLLOW)
        for id_ in ("1", "2"):
            await socket.subscribe(id_, FOLLOW)
        await gateway.until_subscribers(3)
        if politely:
            await socket.connection.close()
        else:
            socket.vanish()
        await gateway.until_subscribers(1)
        job_id = await gateway.dispatched()
        assert told(await events(other, 2)) == queued(job_id)
