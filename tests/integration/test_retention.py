"""What is removed when it is old enough, and what is not, against a real MongoDB."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs.access import EVERYWHERE
from jobs.lifecycle import TERMINAL, JobStatus
from storage.client import Database, aggregate
from storage.documents import job_to_document
from storage.executions import ExecutionReader
from storage.outbox import Outbox
from storage.retention import Pruned, Retention, ended
from tests.ageing import DAY, MINUTE, ago, job, left, log
from tests.factories import make_job
from tests.integration.test_indexes import Explained, event, execution

ENDED = sorted(TERMINAL)
LIVE = sorted(set(JobStatus) - TERMINAL)
DONE = JobStatus.COMPLETED


@pytest.fixture
def database(any_database: Database) -> Database:
    """Through each driver."""
    return any_database


# ---------------------------------------------------------------- jobs


@pytest.mark.parametrize("status", ENDED)
async def test_jobs_of_a_status_go_at_their_age(database: Database, status: JobStatus) -> None:
    for other in ENDED:
        await job(database, f"old_{other}", other, 2 * DAY)
        await job(database, f"young_{other}", other, 2 * DAY - MINUTE)
    before = await left(database)
    assert await Retention(database).prune_jobs(status, 2 * DAY) == Pruned(1, more=False)
    assert before - await left(database) == {f"old_{status}"}


async def test_exactly_the_age_is_old_enough(database: Database) -> None:
    """Within one command, all of which happens at the same time."""
    await job(database, "job_1", DONE, DAY)
    for age, is_old in ((DAY, True), (DAY - timedelta(milliseconds=1), False)):
        stages = [{"$set": {"completed_at": ago(age)}}, {"$match": ended(DAY)}]
        found = await (await aggregate(database["jobs"], stages)).to_list(None)
        assert bool(found) is is_old


async def test_a_job_without_an_end_is_not_old(database: Database) -> None:
    await job(database, "job_1", DONE, DAY)
    await database["jobs"].update_one({"_id": "job_1"}, {"$set": {"completed_at": None}})
    assert await Retention(database).prune_jobs(DONE, DAY) == Pruned(0, more=False)


async def test_live_jobs_stay_however_old_they_are(database: Database) -> None:
    for status in LIVE:
        await job(database, status.value, status, 4000 * DAY)
    for ended_status in ENDED:
        assert await Retention(database).prune_jobs(ended_status, timedelta(0)) == Pruned(0, more=False)
    assert await left(database) == set(LIVE)


async def test_a_pruned_job_tells_of_it_and_is_buried_with_its_history(database: Database) -> None:
    await job(database, "job_1", JobStatus.FAILED, 2 * DAY)
    await database["executions"].insert_one(execution(1) | {"job_id": "job_1"})
    await Retention(database).prune_jobs(JobStatus.FAILED, 1.5 * DAY)
    # Many of them may go at a time: single jobs are told of first.
    assert await database["jobs"].count_documents({"in_bulk": True}) == 1
    [told] = await Outbox(database).relay(10)
    assert (told.type, told.seq, told.actor) == ("job.deleted", 8, "retention")
    assert told.reason == "failed jobs are kept for 1.5 days"
    assert await database["jobs"].count_documents({}) == await database["executions"].count_documents({}) == 0


class Overtaken(Retention):
    """Between what it finds and what it writes, something happens."""

    happens: list[tuple[str, dict[str, Any]]]

    async def _oldest(self, *arguments: Any) -> list[Any]:
        found = await super()._oldest(*arguments)
        for name, values in self.happens:
            await self._jobs.update_one({"_id": name}, [{"$set": values}])
        return found


async def test_what_is_no_longer_over_when_it_is_to_be_deleted_survives(database: Database) -> None:
    for name in ("retried", "ended_again", "deleted", "untouched"):
        await job(database, name, JobStatus.FAILED, 3 * DAY)
    retention = Overtaken(database)
    retention.happens = [
        ("retried", {"status": "queued"}),
        ("ended_again", {"completed_at": "$$NOW"}),
        ("deleted", {"deleted_at": "$$NOW"}),
    ]
    assert await retention.prune_jobs(JobStatus.FAILED, DAY) == Pruned(1, more=False)
    assert await left(database) == {"retried", "ended_again"}
    deleted = await database["jobs"].find_one({"_id": "deleted"})
    assert deleted["outbox"] == []


async def test_a_backlog_goes_batch_by_batch_the_oldest_first_and_at_the_pace_of_the_relay(database: Database) -> None:
    for number in range(25):
        await job(database, f"job_{number:02}", DONE, (100 - number) * DAY)
    retention = Retention(database, batch=10)
    assert await retention.prune_jobs(DONE, DAY) == Pruned(10, more=True)
    assert await left(database) == {f"job_{number}" for number in range(10, 25)}
    assert await retention.prune_jobs(DONE, DAY) == Pruned(0, more=True)
    for expected in (Pruned(10, more=True), Pruned(5, more=False)):
        await Outbox(database).relay(10)
        assert await retention.prune_jobs(DONE, DAY) == expected
    assert await left(database) == set()


async def test_a_job_that_cannot_be_deleted_does_not_keep_the_others(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("broken", "good"):
        await job(database, name, DONE, DAY)
    await database["jobs"].update_one({"_id": "broken"}, {"$set": {"event_seq": "?"}})
    assert await Retention(database).prune_jobs(DONE, DAY) == Pruned(1, more=False)
    assert await left(database) == {"broken"}
    assert "a job could not be deleted: " in caplog.text


async def test_a_full_batch_that_cannot_be_deleted_is_not_tried_again_at_once(database: Database) -> None:
    await job(database, "broken", DONE, DAY)
    await database["jobs"].update_one({"_id": "broken"}, {"$set": {"event_seq": "?"}})
    assert await Retention(database, batch=1).prune_jobs(DONE, DAY) == Pruned(0, more=False)


# ---------------------------------------------------------------- executions and operations


async def test_old_runs_leave_the_history_of_a_job_that_still_counts_them(database: Database) -> None:
    await job(database, "job_1", JobStatus.SCHEDULED, DAY)
    await database["jobs"].update_one({"_id": "job_1"}, {"$set": {"tally.completed": 25}})
    for number in range(1, 26):
        await database["executions"].insert_one(execution(number) | {"_id": f"job_1:{number}", "job_id": "job_1"})
        set_end = {"$set": {"completed_at": ago((30 - number) * DAY - MINUTE)}}
        await database["executions"].update_one({"_id": f"job_1:{number}"}, [set_end])
    retention = Retention(database, batch=10)
    for expected in (Pruned(10, more=True), Pruned(9, more=False), Pruned(0, more=False)):
        assert await retention.prune_executions(10 * DAY) == expected
    history = (await ExecutionReader(database).histories(EVERYWHERE, ["job_1"], 100, None))["job_1"]
    assert [run.number for run in history.page.items] == [25, 24, 23, 22, 21, 20]
    assert history.tally.completed == 25


async def test_operations_go_once_they_are_over_and_old(database: Database) -> None:
    operations = database["operations"]
    for status in ("running", "completed", "stopped"):
        for name, age in (("old", DAY), ("young", DAY - MINUTE)):
            await operations.insert_one({"_id": f"{name}_{status}", "status": status})
            await operations.update_one({"_id": f"{name}_{status}"}, [{"$set": {"completed_at": ago(age)}}])
    await operations.insert_one({"_id": "begun", "status": "running", "completed_at": None})
    before = await left(database, "operations")
    assert await Retention(database).prune_operations(DAY) == Pruned(2, more=False)
    assert before - await left(database, "operations") == {"old_completed", "old_stopped"}


# ---------------------------------------------------------------- how


def ended_job(number: int) -> dict[str, Any]:
    """Jobs that other ages hold for are older than any that is to go."""
    status = DONE if number <= 5 else ENDED[number % 3]
    values = {"status": status.value, "completed_at": end(number) if status is DONE else end(0) - 99 * DAY}
    return (
        job_to_document(make_job(job_id=f"job_{number}")) | {"outbox": [], "event_seq": 7, "idempotency": None} | values
    )


def operation(number: int) -> dict[str, Any]:
    """Those that run have no end."""
    is_over = number <= 5 or number % 2
    return {
        "_id": number,
        "status": "completed" if is_over else "running",
        "completed_at": end(number) if is_over else None,
    }


def end(number: int) -> datetime:
    """Five are old enough."""
    return datetime.now().astimezone() - (9 * DAY if number <= 5 else timedelta(0))


MAKERS: dict[str, Callable[[int], dict[str, Any]]] = {
    "jobs": ended_job,
    "executions": lambda number: execution(number) | {"completed_at": end(number)},
    "operations": operation,
    "events": lambda number: event(number) | {"at": end(number)},
    "audit": lambda number: {"_id": f"aud_{number}", "at": end(number)},
}
Prune = Callable[[Retention], Any]


@pytest.mark.parametrize(
    ("collection", "prune"),
    [
        ("jobs", lambda retention: retention.prune_jobs(DONE, DAY)),
        ("executions", lambda retention: retention.prune_executions(DAY)),
        ("operations", lambda retention: retention.prune_operations(DAY)),
        ("events", lambda retention: retention.prune_events(DAY)),
        ("audit", lambda retention: retention.prune_audit(DAY)),
    ],
)
async def test_no_more_is_looked_at_than_is_removed(database: Database, collection: str, prune: Prune) -> None:
    await log(database)
    documents = [MAKERS[collection](number) for number in range(1, 1001)]
    await database[collection].insert_many(documents)
    await database.command("profile", 2)
    assert await prune(Retention(database, batch=10)) == Pruned(5, more=False)
    await database.command("profile", 0)
    await Explained(database).check(most=10, collection=collection)
