"""Statistics against a real MongoDB: whatever happens, and whoever dies over it, the counters say what a full count would."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from pymongo import UpdateOne

from gateway.devstack import Servers
from jobs.access import EVERYWHERE
from jobs.decisions import Failed, Outcome, Released, Succeeded, decide
from jobs.dispatch import RetrySpec
from jobs.errors import JobgateError, StoreUnavailable, TooExpensive
from jobs.events import EventType
from jobs.filters import JobFilter
from jobs.histograms import bucket_of
from jobs.job import Job, JobError, Run
from jobs.lifecycle import JobStatus
from jobs.promotion import promote
from jobs.schedule import ScheduleSpec
from jobs.spans import Bucket, cover, floor
from jobs.statistics import JobCounts, RunCounts, run_counts
from resolvers.statistics import count_jobs_by_status, count_runs, list_run_buckets
from resolvers.steering import delete, pause, reschedule, resume, retry
from storage.client import Database
from storage.filters import job_filter
from storage.job_updates import Claim, Finish, NewJob, first_nudge
from storage.leases import Lease
from storage.outbox import Outbox
from storage.projection import POSITION, Projection
from storage.recount import RepairUnderWay, repair_statistics
from storage.statistics import StatisticsReader
from storage.transitions import JobWriter
from tests.factories import every, make_job
from tests.installation import ANN, Installation, installed, offer, running_job
from worker.context import TaskContext
from worker.relay import Relay
from worker.tasks import TaskError

ALL = JobFilter()
LEASE = timedelta(seconds=15)
HOUR = timedelta(hours=1)


@pytest.fixture
async def installation(database: Database, servers: Servers, redis_url: str) -> AsyncIterator[Installation]:
    await offer(database, "demo.echo", "demo.fail")
    async with installed(database, servers.mongodb_url, redis_url) as installation:
        yield installation


class Chance:
    """Somebody who does whatever comes to mind, and a worker that is no better."""

    def __init__(self, installation: Installation, database: Database, seed: int) -> None:
        self.installation = installation
        self.database = database
        self.random = random.Random(seed)  # noqa: S311  # the same every time
        self.writer = installation.services.writer
        self.jobs: list[Job] = []

    async def step(self) -> None:
        steps: Sequence[Callable[[], Awaitable[object]]] = [
            *[self.dispatch] * 3,
            *[self.work] * 12,
            *[self.steer] * 4,
            self.relay,
            self.fold,
            self.repair,
        ]
        with suppress(JobgateError):
            await self.random.choice(steps)()

    async def dispatch(self) -> None:
        schedules = [
            ScheduleSpec(),
            ScheduleSpec(),
            every(1),
            every(1, limit=2),
            ScheduleSpec(start_at=datetime(2099, 1, 1).astimezone()),
        ]
        job = await self.installation.dispatch(
            self.random.choice(["demo.echo", "demo.fail"]),
            product=self.random.choice(["shop", "$blog.x"]),
            env=self.random.choice(["prd", "dev"]),
            tags=tuple(self.random.sample(["red", "blue"], self.random.randint(0, 2))),
            retries=self.random.randint(0, 2),
            schedule=self.random.choice(schedules),
        )
        self.jobs.append(job)

    async def steer(self) -> None:
        services, job = self.installation.services, self.random.choice(self.jobs)
        actions: Sequence[Callable[[], Awaitable[object]]] = [
            lambda: self.installation.cancel(job),
            lambda: pause(services, ANN, job.id, None),
            lambda: resume(services, ANN, job.id),
            *[lambda: retry(services, ANN, job.id, self.random.choice([0, 1000]))] * 3,
            *[lambda: delete(services, ANN, job.id)] * 3,
            lambda: reschedule(services, ANN, job.id, ScheduleSpec(every_ms=5000)),
        ]
        await self.random.choice(actions)()

    async def work(self) -> None:
        job = await self.installation.services.jobs.find(EVERYWHERE, self.random.choice(self.jobs).id)
        if job is None:
            return
        if job.status is JobStatus.SCHEDULED and job.next_run_at is not None:
            await self.writer.promote_many([(job, promote(job, job.next_run_at))], nudged=1)
        elif job.status is JobStatus.QUEUED and job.run is not None:
            await self.writer.claim_many([Claim(first_nudge(job, job.run), "w1", str(self.random.random()), LEASE)])
        elif job.status is JobStatus.RUNNING and job.run is not None and job.run.token is not None:
            outcomes: Sequence[Outcome] = [Succeeded(1), Failed(JobError("OOPS", "no")), Released("later")]
            outcome = self.random.choice(outcomes)
            decision = decide(job, job.run, outcome, now=self.installation.services.clock.now(), draw=0.0)
            await self.writer.finish_many([Finish(job.id, job.run.token, decision, job.steered)])

    async def relay(self) -> None:
        await Outbox(self.database).relay(self.random.randint(1, 20))

    async def fold(self) -> None:
        crash = self.random.choice([None, "_begin", "_add", "_end", "_write"])
        await (self.dying(crash) if self.random.random() < 0.6 else self.together())

    async def repair(self) -> None:
        """However much is under way, and left by the dead, there is nothing to correct."""
        assert await repair_statistics(self.database, "doctor") == []

    async def dying(self, step: str | None) -> None:
        projection = Projection(self.database)
        if step == "_write":
            setattr(projection, step, half_of(projection._write))
        elif step is not None:
            setattr(projection, step, die)
        with suppress(Killed):
            await projection.fold(self.random.randint(1, 30))

    async def together(self) -> None:
        await asyncio.gather(*(Projection(self.database).fold(self.random.randint(1, 30)) for _ in range(4)))


class Killed(Exception):
    """The process is no more."""


async def die(*_: object) -> Any:
    raise Killed


def half_of(write: Callable[[Sequence[UpdateOne]], Awaitable[list[int]]]) -> Callable[..., Awaitable[list[int]]]:
    async def write_half(writes: Sequence[UpdateOne]) -> list[int]:
        await write(writes[: len(writes) // 2])
        raise Killed

    return write_half


async def catch_up(database: Database) -> None:
    while await Outbox(database).relay(100):
        pass
    while await Projection(database).fold():
        pass


async def counted_jobs(database: Database, conditions: JobFilter = ALL) -> JobCounts:
    """A full count that has nothing in common with the product's."""
    jobs = [job async for job in database["jobs"].find(job_filter(conditions))]
    completed = [job for job in jobs if job["status"] == "completed"]
    return JobCounts(
        {status: sum(job["status"] == status for job in jobs) for status in JobStatus},
        first_try=sum(job["retry_count"] == 0 for job in completed),
        after_retry=sum(job["retry_count"] > 0 for job in completed),
        retries=sum(job["retry_count"] for job in jobs if job["status"] in ("completed", "failed")),
    )


