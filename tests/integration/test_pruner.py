"""The loop that prunes: what it removes in a round, how fast it goes on, and that one process does it at a time."""

import logging
from datetime import timedelta
from typing import Any

import pytest

from gateway.settings import Settings
from gateway.worker_process import retention_policy
from jobs.events import EventType
from jobs.lifecycle import TERMINAL, JobStatus
from jobs.retention import KEEP_ALL, RetentionPolicy
from resolvers.reading import read_history
from storage.client import Database
from storage.leases import Lease
from storage.outbox import Outbox
from storage.retention import Retention
from storage.signals import Topic
from tests.ageing import DAY, ago, job, left, log
from tests.factories import every
from tests.installation import ANN, Installation
from tests.integration.test_indexes import execution
from worker.pruner import LEASE, Pruner
from worker.tasks import Handler

ALL_KINDS = RetentionPolicy(DAY, DAY, DAY, executions=DAY, events=DAY, operations=DAY, audit=DAY)
EVERY = timedelta(seconds=60)


async def echo(_: object, value: Any) -> Any:
    return value


HANDLERS: dict[str, Handler] = {"demo.echo": echo}


def pruner(
    installation: Installation, database: Database, policy: RetentionPolicy, owner: str = "one", batch: int = 10
) -> Pruner:
    lease = Lease(database, "prune", owner, LEASE)
    return Pruner(Retention(database, batch), policy, lease, installation.services.signals, every=EVERY)


async def fill(database: Database, age: timedelta) -> None:
    """Two of each kind."""
    await log(database, age, age, timedelta(0))
    for number in (1, 2):
        for status in JobStatus:
            await job(database, f"{status}_{number}", status, age)
        for collection, values in (("executions", execution(number)), ("operations", {"status": "completed"})):
            await database[collection].insert_one(values | {"_id": number})
            await database[collection].update_one({"_id": number}, [{"$set": {"completed_at": ago(age)}}])
        await database["audit"].insert_one({"_id": number})
        await database["audit"].update_one({"_id": number}, [{"$set": {"at": ago(age)}}])


async def counts(database: Database) -> dict[str, int]:
    collections = ("jobs", "executions", "events", "operations", "audit")
    return {collection: len(await left(database, collection)) for collection in collections}


