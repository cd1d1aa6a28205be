"""The buffer of one subscriber: bounded, and never with a gap."""

import asyncio

import pytest

from jobs.errors import CursorExpired, SubscriberTooSlow
from jobs.events import EventType
from jobs.feed import JobEvent, Snapshot, feed_number
from jobs.lifecycle import JobStatus
from resolvers.hub import BUFFER, Subscriber
from tests.factories import NOW

SNAPSHOT = Snapshot(JobStatus.QUEUED, False, "demo", "echo", "shop", "prd", (), NOW, NOW, 0, None, None)


def offer(subscriber: Subscriber, start: int, end: int) -> None:
    for number in range(start, end):
        subscriber.offer(JobEvent(number, "job_1", number, EventType.JOB_QUEUED, NOW, None, None, SNAPSHOT))


async def test_events_come_in_order_and_none_from_before_its_position() -> None:
    subscriber = Subscriber(position=2)
    offer(subscriber, 1, 5)
    assert [(await subscriber.next()).number for _ in range(2)] == [3, 4]
    assert subscriber.position == 4


async def test_it_waits_for_an_event() -> None:
    subscriber = Subscriber(position=0)
    waiting = asyncio.ensure_future(subscriber.next())
    asyncio.get_running_loop().call_soon(offer, subscriber, 3, 4)
    async with asyncio.timeout(5):
        assert (await waiting).number == 3


async def test_one_that_does_not_keep_up_gets_what_fitted_and_then_the_cursor() -> None:
    subscriber = Subscriber(position=0)
    offer(subscriber, 1, BUFFER + 2)
    assert (await subscriber.next()).number == 1
    # There is room again, but the event that did not fit is lost to this buffer: what follows it must not be delivered.
    offer(subscriber, BUFFER + 2, BUFFER + 3)
    numbers = [(await subscriber.next()).number for _ in range(BUFFER - 1)]
    assert numbers[-1] == BUFFER
    with pytest.raises(SubscriberTooSlow) as slow:
        await subscriber.next()
    assert feed_number(slow.value.cursor) == BUFFER


async def test_one_that_has_failed_gets_what_came_before_and_nothing_from_behind_the_gap() -> None:
    subscriber = Subscriber(position=0)
    offer(subscriber, 1, 2)
    subscriber.fail(CursorExpired())
    offer(subscriber, 9, 10)
    assert (await subscriber.next()).number == 1
    with pytest.raises(CursorExpired):
        await subscriber.next()
