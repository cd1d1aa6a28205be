"""Webhooks to a receiver of the worst kind: each event is taken or dead in the end, in order, under its own id."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from jobs.access import ANYBODY
from jobs.events import EventType
from jobs.feed import feed_cursor
from jobs.filters import EventFilter
from resolvers.log import list_events
from resolvers.services import Services
from tests.gateway import LiveGateway, serving
from tests.receivers import HOSTILE, Reply
from tests.webhooks import OK, SETTINGS, SOON, Message, deliveries, receiving, until_delivered, webhook_id
from worker.context import TaskContext

EVENTS: Final = ("scheduled", "started", "completed")
TERMS: Final = replace(SOON, timeout=timedelta(seconds=1))
"""Some receivers never answer, and there are many of them."""

_TAKES: Final = 0.6
_AT_ONCE: Final = 20
_SECONDS: Final = 400.0


async def echo(_: TaskContext, value: Any) -> Any:
    return value


async def dispatch_all(gateway: LiveGateway, jobs: int) -> None:
    room = asyncio.Semaphore(_AT_ONCE)

    async def dispatch() -> None:
        async with room:
            await gateway.dispatched()

    await asyncio.gather(*(dispatch() for _ in range(jobs)))


async def all_deliveries(gateway: LiveGateway, webhook: str) -> list[dict[str, Any]]:
    """What is noted of each."""
    found: list[dict[str, Any]] = []
    after = None
    while page := await deliveries(gateway, webhook, after=after):
        found += page
        after = await cursor_of_last(gateway, webhook, after)
    return found


async def cursor_of_last(gateway: LiveGateway, webhook: str, after: str | None) -> str:
    document = """
        query ($id: ID!, $after: String) {
            node(id: $id) { ... on Webhook { deliveries(first: 200, after: $after) { pageInfo { endCursor } } } }
        }
    """
    answer = await gateway.data(document, id=webhook, after=after)
    return str(answer["node"]["deliveries"]["pageInfo"]["endCursor"])


async def due_events(services: Services) -> list[tuple[int, str]]:
    """By the log: the number and the job of each event that is to be told."""
    wanted = EventFilter(tuple(EventType(f"job.{event}") for event in EVENTS))
    due: list[tuple[int, str]] = []
    after = feed_cursor(0)
    while True:
        events = await list_events(services, ANYBODY, wanted, 200, after)
        due += [(event.number, event.job_id) for event in events.page.items]
        if not events.page.has_next:
            return due
        after = events.end


@pytest.mark.timeout(500)
async def test_deliveries_to_a_receiver_that_fails_in_every_way(
    servers: Servers, redis_url: str, database_name: str, request: pytest.FixtureRequest
) -> None:
    jobs = request.config.getoption("--deliveries") // len(EVENTS)
    random = Random(2000)  # noqa: S311  # nothing secret hangs on it
    taken: set[str] = set()

    async with (
        serving(servers.mongodb_url, redis_url, database_name, **SETTINGS) as gateway,
        receiving() as receiver,
        gateway.worker({"demo.echo": echo}, delivery=TERMS),
        gateway.worker({"demo.echo": echo}, delivery=TERMS),
    ):

        def reply(number: int) -> Reply:
            if random.random() < _TAKES:
                taken.add(receiver.messages[number].id)
                return OK
            return random.choice(HOSTILE)

        receiver.reply = reply
        webhook = await webhook_id(gateway, receiver.url, *EVENTS)
        await dispatch_all(gateway, jobs)
        async with asyncio.timeout(_SECONDS):
            while not is_over(receiver.messages, taken, jobs * len(EVENTS)):
                receiver.news.clear()
                await receiver.news.wait()
        # The last of them are noted in a moment.
        await until_delivered(gateway, webhook, lambda pending: not pending, status="PENDING")
        found = await all_deliveries(gateway, webhook)
        due = await due_events(gateway.services)

    assert len(due) == jobs * len(EVENTS)
    assert sorted((int(one["id"].rpartition("_")[2]), one["jobId"]) for one in found) == due
    assert {one["status"] for one in found} <= {"DELIVERED", "DEAD"}
    assert {one["id"] for one in found if one["status"] == "DELIVERED"} <= taken
    assert all(one["reason"] for one in found if one["status"] == "DEAD")
    assert len(receiver.messages) > len(due) * 1.3
    check_messages(receiver.messages, len(due))


def is_over(messages: list[Message], taken: set[str], due: int) -> bool:
    """Whether each delivery was taken, or attempted as often as it may be."""
    attempts = Counter(message.id for message in messages)
    return len(attempts) == due and all(id_ in taken or count > len(TERMS.retries) for id_, count in attempts.items())


def check_messages(messages: list[Message], due: int) -> None:
    """All were signed, or they would not be here: see :class:`tests.webhooks.Receiver`."""
    bodies: dict[str, dict[str, Any]] = {}
    first_of_job: defaultdict[str, list[str]] = defaultdict(list)
    for message in messages:
        if message.id not in bodies:
            first_of_job[message.job_id].append(message.event)
        assert bodies.setdefault(message.id, message.body) == message.body
    assert len(bodies) == due
    assert {tuple(told) for told in first_of_job.values()} == {EVENTS}
