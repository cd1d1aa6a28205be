"""Bulk operations on a real database: what they are about, what they count, and that it is exact whoever dies when."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from jobs.access import EVERYWHERE
from jobs.bulk import BulkOperation, BulkRequest, BulkStatus
from jobs.errors import FilterTooSlow, InvalidInput
from jobs.events import EventType
from jobs.filters import InputMatch, JobFilter
from jobs.job import Job
from jobs.lifecycle import Action, JobStatus
from resolvers.bulk import AT_ONCE, MAX_GOING_ON, begin_bulk, follow_operation, stop_operation
from storage.bulk import STEP, BulkWriter
from storage.client import Database
from storage.job_updates import NewJob
from storage.operations import Operations
from storage.outbox import Outbox
from storage.retention import Retention
from storage.transitions import JobWriter
from tests.ageing import ago
from tests.factories import NOW, every, make_job
from tests.installation import ANN, Installation
from worker.bulk import MAX_HELD, BulkRunner

SHOP = JobFilter(product=("shop",))
CANCEL = BulkRequest(Action.CANCEL, SHOP, "over")


async def fill(database: Database, count: int, **changes: Any) -> list[Job]:
    jobs = [make_job(job_id=f"job_{number:05}", **changes) for number in range(count)]
    for start in range(0, count, 1000):
        await JobWriter(database).insert_many([NewJob(job, "ann", nudged=False) for job in jobs[start : start + 1000]])
    return jobs


def owner(database: Database, name: str) -> BulkWriter:
    return BulkWriter(database, Operations(database, name))


async def begun(database: Database, request: BulkRequest = CANCEL, name: str = "one") -> BulkOperation:
    return await owner(database, name).begin(EVERYWHERE, request, "op_1", actor="ann", now=NOW)


def in_a_minute() -> dict[str, Any]:
    """Until when a process in charge has an operation that no store that is slow for once takes from it."""
    return ago(timedelta(minutes=-1))


async def let_go(database: Database) -> None:
    """As if the process in charge had been silent for as long as its lease."""
    await database["operations"].update_many({}, [{"$set": {"lease_until": ago(timedelta(seconds=1))}}])


async def finished(installation: Installation, operation: BulkOperation, name: str = "runner") -> BulkOperation:
    """What becomes of an operation that nobody is at, in the hands of a process that looks for such ones."""
    services = installation.services
    database: Database = services.operations._operations.database
    operations = Operations(database, name)
    runner = BulkRunner(operations, BulkWriter(database, operations), services.signals, services.clock)
    while await runner.run_once() == 0:
        pass
    found = await operations.find(EVERYWHERE, operation.id)
    assert found is not None
    return found


async def announced(database: Database) -> object:
    """The session that a step was last begun in, of the only operation."""
    operation = await database["operations"].find_one({})
    assert operation is not None
    return operation["session"]


def counts(operation: BulkOperation | None) -> tuple[str, int, int, int]:
    assert operation is not None
    return operation.status.value, operation.matched, operation.count, operation.skipped


async def statuses(database: Database) -> dict[str, int]:
    groups = database["jobs"].aggregate([{"$group": {"_id": "$status", "count": {"$sum": 1}}}])
    return {group["_id"]: group["count"] async for group in groups}


async def cancellations(database: Database) -> list[str]:
    """The jobs that told of a cancellation, once for each time."""
    while await Outbox(database).relay(500):
        pass
    return [one["job_id"] async for one in database["events"].find({"type": EventType.JOB_CANCELLED.value})]


async def test_a_primary_that_has_just_been_elected_may_not_see_the_jobs_at_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A majority has them, and it does not know yet that this is so."""
    await fill(database, 3, product="shop")
    operation = await begun(database)
    writer = owner(database, "one")
    find_one = type(writer._batches).find_one
    looks: list[str] = []

    def see_nothing_at_first(self: Any, *given: Any, **options: Any) -> Any:
        looks.append(self.name)
        wanted = {"_id": "none"} if looks == ["operation_batches"] else given[0]
        return find_one(self, wanted, *given[1:], **options)

    monkeypatch.setattr(type(writer._batches), "find_one", see_nothing_at_first)
    assert counts(await writer.advance(operation, NOW)) == ("completed", 3, 3, 0)
    assert looks == ["operation_batches", "operations", "operation_batches"]


