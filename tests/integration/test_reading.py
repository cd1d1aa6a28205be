"""Lists, filters, counts and histories against a real MongoDB."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.access import EVERYWHERE
from jobs.errors import BadCursor
from jobs.feed import Snapshot
from jobs.filters import JobFilter, matches
from jobs.job import Idempotency, Job, JobError
from jobs.lifecycle import TERMINAL, JobStatus
from jobs.paging import Counted, Order, OrderField, PageRequest, job_cursor
from storage.client import Database
from storage.documents import error_to_document, job_to_document
from storage.jobs import JobReader
from tests.factories import NOW, every, make_job

SECOND = timedelta(seconds=1)


def built(number: int, fields: dict[str, Any]) -> Job:
    """A job in any status, with the instants that the status implies."""
    at = NOW + fields["second"] * SECOND
    job = make_job(
        job_id=f"job_{number:03}",
        now=at,
        schedule=every(60),
        **{name: fields[name] for name in ("product", "env", "namespace", "task", "tags", "priority")},
    )
    terminal = fields["status"] in TERMINAL
    return replace(
        job,
        status=fields["status"],
        recurrence=job.recurrence if fields["recurring"] else None,
        completed_at=at + 2 * SECOND if terminal else None,
        last_error=JobError(fields["code"], "m") if fields["code"] else None,
        idempotency=Idempotency(f"key_{number}", "h") if fields["key"] else None,
    )


def snapshot(job: Job) -> Snapshot:
    completed = job.completed_at if job.status in TERMINAL else None
    return Snapshot(
        status=job.status,
        recurring=job.is_recurring,
        namespace=job.namespace,
        task=job.task,
        product=job.product,
        env=job.env,
        tags=job.tags,
        scheduled_at=job.scheduled_at,
        effective_at=completed or job.scheduled_at,
        execution_count=0,
        error=job.last_error,
        idempotency_key=job.idempotency.key if job.idempotency else None,
    )


async def store(database: Database, jobs: Sequence[Job]) -> None:
    documents = [
        {**job_to_document(job), "outbox": [], "last_error": error_to_document(job.last_error)} for job in jobs
    ]
    await database["jobs"].insert_many(documents)


def sample(count: int = 60) -> list[Job]:
    """Jobs of all kinds, the same in every run of the tests."""
    statuses = list(JobStatus)
    return [
        built(
            number,
            {
                "status": statuses[number % 7],
                "recurring": number % 3 == 0,
                "product": "shop" if number % 2 else "blog",
                "env": "prd" if number % 5 else "dev",
                "namespace": "demo" if number % 4 else "mail",
                "task": "echo" if number % 3 else "send",
                "tags": tuple("abc"[: number % 4]),
                "priority": number % 3 - 1,
                "second": number % 6,
                "code": [None, "X", "Y"][number % 3],
                "key": number % 7 == 0,
            },
        )
        for number in range(count)
    ]


def sorted_by(order: Order, jobs: Sequence[Job]) -> list[str]:
    def key(job: Job) -> tuple[Any, ...]:
        value = getattr(job, order.field.value)
        return (value is not None, value or NOW, job.id) if order.field is OrderField.COMPLETED_AT else (value, job.id)

    return [job.id for job in sorted(jobs, key=key, reverse=order.descending)]


CONDITIONS: list[dict[str, Any]] = [
    {},
    {"ids": ("job_001", "job_002", "job_999")},
    {"ids": ()},
    {"status": (JobStatus.COMPLETED,)},
    {"status": (JobStatus.QUEUED, JobStatus.FAILED)},
    {"recurring": True},
    {"recurring": False},
    {"product": ("shop",)},
    {"product": ("shop",), "env": ("prd",)},
    {"env": ("dev",)},
    {"namespace": ("mail",)},
    {"task": ("send",)},
    {"tags": ("a",)},
    {"tags": ("b", "a")},
    {"tags": ()},
    {"from_": NOW + 3 * SECOND},
    {"to": NOW + 3 * SECOND},
    {"from_": NOW + 2 * SECOND, "to": NOW + 4 * SECOND},
    {"error_code": ("X",)},
    {"error_code": ("X", "Y")},
    {"idempotency_key": "key_7"},
    {"status": (JobStatus.FAILED,), "product": ("shop",), "tags": ("a",), "from_": NOW + SECOND},
]


@pytest.mark.parametrize("conditions", CONDITIONS, ids=lambda conditions: "-".join(conditions) or "all")
async def test_a_filter_means_the_same_to_mongodb_and_to_values(
    any_database: Database, conditions: dict[str, Any]
) -> None:
    jobs = sample()
    await store(any_database, jobs)
    wanted = JobFilter(**conditions)
    expected = {job.id for job in jobs if matches(wanted, job.id, snapshot(job))}
    reader = JobReader(any_database)
    page = await reader.page(EVERYWHERE, wanted, Order(), PageRequest(200))
    assert {job.id for job in page.items} == expected
    assert await reader.count(EVERYWHERE, wanted) == Counted(len(expected), exact=True)


async def test_every_two_conditions_combine(database: Database) -> None:
    jobs = sample()
    await store(database, jobs)
    reader = JobReader(database)
    for one, other in itertools.combinations(CONDITIONS, 2):
        wanted = JobFilter(**one | other)
        expected = {job.id for job in jobs if matches(wanted, job.id, snapshot(job))}
        page = await reader.page(EVERYWHERE, wanted, Order(), PageRequest(200))
        assert {job.id for job in page.items} == expected, wanted


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("field", list(OrderField))
@pytest.mark.parametrize("conditions", [{}, {"product": ("shop",)}], ids=["all", "filtered"])
async def test_pages_cover_the_list_forward_and_backward(
    database: Database, field: OrderField, descending: bool, conditions: dict[str, Any]
) -> None:
    jobs = sample()
    await store(database, jobs)
    order, wanted, reader = Order(field, descending), JobFilter(**conditions), JobReader(database)
    expected = sorted_by(order, [job for job in jobs if matches(wanted, job.id, snapshot(job))])

    forward: list[str] = []
    after: str | None = None
    while True:
        page = await reader.page(EVERYWHERE, wanted, order, PageRequest(7, after=after))
        assert page.has_previous is (after is not None)
        forward += [job.id for job in page.items]
        if not page.has_next:
            break
        after = job_cursor(order, page.items[-1])
    assert forward == expected

    backward: list[str] = []
    before: str | None = None
    while True:
        page = await reader.page(EVERYWHERE, wanted, order, PageRequest(7, before=before, backward=True))
        backward = [job.id for job in page.items] + backward
        if not page.has_previous:
            break
        before = job_cursor(order, page.items[0])
    assert backward == expected


async def test_a_page_between_two_cursors(database: Database) -> None:
    jobs = sample(12)
    await store(database, jobs)
    order, reader = Order(OrderField.PRIORITY, descending=False), JobReader(database)
    expected = sorted_by(order, jobs)
    by_id = {job.id: job for job in jobs}
    after, before = job_cursor(order, by_id[expected[2]]), job_cursor(order, by_id[expected[9]])
    page = await reader.page(EVERYWHERE, JobFilter(), order, PageRequest(50, after=after, before=before))
    assert [job.id for job in page.items] == expected[3:9]
    page = await reader.page(EVERYWHERE, JobFilter(), order, PageRequest(4, after=after, before=before, backward=True))
    assert [job.id for job in page.items] == expected[5:9]


async def test_an_empty_page_and_an_empty_list(database: Database) -> None:
    reader = JobReader(database)
    page = await reader.page(EVERYWHERE, JobFilter(), Order(), PageRequest(10))
    assert (list(page.items), page.has_next, page.has_previous) == ([], False, False)
    await store(database, sample(3))
    page = await reader.page(EVERYWHERE, JobFilter(), Order(), PageRequest(0))
    assert (list(page.items), page.has_next) == ([], True)


async def test_a_cursor_of_another_list_is_refused(database: Database) -> None:
    cursor = job_cursor(Order(OrderField.PRIORITY), make_job())
    with pytest.raises(BadCursor):
        await JobReader(database).page(EVERYWHERE, JobFilter(), Order(), PageRequest(10, after=cursor))


async def test_a_count_stops_at_its_bound(database: Database) -> None:
    await store(database, sample(20))
    assert await JobReader(database).count(EVERYWHERE, JobFilter(), bound=20) == Counted(20, exact=True)
    assert await JobReader(database).count(EVERYWHERE, JobFilter(), bound=19) == Counted(19, exact=False)