async def ended_runs(database: Database, product: str | None = None) -> list[dict[str, Any]]:
    """All the runs that the log tells of, those of deleted jobs too."""
    wanted = {"run": {"$ne": None}} | ({} if product is None else {"product": product})
    return [event["run"] async for event in database["events"].find(wanted)]


def told_by(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What statistics of these runs should say."""
    durations = [milliseconds(run["completed_at"] - run["started_at"]) for run in runs]
    waits = [max(0, milliseconds(run["started_at"] - run["scheduled_for"])) for run in runs]
    return {
        "statuses": [sum(run["status"] == name for run in runs) for name in ("completed", "failed", "cancelled")],
        "durations": (histogram(durations), max(durations, default=0)),
        "waits": (histogram(waits), max(waits, default=0)),
    }


def said_of(runs: RunCounts) -> dict[str, Any]:
    return {
        "statuses": [runs.successful, runs.failed, runs.cancelled],
        "durations": (dict(runs.duration.counts), runs.duration.longest),
        "waits": (dict(runs.wait.counts), runs.wait.longest),
    }


def histogram(lengths: Sequence[int]) -> dict[int, int]:
    buckets = [bucket_of(length) for length in lengths]
    return {bucket: buckets.count(bucket) for bucket in buckets}


def milliseconds(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)


async def check(installation: Installation, database: Database) -> None:
    services = installation.services
    with_run = database["events"].find({"run": {"$ne": None}})
    told = {f"{event['job_id']}:{event['run']['number']}" async for event in with_run}
    assert {run["_id"] async for run in database["executions"].find({})} <= told
    for product in ("shop", "$blog.x", None):
        conditions = JobFilter(product=None if product is None else (product,))
        assert await count_jobs_by_status(services, ANN, conditions) == await counted_jobs(database, conditions)
        runs = await ended_runs(database, product)
        assert said_of(await count_runs(services, ANN, conditions)) == told_by(runs)
        for bucket in Bucket:
            series = await list_run_buckets(services, ANN, conditions, bucket)
            starts = {floor(run["completed_at"], bucket) for run in runs}
            assert [one.start for one in series] == sorted(starts)
            for one in series:
                within = [run for run in runs if floor(run["completed_at"], bucket) == one.start]
                assert said_of(one.runs) == told_by(within)


@pytest.mark.parametrize("seed", range(4))
async def test_after_random_operations_and_deaths_the_counters_equal_a_full_count(
    installation: Installation, database: Database, seed: int
) -> None:
    chance = Chance(installation, database, seed)
    await chance.dispatch()
    for _ in range(250):
        await chance.step()
    await catch_up(database)
    await check(installation, database)
    assert await repair_statistics(database, "doctor") == []
    assert len(await ended_runs(database)) > 10
    deleted = await database["events"].count_documents({"type": EventType.JOB_DELETED.value})
    assert deleted
    await check_repair(installation, database, chance.random)


async def check_repair(installation: Installation, database: Database, chance: random.Random) -> None:
    """Whatever is done to the counters, a repair puts it right, also while events are being folded."""
    ids = [one["_id"] async for one in database["statistics"].find({}, {"_id": 1})]
    for one in chance.sample(ids, len(ids) // 2):
        wrong = {"$inc": {"counts.job:failed": 7, "counts.run:completed": -1}, "$max": {"longest.wait": 10**6}}
        await database["statistics"].update_one({"_id": one}, wrong)
    await database["statistics"].delete_many({"_id": {"$in": chance.sample(ids, len(ids) // 3)}})
    for _ in range(5):
        await installation.dispatch(product="shop")
    await Outbox(database).relay(2)
    corrected, _ = await asyncio.gather(repair_statistics(database, "doctor"), catch_up(database))
    assert corrected
    await catch_up(database)
    await check(installation, database)
    assert await repair_statistics(database, "doctor") == []


async def test_the_relay_of_a_worker_counts_what_really_runs(installation: Installation, database: Database) -> None:
    async def echo(_: TaskContext, value: Any) -> Any:
        return value

    async def fail(_: TaskContext, __: Any) -> Any:
        raise TaskError("OOPS", "it broke")

    await installation.worker({"demo.echo": echo, "demo.fail": fail})
    done = [await installation.dispatch() for _ in range(5)]
    failed = await installation.dispatch("demo.fail", retries=1, retry=RetrySpec(initial_delay_ms=1))
    recurring = await installation.dispatch(schedule=every(1, limit=2))
    for job in done:
        await installation.until(job, EventType.JOB_COMPLETED)
    await installation.until(failed, EventType.JOB_FAILED)
    await installation.until(recurring, EventType.JOB_COMPLETED, times=2)
    await installation.stop_workers()
    await catch_up(database)
    await check(installation, database)
    jobs = await count_jobs_by_status(installation.services, ANN, ALL)
    assert (jobs.by_status[JobStatus.COMPLETED], jobs.by_status[JobStatus.FAILED], jobs.retries) == (6, 1, 1)
    runs = await count_runs(installation.services, ANN, ALL)
    assert (runs.successful, runs.failed) == (7, 1)


CONDITIONS: list[dict[str, Any]] = [
    {"status": (JobStatus.FAILED, JobStatus.COMPLETED)},
    {"recurring": True},
    {"recurring": False},
    {"env": ("prd",), "tags": ("red",)},
    {"tags": ()},
    {"product": ()},
    {"product": ("shop",), "env": ("prd",), "namespace": ("demo",), "task": ("echo",)},
    {"product": ("shop", "$blog.x"), "recurring": False},
    {"error_code": ("OOPS",)},
    {"idempotency_key": "none"},
    {"ids": ("job_1",)},
]


async def test_every_condition_counts_what_it_means(installation: Installation, database: Database) -> None:
    chance = Chance(installation, database, 7)
    await chance.dispatch()
    for _ in range(200):
        await chance.step()
    await catch_up(database)
    await spread_over_time(database)
    services = installation.services
    times = sorted([run["completed_at"] async for run in database["executions"].find({})])
    spans = [
        (None, None),
        (times[1], times[-1]),
        (None, floor(times[-1], Bucket.MINUTE)),
        (times[len(times) // 2], None),
    ]
    for given in CONDITIONS:
        for start, end in spans:
            conditions = JobFilter(**given, from_=start, to=end)
            assert await count_jobs_by_status(services, ANN, conditions) == await counted_jobs(database, conditions)
            runs = await runs_of(database, JobFilter(**given), start, end)
            assert said_of(await count_runs(services, ANN, conditions)) == told_by(runs), conditions


async def spread_over_time(database: Database) -> None:
    """As if it had all happened over some days; without what is left of deleted jobs."""
    chance = random.Random(1)  # noqa: S311  # the same every time
    async for run in database["executions"].find({}):
        by = timedelta(milliseconds=chance.randrange(3 * 86_400_000))
        moved = {field: run[field] - by for field in ("scheduled_for", "started_at", "completed_at")}
        moved["started_at"] -= timedelta(milliseconds=int(2 ** (chance.random() * 20)))
        await database["executions"].update_one({"_id": run["_id"]}, {"$set": moved})
    # Kept, since the hub would miss them; but no longer telling of the runs that have moved.
    await database["events"].update_many({"run": {"$ne": None}}, {"$set": {"run": None}})
    await database["statistics"].delete_many({})
    await repair_statistics(database, "doctor")


async def runs_of(
    database: Database, conditions: JobFilter, start: datetime | None, end: datetime | None
) -> list[dict[str, Any]]:
    ids = [job["_id"] async for job in database["jobs"].find(job_filter(conditions))]
    runs = [run async for run in database["executions"].find({"job_id": {"$in": ids}})]
    return [
        run
        for run in runs
        if (start is None or start <= run["completed_at"]) and (end is None or run["completed_at"] < end)
    ]


async def test_a_series_begins_and_ends_with_the_filter(installation: Installation, database: Database) -> None:
    chance = Chance(installation, database, 3)
    await chance.dispatch()
    for _ in range(150):
        await chance.step()
    await catch_up(database)
    await spread_over_time(database)
    times = sorted([run["completed_at"] async for run in database["executions"].find({})])
    for given in ({}, {"product": ("shop",)}, {"recurring": True}):
        conditions = JobFilter(**given, from_=times[2], to=times[-1])
        runs = await runs_of(database, JobFilter(**given), times[2], times[-1])
        for bucket in (Bucket.HOUR, Bucket.DAY):
            series = await list_run_buckets(installation.services, ANN, conditions, bucket)
            for one in series:
                within = [run for run in runs if floor(run["completed_at"], bucket) == one.start]
                assert said_of(one.runs) == told_by(within)
            assert sum(one.runs.total for one in series) == len(runs)


async def test_the_server_s_buckets_are_python_s(database: Database) -> None:
    at = datetime(2026, 3, 1).astimezone()
    lengths = {2**power + by for power in range(45) for by in (-1, 0, 1, 2**power // 3)}
    runs = [
        {
            "_id": str(length),
            "job_id": str(length),
            "status": "completed",
            "started_at": at,
            "scheduled_for": at,
            "completed_at": at + timedelta(milliseconds=length),
        }
        for length in lengths
    ]
    await database["executions"].insert_many(runs)
    stretch = cover(at, at + timedelta(seconds=30))
    assert [one.bucket for one in stretch] == [None]
    wide = replace(stretch[0], end=datetime(9000, 1, 1).astimezone())
    found = run_counts((await StatisticsReader(database).runs(EVERYWHERE, ALL, [wide], None))[None])
    assert dict(found.duration.counts) == histogram(sorted(lengths))
    assert found.duration.longest == max(lengths)


async def test_no_question_scans_a_collection(installation: Installation, database: Database) -> None:
    chance = Chance(installation, database, 5)
    await chance.dispatch()
    for _ in range(200):
        await chance.step()
    await catch_up(database)
    services = installation.services
    await installation.dispatch()
    await database.command("profile", 2)
    now = services.clock.now()
    for given in CONDITIONS:
        for start, end in ((None, None), (now - 50 * HOUR, now), (None, now)):
            conditions = JobFilter(**given, from_=start, to=end)
            await count_jobs_by_status(services, ANN, conditions)
            await count_runs(services, ANN, conditions)
            for bucket in (Bucket.HOUR, Bucket.DAY):
                await list_run_buckets(services, ANN, conditions, bucket)
    await catch_up(database)
    await repair_statistics(database, "doctor")
    await database.command("profile", 0)
    # Change streams go through the oplog, whatever is asked.
    followed = {
        f"{command}.pipeline.$changeStream": {"$exists": False} for command in ("command", "originatingCommand")
    }
    asked = {"planSummary": {"$exists": True}, **followed}
    entries = database["system.profile"].find(asked)
    plans = [(entry["ns"].partition(".")[2], entry["planSummary"], entry["command"]) async for entry in entries]
    assert {"jobs", "executions", "statistics", "events"} <= {collection for collection, *_ in plans}
    assert [plan for plan in plans if "COLLSCAN" in plan[1]] == []


async def test_the_relay_counts_what_it_tells_and_what_another_has_left(
    installation: Installation, database: Database
) -> None:
    await installation.dispatch()
    await Outbox(database).relay(10)
    lease = Lease(database, "relay", "me", LEASE)
    relay = Relay(Outbox(database), Projection(database), lease, installation.services.signals, always)
    await relay_and_count(relay)
    assert (await count_jobs_by_status(installation.services, ANN, ALL)).total == 1
    for _ in range(3):
        await installation.dispatch()
    await relay_and_count(relay)
    assert (await count_jobs_by_status(installation.services, ANN, ALL)).total == 4
    # Nothing new: neither the log nor the position is read.
    await database.command("profile", 2)
    await relay_and_count(relay)
    await database.command("profile", 0)
    assert await database["system.profile"].count_documents({"ns": f"{database.name}.projections"}) == 0
    await relay.stop()


async def always() -> bool:
    return True


async def relay_and_count(relay: Relay) -> None:
    """Until there is nothing more to do, with the waits in between that the relay asks for."""
    async with asyncio.timeout(10):
        await asyncio.sleep(await relay.run_once())
        while relay._uncounted:
            pause = await relay.run_once()
            await asyncio.sleep(pause)
        assert relay._counting is not None
        await relay._counting


async def test_a_write_that_tells_of_two_events_moves_its_job_once(
    installation: Installation, database: Database
) -> None:
    services = installation.services
    claimed = job = await running_job(installation, "t1")
    outcome = Failed(JobError("OOPS", "no"))
    decision = decide(claimed, running_of(claimed), outcome, now=services.clock.now(), draw=0.0)
    await services.writer.finish_many([Finish(job.id, "t1", decision, claimed.steered)])
    await retry(services, ANN, job.id, 0)
    await catch_up(database)
    await check(installation, database)
    assert (await count_jobs_by_status(services, ANN, ALL)).by_status[JobStatus.QUEUED] == 1


def running_of(job: Job) -> Run:
    assert job.run is not None
    return job.run


async def test_runs_that_a_caller_ends_are_counted_by_how_they_ended(
    installation: Installation, database: Database
) -> None:
    """Pausing closes a run that waits for its retry, as failed; cancelling ends one that goes on."""
    services = installation.services
    await services.clock.synchronise()
    paused = await running_job(installation, "t1", schedule=every(1), retries=1)
    outcome = Failed(JobError("OOPS", "no"))
    decision = decide(paused, running_of(paused), outcome, now=services.clock.now(), draw=0.0)
    await services.writer.finish_many([Finish(paused.id, "t1", decision, paused.steered)])
    await pause(services, ANN, paused.id, None)
    await installation.cancel(await running_job(installation, "t2"))
    await catch_up(database)
    runs = await count_runs(services, ANN, ALL)
    assert (runs.total, runs.successful, runs.failed, runs.cancelled) == (2, 0, 1, 1)
    await check(installation, database)


async def test_either_driver_folds_reads_and_repairs(any_database: Database) -> None:
    job = make_job()
    await JobWriter(any_database).insert_many([NewJob(job, None, nudged=False)])
    assert await repair_statistics(any_database, "doctor") == []
    await catch_up(any_database)
    assert (await StatisticsReader(any_database).jobs(EVERYWHERE, ALL)).total == 1
    await any_database["statistics"].delete_many({})
    [correction] = await repair_statistics(any_database, "doctor")
    assert correction.change.counts == {"job:queued": 1}
    assert (await StatisticsReader(any_database).jobs(EVERYWHERE, JobFilter(product=("shop",)))).total == 1


async def test_what_was_repaired_before_it_was_folded_is_folded_all_the_same(database: Database) -> None:
    """The repair creates a counter's document; what is folded for the first time then has to find its way into it."""
    writer = JobWriter(database)
    await writer.insert_many([NewJob(make_job(), None, nudged=False)])
    await catch_up(database)
    await database["statistics"].delete_many({})
    await writer.insert_many([NewJob(make_job(job_id="job_2"), None, nudged=False)])
    await Outbox(database).relay(10)
    assert len(await repair_statistics(database, "doctor")) == 1
    await catch_up(database)
    assert (await StatisticsReader(database).jobs(EVERYWHERE, ALL)).total == 2


async def test_a_batch_whose_end_a_new_primary_does_not_show_yet_is_folded_once_it_does(database: Database) -> None:
    await JobWriter(database).insert_many([NewJob(make_job(job_id=f"job_{n}"), None, nudged=False) for n in range(3)])
    last = (await Outbox(database).relay(10))[-1].number
    await database["projections"].insert_one({"_id": POSITION, "position": 0, "until": last})
    unseen = await database["events"].find_one_and_delete({"_id": last})
    with pytest.raises(StoreUnavailable):
        await Projection(database).fold()
    await database["events"].insert_one(unseen)
    await catch_up(database)
    assert (await StatisticsReader(database).jobs(EVERYWHERE, ALL)).total == 3


async def test_only_one_repairs_at_a_time(database: Database) -> None:
    outcomes = await asyncio.gather(
        *(repair_statistics(database, f"doctor {number}") for number in range(4)), return_exceptions=True
    )
    assert [] in outcomes
    assert all(outcome == [] or isinstance(outcome, RepairUnderWay) for outcome in outcomes)


async def test_what_takes_too_long_is_an_honest_error(installation: Installation, database: Database) -> None:
    await database["jobs"].insert_many(many_jobs())
    reader = StatisticsReader(database, timeout_ms=1)
    with pytest.raises(TooExpensive, match=r"0\.001 s"):
        await reader.jobs(EVERYWHERE, JobFilter(recurring=False))


def many_jobs() -> list[dict[str, Any]]:
    return [
        {"status": "queued", "retry_count": 0, "deleted_at": None, "created_at": datetime(2026, 3, 1).astimezone()}
        for _ in range(20_000)
    ]


async def test_an_event_that_cannot_be_counted_holds_up_no_other_on_its_way_to_the_log(
    database: Database, installation: Installation
) -> None:
    await installation.dispatch()
    await Outbox(database).relay(10)
    await database["events"].update_one({"_id": 1}, {"$set": {"before": {"status": "unheard of", "retry_count": 0}}})
    lease = Lease(database, "relay", "this", LEASE)
    relay = Relay(Outbox(database), Projection(database), lease, installation.services.signals, always)
    for number in range(2):
        job = await installation.dispatch()
        await relay.run_once()
        told = await database["events"].count_documents({"job_id": job.id})
        assert told == 2, number
    await relay.stop()
