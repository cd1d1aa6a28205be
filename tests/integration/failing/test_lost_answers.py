"""Changes whose answer was lost: whether they took place is found out, and they take place once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from jobs.access import EVERYWHERE, Reach
from jobs.bulk import BulkStatus
from jobs.errors import JobNotFound, StoreUnavailable
from jobs.events import EventType
from jobs.job import Job
from jobs.lifecycle import JobStatus
from jobs.origins import Origin
from jobs.schedule import ScheduleSpec
from jobs.steering import Change
from jobs.steering import reschedule as decide_reschedule
from resolvers.bulk import begin_bulk, stop_operation
from resolvers.dispatching import dispatch
from resolvers.pursuit import Pursuit
from resolvers.steering import cancel, delete, pause, reschedule, resume, retry
from storage.batches import Batcher
from storage.client import Database
from storage.errors import OUT_OF_DISK_SPACE
from storage.job_updates import NewJob
from storage.jobs import JobReader
from storage.outbox import Outbox
from storage.transitions import JobWriter
from tests.factories import every, make_request
from tests.failing import LOST, FailingMongod
from tests.installation import ANN, Installation
from tests.integration.test_bulk import CANCEL, counts

LATER = ScheduleSpec(every_ms=7_200_000)


async def told(database: Database, job: Job) -> list[str]:
    """The types of all that the job has told, in order."""
    while await Outbox(database).relay(500):
        pass
    return [one["type"] async for one in database["events"].find({"job_id": job.id}, sort=[("seq", 1)])]


async def recurring(installation: Installation) -> Job:
    return await installation.dispatch(schedule=every(3600))


async def paused(installation: Installation) -> Job:
    return await pause(installation.services, ANN, (await recurring(installation)).id, None)


async def failed(installation: Installation) -> Job:
    job = await installation.dispatch()
    database: Database = installation.services.operations._operations.database
    await database["jobs"].update_one(
        {"_id": job.id}, [{"$set": {"status": "failed", "completed_at": "$$NOW", "run": None}}]
    )
    return await installation.job(job)


Steer = Callable[[Installation, Job], Awaitable[Any]]

CHANGES: dict[str, tuple[Callable[[Installation], Awaitable[Job]], Steer, EventType, JobStatus | None]] = {
    "cancel": (
        recurring,
        lambda at, job: cancel(at.services, ANN, job.id, None),
        EventType.JOB_CANCELLED,
        JobStatus.CANCELLED,
    ),
    "pause": (recurring, lambda at, job: pause(at.services, ANN, job.id, None), EventType.JOB_PAUSED, JobStatus.PAUSED),
    "resume": (
        paused,
        lambda at, job: resume(at.services, ANN, job.id),
        EventType.JOB_RESUMED,
        JobStatus.SCHEDULED,
    ),
    "reschedule": (
        paused,
        lambda at, job: reschedule(at.services, ANN, job.id, LATER),
        EventType.JOB_RESCHEDULED,
        JobStatus.PAUSED,
    ),
    "retry": (
        failed,
        lambda at, job: retry(at.services, ANN, job.id, 60_000),
        EventType.JOB_SCHEDULED,
        JobStatus.SCHEDULED,
    ),
    "delete": (failed, lambda at, job: delete(at.services, ANN, job.id), EventType.JOB_DELETED, None),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_that_took_place_is_answered_as_if_its_answer_had_come(
    installation: Installation, failing_mongod: FailingMongod, database: Database, name: str
) -> None:
    prepare, steer, event, status = CHANGES[name]
    job = await prepare(installation)
    before = (await told(database, job)).count(event.value)
    with failing_mongod.failing("findAndModify", on=f"{database.name}.jobs", times=1, **LOST):
        answer = await steer(installation, job)
    if status is None:
        assert answer == job.id
        assert await installation.services.jobs.find(EVERYWHERE, job.id) is None
    else:
        assert (answer.id, answer.status, answer.revision) == (job.id, status, job.revision + 1)
        assert await installation.job(job) == answer
    assert (await told(database, job)).count(event.value) == before + 1


async def test_a_change_that_did_not_take_place_is_tried_again_within_the_time(
    installation: Installation, failing_mongod: FailingMongod, database: Database
) -> None:
    job = await recurring(installation)
    hang = {"blockConnection": True, "blockTimeMS": 4_000}
    with failing_mongod.failing("findAndModify", on=f"{database.name}.jobs", times=1, **hang):
        answer = await cancel(installation.services, ANN, job.id, "over")
    assert answer.status is JobStatus.CANCELLED
    assert (await told(database, job)).count("job.cancelled") == 1


async def test_a_deletion_whose_traces_are_gone_already_took_place(
    installation: Installation, failing_mongod: FailingMongod, database: Database
) -> None:
    class Relayed(JobWriter):
        """Loses the answer to the first deletion, and has the relay remove the tombstone before anybody looks for it."""

        tries = 0

        async def delete(
            self, reach: Reach, job_id: str, *, actor: str | None, origin: Origin | None = None, mark: str | None = None
        ) -> Job | None:
            self.tries += 1
            if self.tries > 1:
                return await super().delete(reach, job_id, actor=actor, origin=origin, mark=mark)
            with failing_mongod.failing("findAndModify", on=f"{database.name}.jobs", times=1, **LOST):
                try:
                    return await super().delete(reach, job_id, actor=actor, origin=origin, mark=mark)
                finally:
                    while await database["jobs"].find_one({"_id": job_id}):
                        await Outbox(database).relay(500)

    job = await failed(installation)
    services = replace(installation.services, writer=Relayed(database))
    async with asyncio.timeout(10):
        assert await delete(services, ANN, job.id) == job.id


async def test_what_never_was_there_is_not_found_rather_than_deleted(installation: Installation) -> None:
    with pytest.raises(JobNotFound):
        await delete(installation.services, ANN, "job_1")


async def test_a_change_is_not_done_twice_though_others_have_steered_the_job_back_meanwhile(
    installation: Installation,
) -> None:
    writer = installation.services.writer
    job = await recurring(installation)
    assert await writer.pause(EVERYWHERE, job.id, actor="ann", reason=None, mark="one") is not None
    resumed = await resume(installation.services, ANN, job.id)
    assert await writer.pause(EVERYWHERE, job.id, actor="ann", reason=None, mark="one") is None
    assert await writer.find_marked(EVERYWHERE, job.id, "one") == resumed
    assert await writer.find_marked(EVERYWHERE, job.id, "two") is None


async def test_what_was_decided_anew_is_not_done_twice_either(installation: Installation) -> None:
    def decided(job: Job) -> Change:
        return decide_reschedule(job, LATER, installation.services.clock.now(), ())

    writer = installation.services.writer
    job = await recurring(installation)
    changed = await writer.change(EVERYWHERE, job, decided(job), actor="ann", mark="one")
    assert changed is not None
    assert await writer.change(EVERYWHERE, changed, decided(changed), actor="ann", mark="one") is None
    assert await writer.change(EVERYWHERE, changed, decided(changed), actor="ann", mark="two") is not None


async def test_an_operation_whose_answer_was_lost_has_begun(
    installation: Installation, failing_mongod: FailingMongod, database: Database
) -> None:
    await installation.dispatch(product="shop")
    with failing_mongod.failing("insert", on=f"{database.name}.operations", times=1, **LOST):
        operation = await begin_bulk(installation.services, ANN, CANCEL)
    assert counts(operation) == ("completed", 1, 1, 0)


async def test_an_operation_that_was_stopped_is_answered_though_the_first_answer_was_lost(
    installation: Installation, failing_mongod: FailingMongod, database: Database
) -> None:
    await installation.dispatch(product="shop")
    services = installation.services
    operation = await services.bulk.begin(EVERYWHERE, CANCEL, "op_1", actor="ann", now=services.clock.now())
    with failing_mongod.failing("findAndModify", on=f"{database.name}.operations", times=1, **LOST):
        stopped = await stop_operation(services, ANN, operation.id)
    assert stopped is not None
    assert stopped.status is BulkStatus.STOPPED


async def test_what_is_refused_because_of_a_late_change_of_its_own_took_place(installation: Installation) -> None:
    """The change is found neither when it is looked for first nor by the next try, but by what that is refused for."""
    job = await recurring(installation)
    pursuit = Pursuit(installation.services, EVERYWHERE, job.id)

    async def lost() -> Job | None:
        raise StoreUnavailable("MongoDB", "NetworkTimeout")

    async def step() -> Job | None:
        if not pursuit.is_open:
            return await pursuit.write(lost())
        await installation.services.writer.cancel(EVERYWHERE, job.id, actor="ann", reason=None, mark=pursuit.mark)
        raise JobNotFound(job.id)

    assert (await pursuit.until_known(step)).status is JobStatus.CANCELLED


async def test_after_a_lost_answer_a_job_that_is_gone_may_have_been_changed_before(installation: Installation) -> None:
    async def lost() -> Job | None:
        raise StoreUnavailable("MongoDB", "NetworkTimeout")

    async def step() -> Job | None:
        if pursuit.is_open:
            raise JobNotFound("job_1")
        return await pursuit.write(lost())

    pursuit = Pursuit(installation.services, EVERYWHERE, "job_1")
    with pytest.raises(StoreUnavailable, match="unknown whether the job was changed"):
        await pursuit.until_known(step)


async def test_a_deletion_of_what_never_was_there_is_not_believed_though_its_answer_was_lost(
    installation: Installation, failing_mongod: FailingMongod, database: Database
) -> None:
    lost = failing_mongod.failing("findAndModify", on=f"{database.name}.jobs", times=1, **LOST)
    with lost, pytest.raises(StoreUnavailable, match=r"job_1.*unknown"):
        await delete(installation.services, ANN, "job_1")


async def test_a_dispatch_that_was_not_stored_is_stored_at_another_try(
    installation: Installation, failing_mongod: FailingMongod, database: Database
) -> None:
    """Twice, since the driver tries once more by itself."""
    with failing_mongod.failing("insert", on=f"{database.name}.jobs", times=2, closeConnection=True):
        job = await installation.dispatch()
    assert [one["_id"] async for one in database["jobs"].find({})] == [job.id]


async def test_a_dispatch_that_is_found_stored_at_another_try_is_answered(
    installation: Installation, database: Database
) -> None:
    """It is stored unseen: what lets it be known is that its own id is taken."""
    writer = installation.services.writer

    async def stored_late(new: Sequence[NewJob]) -> list[Exception | None]:
        if not await database["jobs"].find_one({}):
            await writer.insert_many(new)
            raise StoreUnavailable("MongoDB", "NetworkTimeout")
        return await writer.insert_many(new)

    class Blind(JobReader):
        """Sees nothing so many times, as a majority that has not confirmed anything yet."""

        def __init__(self, database: Database, times: int) -> None:
            super().__init__(database)
            self.times = times

        async def find(self, reach: Reach, job_id: str) -> Job | None:
            self.times -= 1
            return None if self.times >= 0 else await super().find(reach, job_id)

    # Without a key there is nothing but its id that could be taken: nobody need look.
    for key, times in (("k", 1), (None, 1000)):
        blind = Blind(database, times)
        services = replace(installation.services, insertions=Batcher(stored_late), jobs=blind)
        job = await dispatch(services, ANN, make_request(namespace="demo", task="echo", idempotency_key=key))
        assert [one["_id"] async for one in database["jobs"].find({})] == [job.id]
        await database["jobs"].delete_many({})


async def test_a_job_that_keeps_changing_is_given_up(installation: Installation) -> None:
    async def changed_meanwhile() -> Job | None:
        return None

    with pytest.raises(StoreUnavailable, match=r"the job kept changing$"):
        await Pursuit(installation.services, EVERYWHERE, "job_1").until_known(changed_meanwhile)


async def test_a_job_that_keeps_changing_after_a_lost_answer_may_have_been_changed(installation: Installation) -> None:
    async def lost() -> Job | None:
        raise StoreUnavailable("MongoDB", "NetworkTimeout")

    async def step() -> Job | None:
        return None if pursuit.is_open else await pursuit.write(lost())

    pursuit = Pursuit(installation.services, EVERYWHERE, "job_1")
    with pytest.raises(StoreUnavailable, match="the job kept changing; it is unknown whether the job was changed"):
        await pursuit.until_known(step)


async def test_an_operation_that_was_begun_is_answered_whatever_becomes_of_its_first_jobs(
    installation: Installation, failing_mongod: FailingMongod, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await installation.dispatch(product="shop")
    with failing_mongod.failing("update", on=f"{database.name}.jobs", errorCode=OUT_OF_DISK_SPACE):
        operation = await begin_bulk(installation.services, ANN, CANCEL)
    assert counts(operation) == ("running", 1, 0, 0)
    assert "the first steps of an operation: MongoDB is unavailable" in caplog.text
