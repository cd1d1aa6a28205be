"""The relay behind a backlog: what happens now is told at once, what has waited longest next, and everything in the end."""

from datetime import timedelta
from itertools import groupby
from typing import Final

from jobs.access import EVERYWHERE
from jobs.bulk import BulkRequest
from jobs.events import EventType
from jobs.feed import JobEvent
from jobs.filters import JobFilter
from jobs.job import Job
from jobs.lifecycle import Action
from resolvers.bulk import begin_bulk
from resolvers.steering import delete
from storage.client import Database
from storage.outbox import Outbox, oldest_untold
from tests.factories import NOW, SECOND, every
from tests.installation import ANN, Installation

LIMIT: Final = 5
BACKLOG: Final = 8 * LIMIT


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
    events = (await installation.services.events.read(EVERYWHERE, 0, 10 * BACKLOG)).events
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


async def test_whatever_is_done_to_many_jobs_lets_single_ones_go_first(
    installation: Installation, database: Database
) -> None:
    many = [(await installation.dispatch(schedule=every(86_400))).id for _ in range(2)]
    for action in (Action.PAUSE, Action.RESUME, Action.DELETE):
        while await Outbox(database).relay(500):
            pass
        await begin_bulk(installation.services, ANN, BulkRequest(action, JobFilter(ids=tuple(many))))
        assert await database["jobs"].count_documents({"in_bulk": True}) == 2, action


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
