"""What one reader of the log has to do with its many subscribers, and they with each other."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

import resolvers.hub
from jobs.access import EVERYWHERE
from jobs.errors import StoreUnavailable
from jobs.feed import JobEvent
from jobs.filter_index import FilterIndex
from jobs.filters import EventFilter
from resolvers.following import job_events
from resolvers.hub import EventHub, Subscriber
from storage.client import Database
from storage.documents import Document
from storage.events import EventLog, Unreadable
from storage.redis import close_redis, open_redis
from storage.signals import Topic
from storage.wakeups import Wakeups
from tests.installation import ANN, Installation, relayed
from tests.integration.test_defects import logged

ALL = EventFilter()


class SlowLog(EventLog):
    """Takes its time over each reading, until ``ready``."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.ready = asyncio.Event()
        self.ready.set()

    async def read_until_unreadable(self, after: int, limit: int) -> tuple[list[JobEvent], Unreadable | None]:
        await self.ready.wait()
        return await super().read_until_unreadable(after, limit)


@asynccontextmanager
async def hub_elsewhere(
    database: Database, redis_url: str, kind: type[EventLog] = EventLog
) -> AsyncIterator[tuple[EventHub, EventLog]]:
    """That of another gateway, which hands out when it is told to."""
    redis = await open_redis(redis_url, database.name)
    log = kind(database)
    hub = EventHub(log, Wakeups(redis, database.name, [Topic.FEED]))
    yield hub, log
    await hub.close()
    await close_redis(redis)


class AskedNoneInVain(FilterIndex[Subscriber]):
    """Subscribers of whom only those are asked that may want an event."""

    def __iter__(self) -> Iterator[Subscriber]:
        raise AssertionError("everybody was asked")


class Defective(FilterIndex[Subscriber]):
    """Cannot say who wants an event."""

    def interested(self, event: JobEvent) -> Iterator[Subscriber]:
        raise ZeroDivisionError


async def test_as_long_as_nothing_is_missing_only_those_who_want_an_event_are_asked(
    installation: Installation, database: Database, redis_url: str
) -> None:
    """With thousands of subscribers, each batch of events would cost a walk through all of them."""
    events = await relayed(installation, database, 2)
    async with hub_elsewhere(database, redis_url) as (hub, _):
        hub._subscribers = AskedNoneInVain()
        async with hub.subscribe(EVERYWHERE, ALL, 0) as subscriber:
            await hub._hand_out()
            assert [await subscriber.next() for _ in events] == events


async def test_a_gateway_that_lags_behind_the_one_before_tells_exactly_what_is_left(
    installation: Installation, database: Database, redis_url: str
) -> None:
    events = await relayed(installation, database, 3)
    async with hub_elsewhere(database, redis_url) as (hub, _), asyncio.timeout(10):
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
    read = EventLog._documents

    async def see_less(self: EventLog, after: int, limit: int) -> list[Document]:
        return [document for document in await read(self, after, limit) if document["_id"] <= 4]

    while installation.services.hub.position < len(events):
        await installation.services.hub._hand_out()
    monkeypatch.setattr(EventLog, "_documents", see_less)
    async with aclosing(job_events(installation.services, ANN, ALL, events[1].cursor)) as following:
        assert [await anext(following), await anext(following)] == events[2:4]
        with pytest.raises(StoreUnavailable):
            await anext(following)


