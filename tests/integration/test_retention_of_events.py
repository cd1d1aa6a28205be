"""How the event log is shortened: from the front, and never where it is still needed."""

from datetime import timedelta

import pytest

from jobs.lifecycle import JobStatus
from jobs.spans import Bucket, floor
from storage.client import Database
from storage.outbox import Outbox
from storage.projection import Projection
from storage.recount import repair_statistics
from storage.retention import Pruned, Retention
from tests.ageing import DAY, MINUTE, ago, job, left, log
from tests.factories import NOW
from tests.integration.test_indexes import event

DONE = JobStatus.COMPLETED


@pytest.fixture
def database(any_database: Database) -> Database:
    """Through each driver."""
    return any_database


async def test_the_log_is_shortened_up_to_the_first_event_that_is_young(database: Database) -> None:
    await log(database, 9 * DAY, 8 * DAY, 6 * DAY, 5 * DAY - MINUTE, 7 * DAY, DAY)
    assert await Retention(database).prune_events(5 * DAY) == Pruned(3, more=False)
    assert await left(database, "events") == {4, 5, 6}


async def test_the_log_is_shortened_batch_by_batch(database: Database) -> None:
    await log(database, *[DAY] * 6, timedelta(0))
    retention = Retention(database, batch=4)
    assert [await retention.prune_events(DAY) for _ in range(3)] == [
        Pruned(4, more=True),
        Pruned(2, more=False),
        Pruned(0, more=False),
    ]


async def test_the_newest_event_stays_and_the_numbers_go_on(database: Database) -> None:
    await log(database, *[DAY] * 5)
    assert await Retention(database).prune_events(DAY) == Pruned(4, more=False)
    assert await left(database, "events") == {5}
    await job(database, "job_1", DONE, DAY)
    await Retention(database).prune_jobs(DONE, DAY)
    assert [told.number for told in await Outbox(database).relay(10)] == [6]


async def test_an_empty_log_has_nothing_to_prune(database: Database) -> None:
    assert await Retention(database).prune_events(DAY) == Pruned(0, more=False)


async def test_what_a_projection_has_not_taken_yet_stays(database: Database) -> None:
    await log(database, *[DAY] * 9, folded=6)
    projections = database["projections"]
    await projections.insert_one({"_id": "another", "position": 3})
    retention = Retention(database)
    assert await retention.prune_events(DAY) == Pruned(3, more=False)
    await projections.update_one({"_id": "another"}, {"$set": {"position": 9}})
    assert await retention.prune_events(DAY) == Pruned(3, more=False)
    assert await left(database, "events") == {7, 8, 9}


async def test_statistics_that_have_not_begun_need_the_whole_log(database: Database) -> None:
    await log(database, *[DAY] * 5)
    await database["projections"].delete_many({})
    assert await Retention(database).prune_events(DAY) == Pruned(0, more=False)


async def forget_to_empty(*_: object) -> None:
    """The relay is killed once the events are in the log."""


async def test_an_event_that_its_job_has_not_forgotten_is_not_told_twice(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log(database, 9 * DAY, 8 * DAY)
    await job(database, "job_1", DONE, 7 * DAY)
    await Retention(database).prune_jobs(DONE, DAY)
    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "_bury", forget_to_empty)
        await Outbox(database).relay(10)
    # And nobody goes on for a week.
    await database["events"].update_one({"_id": 3}, [{"$set": {"at": ago(7 * DAY)}}])
    [there] = [told async for told in database["events"].find({"_id": 3})]
    await database["jobs"].update_one({"_id": "job_1"}, {"$set": {"outbox.0.at": there["at"]}})
    await database["events"].insert_one(event(4))
    assert await Retention(database).prune_events(DAY) == Pruned(2, more=False)
    assert await Outbox(database).relay(10) == []
    assert await Retention(database).prune_events(DAY) == Pruned(1, more=False)


async def test_a_count_of_everything_agrees_with_the_statistics_after_pruning(database: Database) -> None:
    for name, age in (("old", 9 * DAY), ("young", DAY)):
        await job(database, name, DONE, age)
    await repair_statistics(database, "doctor")
    retention = Retention(database)
    await retention.prune_jobs(DONE, 5 * DAY)
    await Outbox(database).relay(10)
    await Projection(database).fold()
    await retention.prune_events(timedelta(0))
    assert await repair_statistics(database, "doctor") == []


async def test_a_count_of_everything_lowers_nothing_for_an_event_that_was_told_before_earlier_ones(
    database: Database,
) -> None:
    """What happens now does not wait for a backlog: the log may have ended with today, and gone on with yesterday."""
    midnight = floor(NOW - DAY, Bucket.DAY)
    for number, ended_at in ((1, midnight), (2, midnight + MINUTE), (3, midnight - MINUTE)):
        moments = {"scheduled_for": ended_at, "started_at": ended_at, "completed_at": ended_at}
        run = {"number": 1, "status": "completed", **moments}
        await database["events"].insert_one(
            {**event(number), "at": ended_at, "run": run, "before": None, "retry_count": 0}
        )
    await Projection(database).fold()
    await repair_statistics(database, "doctor")
    assert await Retention(database, batch=2).prune_events(DAY) == Pruned(2, more=True)
    assert await repair_statistics(database, "doctor") == []