async def test_a_round_removes_what_is_old_of_every_kind_and_says_so(
    installation: Installation, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobgate.prune")
    await fill(database, DAY)
    assert await pruner(installation, database, ALL_KINDS).run_once() == EVERY.total_seconds()
    assert await counts(database) == {"jobs": 8, "executions": 0, "events": 1, "operations": 0, "audit": 0}
    assert [record.message for record in caplog.records if record.name == "jobgate.prune"] == [
        "pruned 2 events, 2 operations, 2 entries of the audit, 2 executions, 2 completed jobs, 2 failed jobs, 2 cancelled jobs"
    ]


async def test_a_round_in_which_nothing_is_old_says_nothing(
    installation: Installation, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobgate.prune")
    await fill(database, DAY / 2)
    before = await counts(database)
    assert await pruner(installation, database, ALL_KINDS).run_once() == EVERY.total_seconds()
    said = [record.getMessage() for record in caplog.records if record.name == "jobgate.prune"]
    assert (await counts(database), said) == (before, [])


@pytest.mark.parametrize("policy", [KEEP_ALL, retention_policy(Settings())], ids=["nothing", "default"])
async def test_no_job_is_deleted_unless_it_is_asked_for(
    installation: Installation, database: Database, policy: RetentionPolicy
) -> None:
    await fill(database, 4000 * DAY)
    await pruner(installation, database, policy).run_once()
    is_kept = policy == KEEP_ALL
    expected = {"jobs": 14, "executions": 2, "events": 3 if is_kept else 1, "operations": 2 if is_kept else 0}
    expected["audit"] = expected["operations"]
    assert await counts(database) == expected


@pytest.mark.parametrize("kind", sorted(status.value for status in TERMINAL))
async def test_each_status_has_an_age_of_its_own(installation: Installation, database: Database, kind: str) -> None:
    await fill(database, DAY)
    before = await left(database)
    await pruner(installation, database, RetentionPolicy(**{kind: DAY})).run_once()
    assert before - await left(database) == {f"{kind}_1", f"{kind}_2"}


async def test_a_backlog_is_gone_on_with_at_once_and_waits_for_a_relay_that_is_behind(
    installation: Installation, database: Database
) -> None:
    for number in range(4):
        await job(database, f"job_{number}", JobStatus.COMPLETED, DAY)
    one = pruner(installation, database, RetentionPolicy(completed=DAY), batch=3)
    assert 0 < await one.run_once() < 0.1
    assert await one.run_once() == 1
    assert len(await left(database)) == 1
    await Outbox(database).relay(10)
    assert await one.run_once() == EVERY.total_seconds()
    assert await left(database) == set()


async def test_the_relay_is_woken_for_deleted_jobs_and_for_nothing_else(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[Topic] = []
    monkeypatch.setattr(installation.services.signals, "wake", lambda *topics: woken.extend(topics))
    one = pruner(installation, database, ALL_KINDS)
    await one.run_once()
    assert woken == []
    await job(database, "job_1", JobStatus.FAILED, DAY)
    await one.run_once()
    assert woken == [Topic.OUTBOX]


async def test_one_process_prunes_at_a_time(installation: Installation, database: Database) -> None:
    one, other = (pruner(installation, database, ALL_KINDS, owner) for owner in ("one", "other"))
    await one.run_once()
    await fill(database, DAY)
    before = await counts(database)
    assert await other.run_once() == EVERY.total_seconds()
    # It does not hold the lease: that it goes changes nothing.
    await other.stop()
    await other.run_once()
    assert await counts(database) == before
    await one.stop()
    await other.run_once()
    assert (await counts(database))["jobs"] == 8


async def test_a_worker_prunes_and_gives_the_lease_back_when_it_goes(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.process._LEAVE_WITHIN", 20.0)
    often = timedelta(seconds=0.05)
    await installation.worker(HANDLERS, retention=RetentionPolicy(completed=DAY), prune_every=often)
    gone, stays = [await installation.dispatch() for _ in range(2)]
    for each in (gone, stays):
        await installation.until(each, EventType.JOB_COMPLETED)
    await database["jobs"].update_one({"_id": gone.id}, [{"$set": {"completed_at": ago(DAY)}}])
    [*_, deleted] = await installation.until(gone, EventType.JOB_DELETED)
    assert (deleted.actor, deleted.reason) == ("retention", "completed jobs are kept for 1 day")
    assert (await installation.job(stays)).status is JobStatus.COMPLETED
    await installation.stop_workers()
    assert await database["leases"].find_one({"_id": "prune"}) is None


async def test_the_history_of_a_recurring_job_is_shortened_and_the_job_goes_on(
    installation: Installation, database: Database
) -> None:
    stop = await installation.worker(HANDLERS)
    recurring = await installation.dispatch(schedule=every(3600))
    await installation.until(recurring, EventType.JOB_COMPLETED)
    stop.set()
    await installation.stop_workers()
    await database["jobs"].update_one({"_id": recurring.id}, [{"$set": {"completed_at": ago(9 * DAY)}}])
    await database["executions"].update_many({}, [{"$set": {"completed_at": ago(9 * DAY)}}])
    before = await installation.job(recurring)
    await pruner(installation, database, ALL_KINDS).run_once()
    history = await read_history(installation.services, ANN, recurring.id, 10, None)
    assert history is not None
    assert (list(history.page.items), history.tally.completed) == ([], 1)
    assert await installation.job(recurring) == before
    assert before.status is JobStatus.SCHEDULED
