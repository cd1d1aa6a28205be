"""No query of the product scans a collection: each is explained, with enough jobs that the planner has a choice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from gateway.devstack import Servers
from jobs.access import EVERYWHERE
from jobs.filters import JobFilter
from jobs.lifecycle import JobStatus
from jobs.paging import Counted, Order, OrderField, PageRequest, job_cursor
from storage.catching_up import CatchingUp
from storage.client import Database, Driver
from storage.documents import job_to_document
from storage.events import EventLog
from storage.executions import ExecutionReader
from storage.indexes import create_indexes, drop_if_there
from storage.jobs import JobReader
from storage.outbox import Outbox
from storage.transitions import JobWriter
from tests.conftest import opened, run
from tests.databases import Databases
from tests.factories import NOW, every, make_job

PRODUCTS = 20
JOBS = 4000


@pytest.fixture(scope="module")
def filled(servers: Servers, databases: Databases) -> Iterator[str]:
    """The name of a database with jobs, for tests that only read them."""
    name = databases.take()
    run(fill_new(servers.mongodb_url, name))
    yield name
    databases.give_back(name)


@pytest.fixture
async def explained(servers: Servers, filled: str) -> AsyncIterator["Explained"]:
    async with opened(servers.mongodb_url, filled, Driver.MOTOR) as database:
        # A plan that was good for another test would be used.
        await database.command("planCacheClear", "jobs")
        async with profiled(database) as explained:
            yield explained


@pytest.fixture
async def changed(database: Database) -> AsyncIterator["Explained"]:
    """The same with jobs of its own, for tests that change them."""
    await fill(database)
    async with profiled(database) as explained:
        yield explained


async def fill_new(url: str, name: str) -> None:
    async with opened(url, name, Driver.MOTOR) as database:
        await fill(database)


async def fill(database: Database) -> None:
    await database["jobs"].insert_many([document(number) for number in range(JOBS)])


@asynccontextmanager
async def profiled(database: Database) -> AsyncIterator["Explained"]:
    await database.command("profile", 2)
    yield Explained(database)
    await database.command("profile", 0)
    await database["system.profile"].drop()


class Explained:
    """Asks MongoDB's profiler what really happened."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.jobs = JobReader(database)

    async def plans(self, collection: str = "jobs") -> list[dict[str, Any]]:
        cursor = self.database["system.profile"].find({"ns": f"{self.database.name}.{collection}"})
        return [entry async for entry in cursor]

    async def change(self, wanted: dict[str, Any], values: dict[str, Any]) -> None:
        """What is not to be explained."""
        await self.database.command("profile", 0)
        await self.database["jobs"].update_many(wanted, {"$set": values})
        await self.database.command("profile", 2)

    async def check(self, *, most: int, collection: str = "jobs") -> None:
        plans = await self.plans(collection)
        assert plans
        for plan in plans:
            assert "COLLSCAN" not in plan["planSummary"], plan["command"]
            assert not plan.get("hasSortStage", False), plan["command"]
            assert plan.get("docsExamined", 0) <= most, plan["command"]


