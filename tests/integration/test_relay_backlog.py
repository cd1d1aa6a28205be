"""The relay behind a backlog: what happens now is told at once, what has waited longest next, and everything in the end."""

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import groupby
from typing import Any, Final

import pytest
from pymongo.errors import AutoReconnect

from gateway.devstack import Servers
from jobs.bulk import BulkRequest
from jobs.errors import StoreUnavailable
from jobs.events import EventType
from jobs.feed import JobEvent
from jobs.filters import JobFilter
from jobs.job import Job
from jobs.lifecycle import Action
from resolvers.bulk import begin_bulk
from resolvers.steering import delete
from storage.client import Database
from storage.leases import Lease
from storage.outbox import Deposed, Outbox, oldest_untold
from storage.projection import Projection
from tests.factories import NOW, SECOND
from tests.installation import ANN, Installation, installed, offer
from worker import relay

LIMIT: Final = 5
BACKLOG: Final = 8 * LIMIT


@pytest.fixture
async def installation(database: Database, servers: Servers, redis_url: str) -> AsyncIterator[Installation]:
    await offer(database, "demo.echo")
    async with installed(database, servers.mongodb_url, redis_url) as installation:
        yield installation


async def waiting(installation: Installation, database: Database, count: int, since: timedelta) -> list[Job]:
    """Jobs that have events to tell, a second after one another."""
    jobs = [await installation.dispatch() for _ in range(count)]
    for number, job in enumerate(jobs):
        happened_at = NOW + since + number * SECOND
        await database["jobs"].update_one({"_id": job.id}, {"$set": {"outbox.$[].at": happened_at}})
    return jobs


def ids(jobs: list[Job]) -> set[str]:
    return {job.id for job in jobs}


def told_of(events: list[JobEvent]) -> set[str]:
    return {event.job_id for event in events}


async def test_without_a_backlog_everything_is_told_the_oldest_first(
    installation: Installation, database: Database
) -> None:
    jobs = await waiting(installation, database, LIMIT - 1, timedelta())
    events = await Outbox(database).relay(LIMIT)
    assert [job_id for job_id, _ in groupby(event.job_id for event in events)] == [job.id for job in jobs]


async def test_what_happens_now_does_not_wait_for_the_backlog(installation: Installation, database: Database) -> None:
    backlog = await waiting(installation, database, BACKLOG, timedelta())
    fresh = await waiting(installation, database, LIMIT, timedelta(days=1))
    assert told_of(await Outbox(database).relay(LIMIT)) == ids(backlog[:LIMIT]) | ids(fresh)