async def test_all_that_match_are_changed_and_no_others_with_actor_and_reason(installation: Installation) -> None:
    jobs = [await installation.dispatch(product="shop") for _ in range(3)]
    other = await installation.dispatch(product="bank")
    operation = await begin_bulk(installation.services, ANN, CANCEL)
    assert counts(operation) == ("completed", 3, 3, 0)
    assert (operation.actor, operation.reason, operation.dry_run) == ("ann", "over", False)
    assert operation.completed_at is not None
    for job in jobs:
        cancelled = await installation.job(job)
        assert cancelled.cancelled is not None
        assert (cancelled.status, cancelled.cancelled.by, cancelled.cancelled.reason) == ("cancelled", "ann", "over")
    assert (await installation.job(other)).status is JobStatus.QUEUED


async def test_jobs_whose_status_forbids_it_are_skipped_and_stay_byte_for_byte(
    installation: Installation, database: Database
) -> None:
    await fill(database, 6)
    await database["jobs"].update_many({"_id": {"$lt": "job_00002"}}, {"$set": {"status": "completed"}})
    before = await database["jobs"].find({"_id": {"$lt": "job_00002"}}).to_list(None)
    assert counts(await begin_bulk(installation.services, ANN, CANCEL)) == ("completed", 6, 4, 2)
    assert await database["jobs"].find({"_id": {"$lt": "job_00002"}}).to_list(None) == before
    assert counts(await begin_bulk(installation.services, ANN, CANCEL)) == ("completed", 6, 0, 6)


@pytest.mark.parametrize("schedule", [None, every(60_000)], ids=["one-shot", "recurring"])
async def test_pausing_many_concerns_recurring_jobs_and_resuming_those_that_are_paused(
    installation: Installation, database: Database, schedule: Any
) -> None:
    await fill(database, 3, **({"schedule": schedule} if schedule else {}))
    changed = 3 if schedule else 0
    paused = await begin_bulk(installation.services, ANN, BulkRequest(Action.PAUSE, SHOP, "work"))
    assert counts(paused) == ("completed", 3, changed, 3 - changed)
    resumed = await begin_bulk(installation.services, ANN, BulkRequest(Action.RESUME, SHOP))
    assert counts(resumed) == ("completed", 3, changed, 3 - changed)
    assert await statuses(database) == {"scheduled" if schedule else "queued": 3}


async def test_retrying_many_waits_as_long_as_it_is_told_to(installation: Installation, database: Database) -> None:
    await fill(database, 3)
    await database["jobs"].update_many({}, {"$set": {"status": "failed", "completed_at": NOW, "run": None}})
    before = installation.services.clock.now()
    request = BulkRequest(Action.RETRY, SHOP, delay_ms=60_000)
    assert counts(await begin_bulk(installation.services, ANN, request)) == ("completed", 3, 3, 0)
    after = installation.services.clock.now()
    for job in await installation.services.jobs.find_many(EVERYWHERE, ["job_00000", "job_00001", "job_00002"]):
        found = await installation.services.jobs.find(EVERYWHERE, job)
        assert found is not None
        assert found.next_run_at is not None
        assert before <= found.next_run_at - timedelta(minutes=1) <= after


async def test_deleting_many_leaves_live_jobs(installation: Installation, database: Database) -> None:
    await fill(database, 3)
    await database["jobs"].update_one({"_id": "job_00001"}, {"$set": {"status": "failed", "completed_at": NOW}})
    request = BulkRequest(Action.DELETE, SHOP)
    assert counts(await begin_bulk(installation.services, ANN, request)) == ("completed", 3, 1, 2)
    assert set(await installation.services.jobs.find_many(EVERYWHERE, ["job_00000", "job_00001", "job_00002"])) == {
        "job_00000",
        "job_00002",
    }


