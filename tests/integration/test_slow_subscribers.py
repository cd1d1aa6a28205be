"""A client that does not take what it has asked for: it costs the gateway little, and learns where to go on, or is let go."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from gateway.devstack import Servers
from jobs.feed import feed_cursor, feed_number
from resolvers.hub import BUFFER
from storage.client import Database
from storage.signals import Topic
from tests.event_streams import Event
from tests.gateway import HOST, LiveGateway, serving
from tests.sockets import Socket

pytestmark = pytest.mark.usefixtures("nothing_is_logged")

FOLLOW: Final = """
    subscription ($filter: JobEventFilter, $after: String) {
        jobEvents(filter: $filter, after: $after) { cursor reason }
    }
"""
WANTED: Final = {"jobs": {"product": ["shop"]}}
REASON: Final = "x" * 4000
FLOOD: Final = 5_000
"""Events of which the client wants half: more than the machine takes in for a client that does not read."""

HIGH_WATER: Final = 64 * 1024
"""Where asyncio's transports call a halt to who writes."""


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        yield gateway


@asynccontextmanager
async def idler(gateway: LiveGateway, after: str | None = None) -> AsyncIterator[Socket]:
    """A client that has subscribed and then takes nothing, unless it is made to."""
    connection = socket.socket()
    # As little as possible is to be lost from sight between the two.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((HOST, gateway.port))
    async with gateway.socket(sock=connection, compression=None, max_queue=1) as client:
        await client.subscribe("1", FOLLOW, filter=WANTED, after=after)
        yield client
        # Without a farewell, for the answer to which it would have to read.
        client.vanish()


async def flood(gateway: LiveGateway, database: Database) -> None:
    """Have very much happen, half of it to jobs that the client wants to hear of, and wait until all is handed out."""
    await gateway.dispatched()
    await gateway.until(lambda: gateway.services.hub.position == 2)
    event = await database["events"].find_one({"_id": 2})
    for start in range(3, FLOOD + 3, 500):
        await database["events"].insert_many(
            {
                **event,
                "_id": number,
                "job_id": f"job_{number}",
                "product": ("shop", "toys")[number % 2],
                "reason": REASON,
            }
            for number in range(start, start + 500)
        )
    gateway.services.signals.wake(Topic.FEED)
    await gateway.until(lambda: gateway.services.hub.position == FLOOD + 2)


async def test_a_client_that_stops_reading_costs_little_and_learns_where_to_go_on(
    gateway: LiveGateway, database: Database
) -> None:
    async with idler(gateway) as client:
        await gateway.until_subscribers(1)
        await flood(gateway, database)
        [subscriber] = gateway.services.hub._subscribers
        assert len(subscriber._buffer) == BUFFER
        [unsent] = gateway.unsent
        assert HIGH_WATER <= unsent < HIGH_WATER + 2 * len(REASON)
        heard = []
        while "errors" not in (payload := (await client.receive())["payload"]):
            heard.append(feed_number(payload["data"]["jobEvents"]["cursor"]))
        [error] = payload["errors"]
        assert error["extensions"] == {"code": "SUBSCRIBER_TOO_SLOW", "cursor": feed_cursor(heard[-1])}
        assert await client.receive() == {"id": "1", "type": "complete"}
        await gateway.until_subscribers(0)
        # Behind the cursor comes what did not fit, and nothing else. A replay waits for its reader: nothing is too much.
        await client.subscribe("1", FOLLOW, filter=WANTED, after=error["extensions"]["cursor"])
        wanted = [1, 2, *range(4, FLOOD + 3, 2)]
        while len(heard) < len(wanted):
            heard.append(feed_number((await client.next("1", "jobEvents"))["cursor"]))
        assert heard == wanted


async def test_a_client_that_takes_nothing_for_long_is_let_go_of(
    servers: Servers, database_name: str, redis_url: str, database: Database
) -> None:
    """What waits for it would otherwise keep the connection open for as long as it likes."""
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        await flood(gateway, database)
        async with idler(gateway, after=feed_cursor(0)):
            await gateway.until(lambda: any(unsent >= HIGH_WATER for unsent in gateway.unsent))
            # Only now does it begin to count: a busy machine takes its time to send so much.
            [websocket] = gateway.websockets
            websocket.stop_keepalive()
            websocket.ping_interval = websocket.ping_timeout = 1.0
            websocket.start_keepalive()
            await gateway.until(lambda: gateway.unsent == [])