def document(number: int) -> dict[str, Any]:
    at = NOW + timedelta(seconds=number // 4)
    statuses = list(JobStatus)
    job = make_job(
        job_id=f"job_{number:05}",
        now=at,
        schedule=every(60),
        product=f"product_{number % PRODUCTS}",
        env="prd" if number % 3 else "dev",
        task=f"task_{number % 40}",
        namespace=f"namespace_{number % 40}",
        tags=(f"tag_{number % 40}",),
        priority=number % 2,
    )
    job = replace(
        job,
        status=statuses[number % 7],
        recurrence=job.recurrence if number % 39 == 0 else None,
        completed_at=at if number % 7 in (3, 4, 5) else None,
    )
    extras: dict[str, Any] = {"outbox": [], "event_seq": 0}
    if number % 40 == 1:
        extras["last_error"] = {"code": f"CODE_{number % 3}", "message": "m"}
    if number % 40 == 2:
        extras["idempotency"] = {"key": f"key_{number}", "request_hash": "h"}
    else:
        extras["idempotency"] = None
    return job_to_document(job) | extras


@pytest.mark.parametrize("field", list(OrderField))
async def test_every_order_reads_a_page_and_nothing_else_however_deep(explained: Explained, field: OrderField) -> None:
    middle = await explained.jobs.find(EVERYWHERE, f"job_{JOBS // 2:05}")
    assert middle is not None
    for order in (Order(field, descending=True), Order(field, descending=False)):
        cursor = job_cursor(order, middle)
        for request in (
            PageRequest(100),
            PageRequest(100, after=cursor),
            PageRequest(100, before=cursor, backward=True),
        ):
            page = await explained.jobs.page(EVERYWHERE, JobFilter(), order, request)
            assert len(page.items) == 100
    await explained.check(most=101)


SELECTIVE: list[dict[str, Any]] = [
    {"product": ("product_3",)},
    {"product": ("product_3",), "env": ("prd",)},
    {"env": ("dev",)},
    {"status": (JobStatus.FAILED,)},
    {"task": ("task_3",)},
    {"namespace": ("namespace_3",)},
    {"tags": ("tag_3",)},
    {"recurring": True},
    {"error_code": ("CODE_1",)},
]
OTHERS: list[dict[str, Any]] = [
    # So few that sorting them costs nothing.
    {"idempotency_key": "key_42"},
    {"ids": ("job_00001", "job_00400")},
    {"from_": NOW + timedelta(seconds=990)},
    {"to": NOW + timedelta(seconds=10)},
]


@pytest.mark.parametrize("conditions", SELECTIVE, ids="-".join)
async def test_a_selective_filter_reads_little_more_than_its_page(
    explained: Explained, conditions: dict[str, Any]
) -> None:
    page = await explained.jobs.page(EVERYWHERE, JobFilter(**conditions), Order(), PageRequest(20))
    assert page.items
    await explained.check(most=21)


@pytest.mark.parametrize("conditions", SELECTIVE + OTHERS, ids="-".join)
async def test_every_filter_is_served_by_an_index_in_every_order(
    explained: Explained, conditions: dict[str, Any]
) -> None:
    for field in OrderField:
        page = await explained.jobs.page(EVERYWHERE, JobFilter(**conditions), Order(field), PageRequest(20))
        assert page.items
    assert all("COLLSCAN" not in plan["planSummary"] for plan in await explained.plans())


LISTED: list[dict[str, Any]] = [
    {"product": ("product_3",)},
    {"product": ("product_3", "product_4", "product_5")},
    {"product": ("product_3",), "env": ("prd",)},
    {"product": ("product_3",), "env": ("dev", "prd")},
    {"status": (JobStatus.FAILED,)},
    {"status": (JobStatus.FAILED, JobStatus.CANCELLED)},
    {"product": ("product_3",), "status": (JobStatus.FAILED,)},
    {"product": ("product_3",), "status": (JobStatus.FAILED, JobStatus.CANCELLED)},
    {"product": ("product_3",), "env": ("prd",), "status": (JobStatus.FAILED,)},
]


@pytest.mark.parametrize("conditions", LISTED, ids=str)
async def test_lists_by_product_env_and_status_read_their_page_in_every_order_and_direction(
    explained: Explained, conditions: dict[str, Any]
) -> None:
    wanted = JobFilter(**conditions)
    for field in OrderField:
        for order in (Order(field, descending=True), Order(field, descending=False)):
            page = await explained.jobs.page(EVERYWHERE, wanted, order, PageRequest(10))
            assert len(page.items) == 10
            cursor = job_cursor(order, page.items[-1])
            assert (await explained.jobs.page(EVERYWHERE, wanted, order, PageRequest(10, after=cursor))).items
    await explained.check(most=11)


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        ({"recurring": True}, OrderField.SCHEDULED_AT),
        ({"recurring": True, "product": ("product_0",)}, OrderField.CREATED_AT),
        ({"error_code": ("CODE_1",)}, OrderField.COMPLETED_AT),
    ],
    ids=str,
)
async def test_lists_of_what_few_jobs_have_read_their_page(
    explained: Explained, conditions: dict[str, Any], field: OrderField
) -> None:
    assert (await explained.jobs.page(EVERYWHERE, JobFilter(**conditions), Order(field), PageRequest(10))).items
    await explained.check(most=11)


async def test_a_product_at_a_time_reads_what_it_had_then(explained: Explained) -> None:
    wanted = JobFilter(product=("product_3",), from_=NOW + timedelta(seconds=100), to=NOW + timedelta(seconds=200))
    assert await explained.jobs.count(EVERYWHERE, wanted) == Counted(20, exact=True)
    await explained.check(most=20)