@pytest.mark.parametrize("action", [Action.CANCEL, Action.PAUSE, Action.RESUME, Action.RETRY, Action.DELETE])
async def test_a_dry_run_counts_the_same_way_and_changes_nothing(
    installation: Installation, database: Database, action: Action
) -> None:
    for number, status in enumerate(JobStatus):
        job = make_job(job_id=f"job_{number}", schedule=every(60_000))
        await JobWriter(database).insert_many([NewJob(job, "ann", nudged=False)])
        ended = NOW if status in ("completed", "failed", "cancelled") else None
        await database["jobs"].update_one({"_id": job.id}, {"$set": {"status": status.value, "completed_at": ended}})
    before = await database["jobs"].find().to_list(None)
    dry = await begin_bulk(installation.services, ANN, BulkRequest(action, SHOP, dry_run=True))
    assert await database["jobs"].find().to_list(None) == before
    assert (dry.dry_run, dry.status, dry.matched) == (True, BulkStatus.COMPLETED, 7)
    assert await installation.services.operations.find(EVERYWHERE, dry.id) == dry
    assert counts(await begin_bulk(installation.services, ANN, BulkRequest(action, SHOP))) == counts(dry)


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (BulkRequest(Action.DELETE, JobFilter()), ("filter",)),
        (BulkRequest(Action.CANCEL, JobFilter(ids=("job",) * 1001)), ("filter", "ids")),
        (BulkRequest(Action.CANCEL, SHOP, "x" * 1001), ("reason",)),
        (BulkRequest(Action.RETRY, SHOP, delay_ms=366 * 86_400_000), ("delay",)),
    ],
)
async def test_what_cannot_be_asked_for_is_refused_and_nothing_is_stored(
    installation: Installation, database: Database, request_: BulkRequest, path: tuple[str, ...]
) -> None:
    await fill(database, 1)
    with pytest.raises(InvalidInput) as refused:
        await begin_bulk(installation.services, ANN, request_)
    assert [issue.path for issue in refused.value.issues] == [path]
    assert await database["operations"].count_documents({}) == 0
    assert await statuses(database) == {"queued": 1}


async def test_an_empty_list_of_tags_means_no_job(installation: Installation, database: Database) -> None:
    await fill(database, 2)
    request = BulkRequest(Action.CANCEL, JobFilter(tags=()))
    assert counts(await begin_bulk(installation.services, ANN, request)) == ("completed", 0, 0, 0)
    assert await statuses(database) == {"queued": 2}


async def test_a_search_that_takes_too_long_is_an_error_and_begins_nothing(database: Database) -> None:
    await fill(database, 2000)
    slow = BulkRequest(Action.CANCEL, JobFilter(input=(InputMatch("a.b", {"c": 1}),)))
    writer = BulkWriter(database, Operations(database, "one"), search_timeout_ms=1)
    with pytest.raises(FilterTooSlow):
        await writer.begin(EVERYWHERE, slow, "op_1", actor=None, now=NOW)
    assert await database["operations"].count_documents({}) == 0


async def test_a_large_one_goes_on_after_the_answer_until_all_its_jobs_were_looked_at(
    installation: Installation, database: Database
) -> None:
    await fill(database, AT_ONCE + STEP + 1)
    operation = await begin_bulk(installation.services, ANN, CANCEL)
    assert counts(operation) == ("running", AT_ONCE + STEP + 1, AT_ONCE, 0)
    # It was let go of: the next process that looks need not wait for a lease to run out.
    assert counts(await finished(installation, operation)) == ("completed", AT_ONCE + STEP + 1, AT_ONCE + STEP + 1, 0)
    assert await statuses(database) == {"cancelled": AT_ONCE + STEP + 1}
    assert await database["operation_batches"].count_documents({}) == 0


async def test_jobs_that_come_to_match_later_are_not_touched(installation: Installation, database: Database) -> None:
    await fill(database, 2)
    operation = await begun(database)
    late = await installation.dispatch(product="shop")
    await let_go(database)
    assert counts(await finished(installation, operation)) == ("completed", 2, 2, 0)
    assert (await installation.job(late)).status is JobStatus.QUEUED


async def test_the_jobs_stay_the_same_when_they_no_longer_match(installation: Installation, database: Database) -> None:
    await fill(database, 2)
    operation = await begun(database, BulkRequest(Action.CANCEL, JobFilter(status=(JobStatus.QUEUED,))))
    await database["jobs"].update_one({"_id": "job_00000"}, {"$set": {"status": "scheduled"}})
    await let_go(database)
    assert counts(await finished(installation, operation)) == ("completed", 2, 2, 0)