async def test_the_answers_to_a_client_that_only_asks_do_not_pile_up(gateway: LiveGateway, database: Database) -> None:
    async with idler(gateway) as client:
        await gateway.until_subscribers(1)
        await flood(gateway, database)
        for number in range(2000):
            await client.connection.ping(f"{number:0125}")
        # Once this is done, all that came before it has been read.
        await client.complete("1")
        await gateway.until_subscribers(0)
        [unsent] = gateway.unsent
        assert HIGH_WATER <= unsent < HIGH_WATER + 2 * len(REASON)


@asynccontextmanager
async def breaker(gateway: LiveGateway, database: Database, sent: str) -> AsyncIterator[Socket]:
    """A client that does not read either, and has sent something to which the gateway cannot tell its answer."""
    async with idler(gateway) as client:
        await gateway.until_subscribers(1)
        # Else the system would take all that waits at once, and end the connection before anybody could go on.
        [websocket] = gateway.websockets
        websocket.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await flood(gateway, database)
        await gateway.until(lambda: senders(gateway) == [1])
        await client.connection.send(sent)
        # Its subscription waits for it to take the next event, and now the answer does as well.
        await gateway.until(lambda: senders(gateway) == [2])
        yield client


def senders(gateway: LiveGateway) -> list[int]:
    """For each WebSocket, how many wait for the client to take something, so that they can go on."""
    return [len(websocket.writable._waiters) for websocket in gateway.websockets]


async def test_one_that_breaks_the_protocol_before_it_reads_on_is_told_so(
    gateway: LiveGateway, database: Database
) -> None:
    async with breaker(gateway, database, "nonsense") as client:
        assert await client.closed_at_last() == (4400, "WebSocket message must be valid JSON")
        await gateway.until_subscribers(0)


async def test_one_that_breaks_the_protocol_and_vanishes_is_forgotten(gateway: LiveGateway, database: Database) -> None:
    async with breaker(gateway, database, "nonsense") as client:
        client.vanish()
        await gateway.until(lambda: gateway.websockets == [])
        await gateway.until_subscribers(0)


async def test_one_that_sends_bad_frames_while_it_is_to_be_answered_is_told_so(
    gateway: LiveGateway, database: Database
) -> None:
    async with breaker(gateway, database, '{"type": "ping"}') as client:
        client.connection.transport.write(b"\x83\x80\x00\x00\x00\x00")
        await gateway.until(lambda: gateway.websockets[0].close_sent)
        assert (await client.closed_at_last())[0] == 1002
        await gateway.until_subscribers(0)


async def test_an_event_stream_that_nobody_reads_ends_with_where_to_go_on(
    gateway: LiveGateway, database: Database
) -> None:
    async with gateway.stream(FOLLOW, filter=WANTED) as stream:
        await gateway.until_subscribers(1)
        await flood(gateway, database)
        [subscriber] = gateway.services.hub._subscribers
        assert len(subscriber._buffer) == BUFFER
        *events, failure, complete = await stream.rest()
    cursors = [event.id for event in events]
    assert cursors == [event.data["data"]["jobEvents"]["cursor"] for event in events]
    [error] = failure.data["errors"]
    assert (failure.name, failure.id, failure.data.keys()) == ("next", None, {"errors"})
    assert error["extensions"] == {"code": "SUBSCRIBER_TOO_SLOW", "cursor": cursors[-1]}
    assert complete == Event("complete", None, None)
    await gateway.until_subscribers(0)
    wanted = [feed_cursor(number) for number in (1, 2, *range(4, FLOOD + 3, 2))]
    async with gateway.stream(FOLLOW, last_event_id=cursors[-1], filter=WANTED) as stream:
        while len(cursors) < len(wanted):
            cursors.append((await stream.told("jobEvents"))["cursor"])
    assert cursors == wanted
