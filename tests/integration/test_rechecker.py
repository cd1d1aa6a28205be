"""The walk over cron jobs at the start of a worker: what other rules have stored is moved, and nothing else is touched."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.access import EVERYWHERE, Reach
from jobs.cron import CronError
from jobs.decisions import Succeeded, decide
from jobs.errors import StoreUnavailable
from jobs.events import EventType
from jobs.job import Job, Run
from jobs.lifecycle import JobStatus
from jobs.recheck import recheck
from jobs.schedule import ScheduleSpec
from resolvers.steering import cancel, reschedule
from storage.client import Database
from storage.documents import Document, run_to_document
from storage.job_updates import Finish, Progress
from storage.jobs import JobReader, Planned
from storage.signals import Topic
from storage.transitions import JobWriter, Steered
from tests.factories import every
from tests.installation import ANN, DEADLINE, Installation
from worker.rechecker import Rechecker
from worker.tasks import Handler
from worker.unschedulable import pause_unschedulable

HOUR = timedelta(hours=1)
LEAP_DAY = ScheduleSpec(cron="0 0 29 2 *", tz="America/New_York")
"""Far away, whenever the tests are run."""


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "jobgate.recheck")
    return caplog


class Stored:
    """Jobs of a database, with what other rules, or other times, would have stored of them."""

    def __init__(self, installation: Installation, database: Database) -> None:
        self.installation = installation
        self.jobs = database["jobs"]
        self.right: dict[str, datetime] = {}

    async def job(self, off: timedelta = HOUR, *, schedule: ScheduleSpec = LEAP_DAY, **fields: Any) -> str:
        """A job whose next instant is stored so far off."""
        job = await self.installation.dispatch(schedule=schedule)
        assert job.next_run_at is not None
        self.right[job.id] = job.next_run_at
        stored = job.next_run_at + off
        values = {"next_run_at": stored, "scheduled_at": stored, "effective_at": stored, "outbox": [], **fields}
        await self.jobs.update_one({"_id": job.id}, {"$set": values})
        return job.id

    async def documents(self) -> dict[str, Document]:
        return {document["_id"]: document async for document in self.jobs.find()}

    async def read(self, job_id: str) -> Job:
        found = await self.installation.services.jobs.find(EVERYWHERE, job_id)
        assert found is not None
        return found


@pytest.fixture
def planned(installation: Installation, database: Database) -> Stored:
    return Stored(installation, database)


def run(**fields: Any) -> Document:
    begun = Run(number=1, attempt=1, failures=0, expiries=0, scheduled_for=datetime(2024, 2, 29, 5, tzinfo=UTC))
    return run_to_document(begun) | fields


def rechecker(installation: Installation, database: Database, batch: int = 500, **parts: Any) -> Rechecker:
    reader = parts.get("reader", JobReader(database))
    return Rechecker(
        reader, JobWriter(database), installation.services.signals, installation.services.clock, batch=batch
    )


async def walk(rechecker: Rechecker) -> None:
    while await rechecker.run_once() is not None:
        pass


async def echo(_: object, value: Any) -> Any:
    return value


HANDLERS: dict[str, Handler] = {"demo.echo": echo}


async def until_said(text: str, said: pytest.LogCaptureFixture, planned: Stored) -> None:
    """Wait for a line of the log. Each turn is a request, in which the worker gets to work."""
    async with asyncio.timeout(DEADLINE):
        while text not in said.text:
            await planned.jobs.find_one()


class Meanwhile(JobReader):
    """A reader of jobs beside which something happens: once what was asked for has been read, and before it is answered."""

    def __init__(self, database: Database, event: Callable[[], Awaitable[object]]) -> None:
        super().__init__(database)
        self._event = event

    async def find_many(self, reach: Reach, job_ids: Sequence[str]) -> Mapping[str, Job]:
        found = await super().find_many(reach, job_ids)
        await self._event()
        return found


class Restless(Meanwhile):
    """One beside which it happens at every single reading as well."""

    async def planned_by_cron(self, after: Planned | None, limit: int) -> list[Planned]:
        found = await super().planned_by_cron(after, limit)
        await self._event()
        return found

    async def find(self, reach: Reach, job_id: str) -> Job | None:
        found = await super().find(reach, job_id)
        await self._event()
        return found


RUNNING: dict[str, Any] = {"status": "running", "run": run(token="t1", started_at=datetime(2024, 2, 29, 5, tzinfo=UTC))}


async def test_exactly_what_other_rules_have_stored_is_moved(
    installation: Installation, database: Database, planned: Stored, said: pytest.LogCaptureFixture
) -> None:
    yesterday = datetime.now(UTC) - 24 * HOUR
    ended: dict[str, Any] = {"status": "completed", "completed_at": yesterday}
    bounded: dict[str, Any] = {"recurrence.end_date": yesterday + 48 * HOUR}
    wrong = {
        await planned.job(),
        await planned.job(-HOUR),
        await planned.job(status="queued", run=run()),
        await planned.job(**RUNNING),
    }
    for schedule in (
        LEAP_DAY,
        every(3600, start_at=yesterday + 48 * HOUR),
        ScheduleSpec(start_at=yesterday + 48 * HOUR),
    ):
        await planned.job(timedelta(0), schedule=schedule)
        await planned.job(schedule=schedule, next_run_at=yesterday)
        await planned.job(schedule=schedule, **ended)
    await planned.job(timedelta(0), **RUNNING)
    await planned.job(schedule=every(3600, start_at=yesterday + 48 * HOUR))
    await planned.job(schedule=LEAP_DAY, run=run(attempt=2))
    await planned.job(status="paused", next_run_at=None)
    await planned.job(catch_up_until=yesterday + HOUR, next_run_at=yesterday)
    await planned.job(**bounded)
    before = await planned.documents()
    await walk(rechecker(installation, database))
    after = await planned.documents()
    assert {job_id for job_id in after if after[job_id] != before[job_id]} == wrong
    for job_id in wrong:
        assert_moved(before[job_id], after[job_id], planned.right[job_id])
    assert sum(record.levelno == logging.WARNING for record in said.records) == len(wrong)
    assert said.messages[-1] == "9 cron jobs checked against today's rules, 4 moved"


def assert_moved(before: Document, after: Document, right: datetime) -> None:
    """To ``right``, with an event that tells of it; nothing else is different."""
    [event] = after["outbox"]
    assert (event["type"], event["seq"], event["actor"], event["status"]) == (
        "job.rescheduled",
        before["event_seq"] + 1,
        None,
        before["status"],
    )
    assert (
        f"the next run moves from {before['next_run_at']:%Y-%m-%dT%H:%M:%SZ} to {right:%Y-%m-%dT%H:%M:%SZ}"
        in event["reason"]
    )
    due = {"scheduled_at": right, "effective_at": right} if before["status"] == "scheduled" else {}
    counted = {field: before[field] + 1 for field in ("revision", "steered", "event_seq")}
    assert after == {**before, **counted, **due, "next_run_at": right, "outbox": [event], "updated_at": event["at"]}


async def test_a_worker_rechecks_at_its_start_and_tells_of_each_job_that_it_moves(
    installation: Installation, planned: Stored, said: pytest.LogCaptureFixture
) -> None:
    job = await planned.read(await planned.job())
    assert job.next_run_at is not None
    await installation.worker(HANDLERS)
    await until_said("1 cron jobs checked against today's rules, 1 moved", said, planned)
    [*_, event] = await installation.until(job, EventType.JOB_RESCHEDULED)
    assert (event.actor, event.snapshot.scheduled_at) == (None, planned.right[job.id])
    assert event.reason == (
        "by today's rules '0 0 29 2 *' in America/New_York names other instants: the next run moves from "
        f"{job.next_run_at:%Y-%m-%dT%H:%M:%SZ} to {planned.right[job.id]:%Y-%m-%dT%H:%M:%SZ}"
    )
    assert (await installation.job(job)).next_run_at == planned.right[job.id]
    assert (f"job {job.id}: {event.reason}", logging.WARNING) in [
        (record.message, record.levelno) for record in said.records
    ]


async def test_a_run_that_goes_on_meanwhile_is_followed_by_the_instant_that_is_right(
    installation: Installation, planned: Stored, said: pytest.LogCaptureFixture
) -> None:
    proceed, began = asyncio.Event(), asyncio.Event()

    async def wait(_: object, __: Any) -> None:
        began.set()
        await proceed.wait()

    await installation.worker({"demo.echo": wait})
    await until_said("0 cron jobs checked", said, planned)
    job = await planned.read(await planned.job(status="queued", run=run()))
    await asyncio.wait_for(began.wait(), DEADLINE)
    await installation.worker(HANDLERS)
    await installation.until(job, EventType.JOB_RESCHEDULED)
    proceed.set()
    await installation.until(job, EventType.JOB_COMPLETED)
    ended = await installation.job(job)
    assert (ended.status, ended.next_run_at) == (JobStatus.SCHEDULED, planned.right[job.id])


async def test_what_a_worker_decided_from_the_old_instant_is_to_be_decided_again(
    installation: Installation, database: Database, planned: Stored
) -> None:
    job = await planned.read(await planned.job(**RUNNING))
    assert job.run is not None
    await walk(rechecker(installation, database))
    decision = decide(job, job.run, Succeeded(None), now=installation.services.clock.now(), draw=0.0)
    [answer] = await JobWriter(database).finish_many([Finish(job.id, "t1", decision, job.steered)])
    assert isinstance(answer, Steered)


async def test_more_jobs_than_one_batch_are_each_checked_once_though_many_are_of_the_same_instant(
    installation: Installation, database: Database, planned: Stored, said: pytest.LogCaptureFixture
) -> None:
    at = installation.services.clock.now()
    for number in range(9):
        # Neither the first nor the last batch ends where the instant of creation changes.
        await planned.job(HOUR if number % 2 else timedelta(0), created_at=at + (number // 5) * HOUR)
    resting: dict[str, Any] = {"status": "paused", "next_run_at": None}
    others = [await planned.job(created_at=at - HOUR, **resting) for _ in range(4)]  # whole batches of them
    await walk(rechecker(installation, database, batch=2))
    instants = {job_id: one["next_run_at"] for job_id, one in (await planned.documents()).items()}
    assert instants == planned.right | dict.fromkeys(others)
    assert said.messages[-1] == "9 cron jobs checked against today's rules, 4 moved"


async def test_a_job_that_a_caller_steers_meanwhile_stays_as_that_has_left_it(
    installation: Installation, database: Database, planned: Stored, said: pytest.LogCaptureFixture
) -> None:
    moved, ended = await planned.job(), await planned.job()
    steered: list[dict[str, Document]] = []

    async def steer() -> None:
        await reschedule(installation.services, ANN, moved, ScheduleSpec(cron="30 4 29 2 *"))
        await cancel(installation.services, ANN, ended, None)
        steered.append(await planned.documents())

    await walk(rechecker(installation, database, reader=Meanwhile(database, steer)))
    after = await planned.documents()
    assert after == steered[0]
    assert said.messages == ["2 cron jobs checked against today's rules, 0 moved"]


@pytest.mark.parametrize("kind", [Meanwhile, Restless])
async def test_a_job_that_is_gone_meanwhile_is_passed_over(
    installation: Installation, database: Database, planned: Stored, kind: type[Meanwhile]
) -> None:
    gone, other = await planned.job(), await planned.job()
    reader = kind(database, lambda: planned.jobs.delete_one({"_id": gone}))
    await walk(rechecker(installation, database, reader=reader))
    assert (await planned.read(other)).next_run_at == planned.right[other]


async def test_a_run_that_reports_its_progress_meanwhile_does_not_keep_its_job_from_being_moved(
    installation: Installation, database: Database, planned: Stored
) -> None:
    job_id = await planned.job(**RUNNING)

    async def report() -> None:
        await JobWriter(database).report_progress_many([Progress(job_id, "t1", 0.5, None)])

    await walk(rechecker(installation, database, reader=Meanwhile(database, report)))
    job = await planned.read(job_id)
    assert (job.next_run_at, job.progress) == (planned.right[job_id], 0.5)


async def test_after_a_store_that_gave_no_answer_the_walk_goes_on_with_the_same_job(
    installation: Installation, database: Database, planned: Stored, said: pytest.LogCaptureFixture
) -> None:
    first, restless, last = [await planned.job() for _ in range(3)]
    settled = False

    async def change() -> None:
        if not settled:
            await planned.jobs.update_one({"_id": restless}, {"$inc": {"revision": 1}})

    walking = rechecker(installation, database, reader=Restless(database, change))
    with pytest.raises(StoreUnavailable, match="kept changing"):
        await walking.run_once()
    assert (await planned.read(first)).next_run_at == planned.right[first]
    settled = True
    await walk(walking)
    for job_id in (restless, last):
        assert (await planned.read(job_id)).next_run_at == planned.right[job_id]
    assert said.messages[-1] == "3 cron jobs checked against today's rules, 3 moved"


async def test_a_job_that_cannot_be_written_does_not_keep_the_others(
    installation: Installation, database: Database, planned: Stored
) -> None:
    await planned.job(event_seq="?")
    others = [await planned.job() for _ in range(2)]
    walking = rechecker(installation, database)
    with pytest.raises(Exception, match=r"only supports numeric"):
        await walking.run_once()
    await walk(walking)
    for job_id in others:
        assert (await planned.read(job_id)).next_run_at == planned.right[job_id]


GONE: dict[str, Any] = {"recurrence.tz": "Mars/Base"}


async def test_a_job_whose_zone_is_gone_is_paused_and_a_run_of_one_takes_place(
    installation: Installation, database: Database, planned: Stored
) -> None:
    waiting, queued = await planned.job(**GONE), await planned.job(status="queued", run=run(), **GONE)
    other, before = await planned.job(), await planned.documents()
    await walk(rechecker(installation, database))
    paused = await planned.read(waiting)
    assert (paused.status, paused.next_run_at) == (JobStatus.PAUSED, None)
    assert paused.paused is not None
    assert paused.paused.reason == "its schedule can no longer be followed: unknown time zone 'Mars/Base'"
    assert (await planned.documents())[queued] == before[queued]
    assert (await planned.read(other)).next_run_at == planned.right[other]


async def test_a_job_that_was_given_another_schedule_meanwhile_is_not_paused_for_the_old_one(
    installation: Installation, database: Database, planned: Stored
) -> None:
    job_id = await planned.job(**GONE)
    stale = await planned.read(job_id)
    mended = await reschedule(installation.services, ANN, job_id, ScheduleSpec(tz="Europe/Paris"))
    with pytest.raises(CronError) as gone:
        recheck(stale, installation.services.clock.now())
    await pause_unschedulable(JobWriter(database), stale, gone.value)
    assert await planned.read(job_id) == mended


@pytest.mark.parametrize(
    ("stored", "woken"),
    [
        ({"off": timedelta(0)}, []),
        ({}, [Topic.OUTBOX, Topic.SCHEDULED]),
        (GONE, [Topic.OUTBOX]),
    ],
    ids=["right", "moved", "paused"],
)
async def test_whom_it_concerns_is_woken(
    installation: Installation,
    database: Database,
    planned: Stored,
    monkeypatch: pytest.MonkeyPatch,
    stored: dict[str, Any],
    woken: list[Topic],
) -> None:
    await planned.job(**stored)
    found: list[Topic] = []
    monkeypatch.setattr(installation.services.signals, "wake", lambda *topics: found.extend(topics))
    await walk(rechecker(installation, database))
    assert found == woken