async def test_the_backlog_does_not_wait_for_what_happens_now(installation: Installation, database: Database) -> None:
    """However much that is: here more than can be told, in each round."""
    backlog = await waiting(installation, database, BACKLOG, timedelta())
    for number in range(BACKLOG // LIMIT):
        await waiting(installation, database, 2 * LIMIT, timedelta(days=1 + number))
        told = told_of(await Outbox(database).relay(LIMIT))
        assert told & ids(backlog) == ids(backlog[number * LIMIT : (number + 1) * LIMIT])
        assert len(told) == 2 * LIMIT


async def test_a_backlog_drains_to_the_last_event_each_told_once_and_in_the_order_of_its_job(
    installation: Installation, database: Database
) -> None:
    backlog = await waiting(installation, database, BACKLOG, timedelta())
    # What happens to a job while its first events are waiting comes behind these: here to one at either end, and in the middle.
    cancelled = (backlog[LIMIT], backlog[BACKLOG // 2], backlog[-LIMIT - 1])
    await Outbox(database).relay(LIMIT)
    for job in cancelled:
        await installation.cancel(job)
    while await Outbox(database).relay(LIMIT):
        pass
    events = await installation.services.events.read(0, 10 * BACKLOG)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    for job in backlog:
        numbers = [event.seq for event in events if event.job_id == job.id]
        assert numbers == ([1, 2, 3] if job in cancelled else [1, 2])


async def bulk_backlog(installation: Installation, database: Database) -> list[Job]:
    """Jobs of which nothing has to be told but that an operation on all of them has cancelled them."""
    jobs = [await installation.dispatch() for _ in range(BACKLOG)]
    while await Outbox(database).relay(500):
        pass
    await begin_bulk(installation.services, ANN, BulkRequest(Action.CANCEL, JobFilter(product=(jobs[0].product,))))
    return jobs


async def test_single_jobs_do_not_wait_for_an_operation_on_many_nor_it_for_them(
    installation: Installation, database: Database
) -> None:
    """Even for what happened to the same jobs since, and wherever it stands among them: here in the middle."""
    backlog = await bulk_backlog(installation, database)
    deleted = backlog[BACKLOG // 2]
    await delete(installation.services, ANN, deleted.id)
    fresh = [await installation.dispatch() for _ in range(LIMIT - 3)]
    events = await Outbox(database).relay(LIMIT)
    assert told_of(events) == ids([deleted, *fresh, *backlog[:2]])
    assert [event.type for event in events if event.job_id == deleted.id] == [
        *(EventType.JOB_CANCELLED, EventType.JOB_DELETED),
    ]
    rest = []
    for number in range(4):
        crowd = await waiting(installation, database, 3 * LIMIT, timedelta(days=1 + number))
        told = told_of(await Outbox(database).relay(LIMIT))
        assert len(told & ids(crowd)) >= LIMIT
        rest += [job for job in backlog if job.id in told]
    assert rest == [job for job in backlog if job is not deleted][2 : 2 + 4 * LIMIT]


async def test_what_a_job_has_to_tell_from_before_an_operation_on_many_does_not_wait_for_that(
    installation: Installation, database: Database
) -> None:
    await bulk_backlog(installation, database)
    fresh = await installation.dispatch(product="other")
    await begin_bulk(installation.services, ANN, BulkRequest(Action.CANCEL, JobFilter(product=("other",))))
    assert fresh.id in told_of(await Outbox(database).relay(1))


async def test_the_oldest_that_waits_is_found_among_both(installation: Installation, database: Database) -> None:
    assert await oldest_untold(database["jobs"]) is None
    await bulk_backlog(installation, database)
    cancelled_at = (await database["jobs"].find_one({}))["cancelled"]["at"]
    await waiting(installation, database, 1, timedelta(days=1000))
    assert await oldest_untold(database["jobs"]) == cancelled_at
    await waiting(installation, database, 1, timedelta())
    assert await oldest_untold(database["jobs"]) == NOW


async def test_events_of_a_job_keep_their_order_where_the_clock_of_the_database_went_backwards(
    installation: Installation, database: Database
) -> None:
    """Such as after a failover to a member whose clock is behind."""
    job = await installation.dispatch()
    await database["jobs"].update_one({"_id": job.id}, {"$set": {"outbox.1.at": NOW - timedelta(days=1)}})
    assert [event.seq for event in await Outbox(database).relay(LIMIT)] == [1, 2]


async def test_a_job_at_both_ends_is_told_of_once(installation: Installation, database: Database) -> None:
    jobs = await waiting(installation, database, LIMIT + 2, timedelta())
    events = await Outbox(database).relay(LIMIT)
    assert sorted((event.job_id, event.seq) for event in events) == [(job.id, seq) for job in jobs for seq in (1, 2)]


async def test_readers_are_told_before_the_jobs_have_forgotten_their_events(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for one write less, and hear of it even if that write fails."""
    await installation.dispatch()
    told: list[int] = []

    async def fail(*_: object) -> None:
        told.append(-1)
        raise StoreUnavailable("MongoDB", "gone")

    monkeypatch.setattr(Outbox, "_empty", fail)
    with pytest.raises(StoreUnavailable):
        await Outbox(database).relay(LIMIT, lambda: told.append(1))
    assert told == [1, -1]
    assert len(await installation.services.events.read(0, 10)) == 2


async def test_a_relay_that_another_has_stood_in_for_goes_on_behind_it(
    installation: Installation, database: Database
) -> None:
    """It remembers the number that it gave last: where that was not the last one, it is told, and looks."""
    first, second = Outbox(database), Outbox(database)
    for outbox in (first, first, second):
        await installation.dispatch()
        await outbox.relay(LIMIT)
    await installation.dispatch()
    with pytest.raises(Deposed):
        await first.relay(LIMIT)
    assert [event.number for event in await first.relay(LIMIT)] == [7, 8]
    await installation.dispatch()
    with pytest.raises(Deposed):
        await second.relay(LIMIT)
    assert [event.number for event in await installation.services.events.read(0, 20)] == list(range(1, 9))


async def test_a_relay_that_takes_over_again_looks_before_it_goes_on(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals = installation.services.signals
    first, second = (
        relay.Relay(
            Outbox(database), Projection(database), Lease(database, "relay", name, relay.LEASE), signals, always
        )
        for name in ("first", "second")
    )
    for number, one in enumerate((first, second, first), start=1):
        await installation.dispatch()
        monkeypatch.setattr(one, "_renew_at", 0.0)
        assert await one.run_once() == 0
        await one.stop()
        assert await installation.services.events.head() == 2 * number


async def test_a_relay_that_does_not_know_whether_its_numbers_were_given_looks(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(database)
    await installation.dispatch()
    await outbox.relay(LIMIT)
    insert_many = type(outbox._events).insert_many

    async def insert_unanswered(self: Any, *given: Any, **options: Any) -> None:
        await insert_many(self, *given, **options)
        raise AutoReconnect("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(type(outbox._events), "insert_many", insert_unanswered)
        await installation.dispatch()
        with pytest.raises(StoreUnavailable):
            await outbox.relay(LIMIT)
    await installation.dispatch()
    assert [event.number for event in await outbox.relay(LIMIT)] == [5, 6]


async def test_nothing_is_counted_while_more_may_come(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a job does next would wait until it is counted what it has done."""
    monkeypatch.setattr(relay, "_QUIET", 60.0)
    monkeypatch.setattr(relay, "_COUNT_EVERY", 60.0)
    lease = Lease(database, "relay", "me", relay.LEASE)
    one = relay.Relay(Outbox(database), Projection(database), lease, installation.services.signals, always)
    # What others may have left is counted at once; from then on nothing is, for these times.
    assert await one.run_once() == 1
    await installation.dispatch()
    assert await one.run_once() == 0
    assert 0 < await one.run_once() <= 60
    assert await database["projections"].count_documents({}) == 0
    monkeypatch.setattr(one, "_quiet_from", 0.0)
    while await one.run_once() == 0:
        pass
    assert await database["projections"].find_one() == {"_id": "statistics", "position": 2, "until": None}
    await one.stop()


async def always() -> bool:
    return True
