"""What one reader of the log has to do with its many subscribers, and they with each other."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from jobs.errors import StoreUnavailable
from jobs.feed import JobEvent
from jobs.filter_index import FilterIndex
from jobs.filters import EventFilter
from resolvers.following import job_events
from resolvers.hub import EventHub, Subscriber
from storage.client import Database
from storage.events import EventLog
from storage.redis import close_redis, open_redis
from storage.signals import Topic
from storage.wakeups import Wakeups
from tests.installation import ANN, Installation, relayed

ALL = EventFilter()


@asynccontextmanager
async def hub_elsewhere(database: Database, redis_url: str) -> AsyncIterator[EventHub]:
    """That of another gateway, which hands out when it is told to."""
    redis = await open_redis(redis_url, database.name)
    yield EventHub(EventLog(database), Wakeups(redis, database.name, []))
    await close_redis(redis)


class AskedNoneInVain(FilterIndex[Subscriber]):
    """Subscribers of whom only those are asked that may want an event."""

    def __iter__(self) -> Iterator[Subscriber]:
        raise AssertionError("everybody was asked")


async def test_as_long_as_nothing_is_missing_only_those_who_want_an_event_are_asked(
    installation: Installation, database: Database, redis_url: str
) -> None:
    """With thousands of subscribers, each batch of events would cost a walk through all of them."""
    events = await relayed(installation, database, 2)
    async with hub_elsewhere(database, redis_url) as hub:
        hub._subscribers = AskedNoneInVain()
        async with hub.subscribe(ALL, 0) as subscriber:
            await hub._hand_out()
            assert [await subscriber.next() for _ in events] == events


async def test_a_gateway_that_lags_behind_the_one_before_tells_exactly_what_is_left(
    installation: Installation, database: Database, redis_url: str
) -> None:
    events = await relayed(installation, database, 3)
    async with hub_elsewhere(database, redis_url) as hub, asyncio.timeout(10):
        hub.position = 2
        following = job_events(replace(installation.services, hub=hub), ANN, ALL, events[3].cursor)
        first = asyncio.ensure_future(anext(following))
        while not (hub._subscribers or first.done()):
            await installation.services.events.head()
        await hub._hand_out()
        assert [await first, await anext(following)] == events[4:]
        [subscriber] = hub._subscribers
        assert not subscriber._buffer
        await following.aclose()


async def test_one_who_is_told_much_leaves_turns_to_others(installation: Installation, database: Database) -> None:
    """Both while the log is read and while what is buffered is told, nothing else has anybody wait."""
    [first, _] = await relayed(installation, database, 1)
    loop, turns = asyncio.get_running_loop(), 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(turn)

    async def turns_within(events: AsyncGenerator[JobEvent, None], told: int) -> int:
        await anext(events)
        before = turns
        for _ in range(told - 1):
            await anext(events)
        return turns - before

    document = await database["events"].find_one({"_id": 2})
    async with asyncio.timeout(10), aclosing(job_events(installation.services, ANN, ALL, first.cursor)) as events:
        await anext(events)
        waiting = asyncio.ensure_future(anext(events))
        await database["events"].insert_many([{**document, "_id": n, "job_id": f"job_{n}"} for n in range(3, 303)])
        installation.services.signals.wake(Topic.FEED)
        assert (await waiting).number == 3
        while installation.services.hub.position < 302:
            await installation.services.events.head()
        loop.call_soon(turn)
        assert await turns_within(events, 299) == 6
        async with aclosing(job_events(installation.services, ANN, ALL, first.cursor)) as replay:
            assert await turns_within(replay, 301) == 6


async def test_a_log_that_a_new_primary_does_not_show_to_its_end_yet_is_not_passed_over(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = await relayed(installation, database, 3)
    read = EventLog.read

    async def see_less(self: EventLog, after: int, limit: int) -> list[JobEvent]:
        return [event for event in await read(self, after, limit) if event.number <= 4]

    monkeypatch.setattr(EventLog, "read", see_less)
    while installation.services.hub.position < len(events):
        await installation.services.hub._hand_out()
    async with aclosing(job_events(installation.services, ANN, ALL, events[1].cursor)) as following:
        assert [await anext(following), await anext(following)] == events[2:4]
        with pytest.raises(StoreUnavailable):
            await anext(following)