async def test_a_list_of_a_time_long_past_begins_there(explained: Explained) -> None:
    middle = NOW + timedelta(seconds=JOBS // 8)
    page = await explained.jobs.page(EVERYWHERE, JobFilter(to=middle), Order(), PageRequest(20))
    assert [job.created_at for job in page.items[:4]] == [middle - timedelta(seconds=1)] * 4
    in_a_minute = 4 * 60
    await explained.check(most=in_a_minute + 21)


async def test_a_list_of_one_product_reads_its_page_only(explained: Explained) -> None:
    wanted = JobFilter(product=("product_3",), env=("prd",))
    page = await explained.jobs.page(EVERYWHERE, wanted, Order(), PageRequest(20))
    await explained.jobs.page(EVERYWHERE, wanted, Order(), PageRequest(20, after=job_cursor(Order(), page.items[-1])))
    await explained.check(most=21)


async def test_catching_up_reads_what_it_takes_up_and_little_else(changed: Explained) -> None:
    tasks = [(f"namespace_{number}", f"task_{number}") for number in range(30)]
    catching_up = CatchingUp(changed.database, tasks)
    await changed.change({"status": "scheduled"}, {"paced": True})
    await changed.change({"status": "queued"}, {"run.paced": True})
    _, jobs = await catching_up.next_behind("product_1", 10)
    assert {job.product for job in jobs} == {"product_10"}
    assert [job.next_run_at for job in jobs] == sorted(job.next_run_at for job in jobs if job.next_run_at)
    assert await catching_up.under_way("product_10", 5) == 5
    await changed.check(most=10 + 30)


async def test_the_loops_read_what_they_move_and_little_else(explained: Explained) -> None:
    writer = JobWriter(explained.database)
    await explained.jobs.due(10)
    await explained.jobs.expired(10)
    await explained.jobs.next_due_at()
    tasks = [(f"namespace_{number}", f"task_{number}") for number in range(30)]
    assert len(await explained.jobs.backlog(tasks, 10, patience_ms=5000)) == 10
    await Outbox(explained.database).relay(10)
    await writer.find_by_key(EVERYWHERE, "product_2", "prd", "key_2")
    await explained.jobs.find_many(EVERYWHERE, ["job_00001", "job_00002"])
    # The first of each task's queue are compared with one another.
    await explained.check(most=10 + 30)


async def test_the_walk_over_cron_jobs_reads_a_page_at_a_time_of_these_alone(changed: Explained) -> None:
    rule = {"recurrence.kind": "cron", "recurrence.cron": "0 9 * * *", "recurrence.tz": "UTC"}
    await changed.database["jobs"].update_many({"recurrence": {"$ne": None}}, {"$set": rule})
    await changed.database.command("profile", 0)
    await changed.database["system.profile"].drop()
    await changed.database.command("profile", 2)
    pages = [await changed.jobs.planned_by_cron(None, 50)]
    pages.append(await changed.jobs.planned_by_cron(pages[0][-1], 1000))
    assert [len(page) for page in pages] == [50, JOBS // 39 + 1 - 50]
    # The one that the page before ended with is passed over.
    await changed.check(most=len(pages[1]) + 1)


def execution(number: int) -> dict[str, Any]:
    run = {"number": number, "scheduled_for": NOW, "started_at": NOW, "completed_at": NOW, "status": "completed"}
    more = {"attempts": 1, "error": None, "result": None, "worker": "w", "recurring": False}
    job_id = f"job_{number % 50}"
    return {**run, **more, "_id": f"{job_id}:{number}", "job_id": job_id}


def event(number: int) -> dict[str, Any]:
    job_id, seq = f"job_{number % 50}", number // 50 + 1
    origin = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd", "tags": [], "recurring": False}
    told = {"type": "job.started", "at": NOW, "actor": None, "reason": None, "status": "running", "error": None}
    more = {"scheduled_at": NOW, "effective_at": NOW, "execution_count": 1, "idempotency_key": None}
    return {**origin, **told, **more, "_id": number, "job_id": job_id, "seq": seq}


async def test_the_log_and_the_histories_are_read_by_index(database: Database) -> None:
    await database["executions"].insert_many([execution(number) for number in range(2000)])
    await database["events"].insert_many([event(number) for number in range(1, 2001)])
    ids = ["job_7", "job_8"]
    await database["jobs"].insert_many([document(1) | {"_id": job_id} for job_id in ids])
    await database.command("profile", 2)
    log = EventLog(database)
    assert [told.number for told in (await log.read(EVERYWHERE, 1998, 10)).events] == [1999, 2000]
    assert await log.head() == 2000
    await log.check_reaches(0)
    deep = await log.of_jobs(EVERYWHERE, ids, 1000, 3)
    assert [told.number for told in deep["job_7"]] == [1007, 1057, 1107]
    histories = await ExecutionReader(database).histories(EVERYWHERE, ids, 2, 1000)
    assert [run.number for run in histories["job_8"].page.items] == [958, 908]
    explained = Explained(database)
    for collection, most in (("events", 2), ("jobs", 2 + 2 * 3)):
        # A lookup is accounted for where it begins: two jobs, and three documents that belong to each.
        await explained.check(most=most, collection=collection)
    await database.command("profile", 0)


async def test_an_index_that_another_process_has_just_replaced_is_no_fault(database: Database) -> None:
    jobs = database["jobs"]
    await jobs.drop_index("leases")
    await jobs.create_index([("run.lease_until", -1)], name="leases")
    await asyncio.gather(*(create_indexes(database) for _ in range(4)))
    assert dict((await jobs.index_information())["leases"]["key"]) == {"run.lease_until": 1}
    await drop_if_there(jobs, "leases")
    await drop_if_there(jobs, "leases")
    with pytest.raises(OperationFailure):
        await drop_if_there(jobs, "_id_")