async def test_nobody_takes_over_before_the_lease_has_run_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.operations._LEASED", in_a_minute())
    await fill(database, 1)
    await begun(database)
    await database["operations"].update_many({}, [{"$set": {"lease_until": in_a_minute()}}])
    assert await Operations(database, "two").take_over() is None
    await let_go(database)
    assert await Operations(database, "two").take_over() is not None
    assert await Operations(database, "three").take_over() is None


async def test_a_step_takes_place_as_a_whole_or_not_at_all(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process that dies half-way leaves: jobs that were written, but neither booked nor committed."""
    await fill(database, 5)
    operation = await begun(database)
    writer = owner(database, "one")

    async def die(*_: object) -> BulkOperation:
        raise asyncio.CancelledError

    monkeypatch.setattr(writer._operations, "book", die)
    with pytest.raises(asyncio.CancelledError):
        await writer.advance(operation, NOW)
    assert await statuses(database) == {"queued": 5}
    await let_go(database)
    assert counts(await finished(installation, operation)) == ("completed", 5, 5, 0)
    assert sorted(await cancellations(database)) == [f"job_{number:05}" for number in range(5)]


async def test_a_step_whose_process_was_killed_is_undone_by_whoever_takes_over(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is killed ends no transaction: MongoDB keeps it, and the jobs in it locked, for a minute."""
    monkeypatch.setattr("storage.operations._LEASED", in_a_minute())
    await fill(database, 3)
    operation = await begun(database)
    writer, killed = owner(database, "one"), asyncio.Event()

    async def hang(*_: object) -> BulkOperation:
        killed.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(writer._operations, "book", hang)
    await let_go(database)
    step = asyncio.create_task(writer.advance(operation, NOW))
    await killed.wait()
    operations = Operations(database, "two")
    assert await operations.take_over() is None  # a step begins by renewing the lease
    await let_go(database)
    taken = await operations.take_over()
    assert taken == operation
    assert await announced(database) is None
    assert counts(await owner(database, "two").advance(taken, NOW)) == ("completed", 3, 3, 0)
    step.cancel()
    with suppress(asyncio.CancelledError):
        await step
    assert counts(await operations.find(EVERYWHERE, "op_1")) == ("completed", 3, 3, 0)
    assert sorted(await cancellations(database)) == [f"job_{number:05}" for number in range(3)]


async def test_a_released_one_names_no_session_that_its_last_owner_may_use_for_something_else(
    database: Database,
) -> None:
    await fill(database, STEP + 1)
    operation = await owner(database, "one").advance(await begun(database), NOW)
    assert operation is not None
    assert await announced(database) is not None
    await Operations(database, "one").release(operation)
    assert await announced(database) is None


async def test_one_that_was_taken_over_changes_nothing_any_more(database: Database) -> None:
    await fill(database, STEP + 1)
    await database["jobs"].update_many({}, {"$set": {"status": "failed", "completed_at": NOW, "run": None}})
    late = await begun(database, BulkRequest(Action.RETRY, SHOP))
    await let_go(database)
    taken = await Operations(database, "two").take_over()
    assert taken is not None
    await database.command("profile", 2)
    assert await owner(database, "one").advance(late, NOW) is None
    await database.command("profile", 0)
    assert await database["system.profile"].count_documents({"ns": f"{database.name}.jobs"}) == 0
    assert await statuses(database) == {"failed": STEP + 1}
    moved = await owner(database, "two").advance(taken, NOW)
    assert counts(moved) == ("running", STEP + 1, STEP, 0)
    # The same once more, from what was known before the step: as two loops of one process would have it.
    assert await owner(database, "two").advance(taken, NOW) is None
    assert await Operations(database, "two").find(EVERYWHERE, "op_1") == moved
    assert await database["jobs"].count_documents({"retry_count": 1}) == STEP


async def test_a_stopped_one_goes_no_further_and_is_answered_as_it_is(
    installation: Installation, database: Database
) -> None:
    await fill(database, STEP + 1)
    operation = await owner(database, "one").advance(await begun(database), NOW)
    assert operation is not None
    stopped = await stop_operation(installation.services, ANN, "op_1")
    assert counts(stopped) == ("stopped", STEP + 1, STEP, 0)
    assert await owner(database, "one").advance(operation, NOW) is None
    assert await statuses(database) == {"cancelled": STEP, "queued": 1}
    assert await database["operation_batches"].count_documents({}) == 0
    assert await stop_operation(installation.services, ANN, "op_1") == stopped
    assert await stop_operation(installation.services, ANN, "op_2") is None


async def test_writes_of_others_to_the_same_jobs_make_steps_smaller_and_counts_stay_exact(
    installation: Installation, database: Database
) -> None:
    jobs = await fill(database, 400)
    operation = await begun(database)

    async def disturb(some: Sequence[Job]) -> None:
        for job in some:
            await database["jobs"].update_one({"_id": job.id}, {"$inc": {"disturbed": 1}})

    async def advance() -> BulkOperation | None:
        moved: BulkOperation | None = operation
        while moved is not None and moved.status is BulkStatus.RUNNING:
            moved = await owner(database, "one").advance(moved, NOW)
        return moved

    moved, *_ = await asyncio.gather(advance(), *(disturb(jobs[start::8]) for start in range(8)))
    assert counts(moved) == ("completed", 400, 400, 0)
    assert sorted(await cancellations(database)) == [job.id for job in jobs]


async def test_a_job_that_cannot_be_written_is_skipped_and_the_others_are_changed(
    installation: Installation, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(database, 4)
    # MongoDB refuses to compute with it, as it refuses what would grow too large.
    await database["jobs"].update_one({"_id": "job_00002"}, {"$set": {"event_seq": "damaged"}})
    assert counts(await begin_bulk(installation.services, ANN, CANCEL)) == ("completed", 4, 3, 1)
    assert await statuses(database) == {"cancelled": 3, "queued": 1}
    assert "leaves out job job_00002" in caplog.text


async def test_a_process_holds_only_so_many_operations_at_a_time(
    installation: Installation, database: Database
) -> None:
    services, operations = installation.services, Operations(database, "runner")
    await fill(database, 1)
    waiting = [f"op_{number}" for number in range(MAX_HELD + 1)]
    for operation_id in waiting:
        await owner(database, "one").begin(EVERYWHERE, CANCEL, operation_id, actor="ann", now=NOW)
    await let_go(database)
    runner = BulkRunner(operations, BulkWriter(database, operations), services.signals, services.clock)
    runner._running.extend([await begun_again(operations) for _ in range(MAX_HELD)])
    await runner.run_once()
    assert await database["operations"].count_documents({"owner": "one"}) == 1


async def begun_again(operations: Operations) -> BulkOperation:
    taken = await operations.take_over()
    assert taken is not None
    return taken


async def test_it_can_be_followed_until_it_is_over(installation: Installation, database: Database) -> None:
    await fill(database, STEP + 1)
    operation = await begun(database)
    seen = follow_operation(installation.services, ANN, operation.id)
    assert counts(await anext(seen)) == ("running", STEP + 1, 0, 0)
    await let_go(database)
    await finished(installation, operation)
    assert [counts(one) async for one in seen] == [("completed", STEP + 1, STEP + 1, 0)]
    with pytest.raises(InvalidInput):
        await anext(follow_operation(installation.services, ANN, "op_2"))


async def test_ids_that_no_operation_needs_are_removed_after_an_hour(database: Database) -> None:
    await fill(database, 1)
    await begun(database)
    for name, age in (("op_1:0", 3), ("old", 3), ("young", 0)):
        await database["operation_batches"].update_one(
            {"_id": name},
            [{"$set": {"created_at": ago(timedelta(hours=age)), "operation_id": name.partition(":")[0]}}],
            upsert=True,
        )
    assert (await Retention(database).prune_batches()).count == 1
    assert {one["_id"] async for one in database["operation_batches"].find()} == {"op_1:0", "young"}


async def test_of_many_operations_only_some_are_begun_at_once_and_the_others_wait_for_a_runner(
    installation: Installation,
) -> None:
    await installation.dispatch(product="shop")
    services = installation.services
    others = [asyncio.create_task(asyncio.Event().wait()) for _ in range(MAX_GOING_ON)]
    services.going_on.update(others)  # type: ignore[arg-type]  # they stand for steps that hang
    operation = await begin_bulk(services, ANN, CANCEL)
    assert counts(operation) == ("running", 1, 0, 0)
    taken = await services.operations.take_over()
    assert taken is not None
    assert taken.id == operation.id
    for other in others:
        other.cancel()
    services.going_on.clear()
