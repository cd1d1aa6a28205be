"""Following the event log: replay, then live, without a gap or a repetition."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest

from jobs.access import EVERYWHERE, Reach
from jobs.errors import BadCursor, CursorExpired, InvalidInput
from jobs.events import EventType
from jobs.feed import JobEvent, feed_cursor
from jobs.filters import EventFilter, JobFilter
from resolvers.following import job_events
from resolvers.hub import EventHub
from resolvers.log import events_of_jobs, list_events
from storage.client import Database
from storage.events import EventLog, Passage
from storage.outbox import Deposed, Outbox
from storage.redis import close_redis, open_redis
from storage.signals import Topic
from storage.wakeups import Wakeups
from tests.installation import ANN, Installation, relayed

ALL = EventFilter()


async def taken(
    installation: Installation, count: int, wanted: EventFilter = ALL, after: str | None = None
) -> list[JobEvent]:
    async with aclosing(job_events(installation.services, ANN, wanted, after)) as events, asyncio.timeout(10):
        return [await anext(events) for _ in range(count)]


async def test_the_log_is_dense_and_in_the_order_of_each_job(installation: Installation, database: Database) -> None:
    events = await relayed(installation, database, 20)
    assert [event.number for event in events] == list(range(1, 41))
    by_job: dict[str, list[int]] = {}
    for event in events:
        by_job.setdefault(event.job_id, []).append(event.seq)
    assert list(by_job.values()) == [[1, 2]] * 20


async def test_replay_begins_behind_the_cursor(installation: Installation, database: Database) -> None:
    events = await relayed(installation, database, 5)
    assert await taken(installation, 10, after=feed_cursor(0)) == events
    assert await taken(installation, 7, after=events[2].cursor) == events[3:]


async def test_replay_goes_over_into_live_events(installation: Installation, database: Database) -> None:
    first = await relayed(installation, database, 3)
    following = asyncio.create_task(taken(installation, 10, after=first[1].cursor))
    second = await relayed(installation, database, 3)
    assert await following == first[2:] + second


async def test_without_a_cursor_only_new_events_come(installation: Installation, database: Database) -> None:
    await relayed(installation, database, 2)
    events = job_events(installation.services, ANN, ALL, None)
    async with aclosing(events):
        following = asyncio.ensure_future(anext(events))
        new = await relayed(installation, database, 1)
        assert await following == new[0]


async def test_a_filter_holds_for_replay_and_live(installation: Installation, database: Database) -> None:
    first = await relayed(installation, database, 2)
    job_id = first[0].job_id
    wanted = EventFilter(types=(EventType.JOB_QUEUED,), jobs=JobFilter(ids=(job_id,)))
    [queued] = await taken(installation, 1, wanted, feed_cursor(0))
    assert (queued.job_id, queued.type) == (job_id, EventType.JOB_QUEUED)
    only_cancelled = EventFilter(types=(EventType.JOB_CANCELLED,))
    following = asyncio.create_task(taken(installation, 1, only_cancelled, feed_cursor(0)))
    job = await installation.services.jobs.find(EVERYWHERE, job_id)
    assert job is not None
    await installation.cancel(job)
    await Outbox(database).relay(10)
    installation.services.signals.wake(Topic.FEED)
    [cancelled] = await following
    assert (cancelled.job_id, cancelled.actor) == (job_id, "ann")


async def test_a_cursor_that_the_log_no_longer_reaches_has_expired(
    installation: Installation, database: Database
) -> None:
    events = await relayed(installation, database, 3)
    await database["events"].delete_many({"_id": {"$lte": 4}})
    with pytest.raises(CursorExpired):
        await taken(installation, 1, after=events[2].cursor)
    assert await taken(installation, 2, after=events[3].cursor) == events[4:]


class PrunedMeanwhile(EventLog):
    """A log that is shortened just before it is read."""

    up_to = 4

    async def read(self, reach: Reach, after: int, limit: int) -> Passage:
        await self._events.delete_many({"_id": {"$lte": self.up_to}})
        return await super().read(reach, after, limit)

    async def of_jobs(
        self, reach: Reach, job_ids: Sequence[str], after: int, limit: int
    ) -> Mapping[str, list[JobEvent]]:
        await self._events.delete_many({"_id": {"$lte": self.up_to}})
        return await super().of_jobs(reach, job_ids, after, limit)


async def test_a_replay_that_pruning_overtakes_fails_rather_than_to_leave_something_out(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resolvers.following._BATCH", 2)
    events = await relayed(installation, database, 5)
    async with aclosing(job_events(installation.services, ANN, ALL, feed_cursor(0))) as replay:
        assert [await anext(replay) for _ in range(2)] == events[:2]
        await database["events"].delete_many({"_id": {"$lte": 4}})
        with pytest.raises(CursorExpired):
            await anext(replay)


async def test_a_page_of_the_log_that_pruning_overtakes_fails_rather_than_to_leave_something_out(
    installation: Installation, database: Database
) -> None:
    events = await relayed(installation, database, 3)
    services = replace(installation.services, events=PrunedMeanwhile(database))
    with pytest.raises(CursorExpired):
        await list_events(services, ANN, ALL, 10, events[2].cursor)
    assert (await list_events(services, ANN, ALL, 10, events[3].cursor)).page.items == events[4:]


async def test_the_events_of_a_job_that_pruning_overtakes_fail_rather_than_to_leave_something_out(
    installation: Installation, database: Database
) -> None:
    events = await relayed(installation, database, 3)
    ids = [events[2].job_id]
    services = replace(installation.services, events=PrunedMeanwhile(database))
    with pytest.raises(CursorExpired):
        await events_of_jobs(services, ANN, ids, 10, events[2].cursor)
    assert (await events_of_jobs(services, ANN, ids, 10, events[3].cursor))[ids[0]].page.items == []


@pytest.mark.parametrize("meanwhile", [False, True])
@pytest.mark.parametrize("size", [0, 1, 10])
async def test_the_log_begins_with_what_is_left_of_it(
    installation: Installation, database: Database, meanwhile: bool, size: int
) -> None:
    events = await relayed(installation, database, 3)
    if not meanwhile:
        await database["events"].delete_many({"_id": {"$lte": 4}})
    services = replace(installation.services, events=PrunedMeanwhile(database))
    listed = await list_events(services, ANN, ALL, size, None)
    items = events[4:][:size]
    assert (listed.page.items, listed.page.has_next) == (items, size < 2)
    assert listed.end == events[3 + len(items)].cursor


async def test_the_end_of_a_job_without_events_is_a_cursor_that_still_leads_on(
    installation: Installation, database: Database
) -> None:
    events = await relayed(installation, database, 3)
    await database["events"].delete_many({"_id": {"$lte": 4}})
    pruned, kept = events[0].job_id, events[4].job_id
    pages = await events_of_jobs(installation.services, ANN, [pruned, kept], 10, None)
    assert (pages[pruned].page.items, pages[kept].page.items) == ([], events[4:])
    # From now: of what is in the log by then, the page has all that is about this job.
    later = await relayed(installation, database, 1)
    assert await taken(installation, 2, after=pages[pruned].end) == later


async def test_a_gateway_that_pruning_overtakes_tells_those_who_miss_something(
    installation: Installation, database: Database, redis_url: str
) -> None:
    events = await relayed(installation, database, 4)
    await database["events"].delete_many({"_id": {"$lte": 4}})
    redis = await open_redis(redis_url, database.name)
    hub = EventHub(EventLog(database), Wakeups(redis, database.name, []))
    hub.position = 1
    async with (
        hub.subscribe(EVERYWHERE, ALL, 1) as behind,
        hub.subscribe(EVERYWHERE, ALL, 4) as level,
        hub.subscribe(EVERYWHERE, ALL, 6) as ahead,
    ):
        await hub._hand_out()
        for subscriber, expected in ((level, events[4:]), (ahead, events[6:])):
            assert [await subscriber.next() for _ in expected] == expected
        with pytest.raises(CursorExpired):
            await behind.next()
    await close_redis(redis)


async def test_a_gateway_that_is_level_goes_on_over_pruned_events(
    installation: Installation, database: Database
) -> None:
    async with installation.services.hub.subscribe(EVERYWHERE, ALL, 0) as subscriber:
        first = await relayed(installation, database, 2)
        await database["events"].delete_many({"_id": {"$lte": 3}})
        second = await relayed(installation, database, 1)
        async with asyncio.timeout(10):
            assert [await subscriber.next() for _ in range(6)] == first + second


@pytest.mark.parametrize("after", ["", "nonsense", feed_cursor(10**6)])
async def test_a_cursor_that_was_never_given_out_is_refused(installation: Installation, after: str) -> None:
    with pytest.raises(BadCursor):
        await taken(installation, 1, after=after)


async def test_too_large_a_filter_is_refused(installation: Installation) -> None:
    with pytest.raises(InvalidInput, match="1001 values"):
        await taken(installation, 1, EventFilter(jobs=JobFilter(ids=("x",) * 1001)))


async def test_a_second_relay_is_fenced_by_the_numbers_of_the_log(
    installation: Installation, database: Database
) -> None:
    """Two relays that both read the head before either writes: one of them is told that it is deposed."""
    await installation.dispatch()
    outbox = Outbox(database)
    outcomes = await asyncio.gather(*(Outbox(database).relay(10) for _ in range(8)), return_exceptions=True)
    for outcome in outcomes:
        assert isinstance(outcome, list | Deposed), outcome
    await outbox.relay(10)
    events = (await installation.services.events.read(EVERYWHERE, 0, 100)).events
    assert [(event.number, event.seq) for event in events] == [(1, 1), (2, 2)]
    assert await outbox.relay(10) == []