@pytest.mark.parametrize(
    ("told", "after", "expected"),
    [
        ([], 2, []),
        ([3, 4], 2, [3, 4]),
        ([1, 2, 3], 2, [3]),
        ([1, 2], 2, []),
        ([4, 5], 2, None),
        ([3, 5], 2, None),
    ],
)
async def test_what_is_told_of_the_log_is_taken_where_it_goes_on_and_read_where_it_does_not(
    database: Database, told: list[int], after: int, expected: list[int] | None
) -> None:
    continued = EventLog(database).continued([logged(number) for number in told], after)
    assert (None if continued is None else [event.number for event in continued[0]]) == expected


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is slow to answer for once is another matter: what it is about to tell is read then."""
    monkeypatch.setattr("storage.changes._ANSWER_WITHIN", 30.0)


@pytest.mark.usefixtures("_patient")
async def test_an_event_is_handed_out_as_it_was_told_and_the_log_is_not_read(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: object) -> list[object]:
        raise AssertionError("the log was read")

    await relayed(installation, database, 2)
    hub = installation.services.hub
    async with asyncio.timeout(10):
        while hub._looks or not hub._news._complete:
            await installation.services.events.head()
    monkeypatch.setattr(hub, "_look_at", math.inf)
    monkeypatch.setattr(EventLog, "_documents", read)
    await relayed(installation, database, 2)


@pytest.mark.usefixtures("_patient")
async def test_what_is_told_of_while_it_is_read_is_handed_out_once(
    installation: Installation, database: Database, redis_url: str
) -> None:
    async with hub_elsewhere(database, redis_url, SlowLog) as (hub, log), asyncio.timeout(20):
        assert isinstance(log, SlowLog)
        await hub.start()
        async with hub.subscribe(EVERYWHERE, ALL, 0) as subscriber:
            while not hub._news._complete:
                await log.head()
            log.ready.clear()
            while not log.ready._waiters:
                await log.head()
            events = await relayed(installation, database, 2)
            while not (hub._news._told or hub.position):
                await log.head()
            log.ready.set()
            events += await relayed(installation, database, 1)
            assert [await subscriber.next() for _ in events] == events
            assert not subscriber._buffer


@pytest.mark.usefixtures("_patient")
async def test_of_what_is_told_nobody_waits_for_the_turn_of_the_tail(
    installation: Installation, database: Database, redis_url: str
) -> None:
    async with hub_elsewhere(database, redis_url) as (hub, log), asyncio.timeout(20):
        hub._news.start()
        async with hub.subscribe(EVERYWHERE, ALL, 0) as subscriber:
            while not hub._news._complete:
                await log.head()
            events = await relayed(installation, database, 2)
            assert [await subscriber.next() for _ in events] == events


@pytest.mark.usefixtures("_patient")
async def test_a_defect_in_handing_out_what_is_told_is_told_to_those_who_wait(
    installation: Installation, database: Database, redis_url: str
) -> None:
    async with hub_elsewhere(database, redis_url) as (hub, log), asyncio.timeout(20):
        hub._news.start()
        hub._subscribers = Defective()
        async with hub.subscribe(EVERYWHERE, ALL, 0) as subscriber:
            while not hub._news._complete:
                await log.head()
            await relayed(installation, database, 1)
            with pytest.raises(ZeroDivisionError):
                await subscriber.next()


async def test_what_is_told_and_cannot_be_handed_out_is_left_to_the_tail(
    database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as where some of it was told to nobody: the tail looks at once, rather than a second later."""
    monkeypatch.setattr(resolvers.hub, "_POLL_EVERY", 60)
    await database["events"].insert_one(logged(1))
    async with hub_elsewhere(database, redis_url) as (hub, log), asyncio.timeout(20):
        await hub.start()
        while hub._looks or not hub._news._complete:
            await log.head()
        hub._look_at, hub.position = math.inf, 0
        async with hub.subscribe(EVERYWHERE, ALL, 0) as subscriber:
            await database["events"].insert_many([logged(number) for number in (2, 3)])
            assert [(await subscriber.next()).number for _ in range(3)] == [1, 2, 3]


async def test_an_event_that_is_never_told_of_is_read_a_second_later(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where wake-ups never end: what they are for was told to somebody else, or to nobody."""
    monkeypatch.setattr(installation.services.hub._news, "take", list)

    async def wake_all_the_time() -> None:
        while True:
            installation.services.hub._wakeups.wake(Topic.FEED)
            await installation.services.events.head()

    waking = asyncio.create_task(wake_all_the_time())
    await relayed(installation, database, 2)
    waking.cancel()
    await asyncio.wait({waking})


async def test_nobody_who_takes_events_as_they_come_is_too_slow_for_many_at_once(
    installation: Installation, database: Database
) -> None:
    """Even if more are told of at once than wait for anybody."""
    await relayed(installation, database, 1)
    many = resolvers.hub.BUFFER + 800
    await database["events"].insert_many([logged(number) for number in range(3, 3 + many)])
    await installation.until_told(lambda: len(installation.told) == 2 + many)
