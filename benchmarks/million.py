"""`scripts/bench million [--jobs N]`: what lists, counts and statistics read of a million stored jobs.

Everything is asked of the product's own use cases. Times are medians, and depend on the machine. Plans, and what was examined,
are what MongoDB's profiler says of one more asking, for which the server has forgotten the plans of earlier ones.
"""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

import click
import uvloop

from benchmarks.jobgate_side import NOBODY, open_side
from benchmarks.million_jobs import END, PRODUCTS, fill
from benchmarks.servers import benchmark_servers
from jobs.access import EVERYWHERE
from jobs.errors import StoreUnavailable, TooExpensive
from jobs.filters import JobFilter
from jobs.job import Job
from jobs.lifecycle import JobStatus
from jobs.paging import Order, OrderField, job_cursor
from resolvers.reading import count_jobs, list_jobs
from resolvers.services import Services
from resolvers.statistics import count_jobs_by_status, count_runs
from storage.client import Database, Driver

PAGE: Final = 50
SMALL: Final = PRODUCTS[-1]
"""What few jobs belong to is what a wrong index takes longest to find."""

ASKED: Final = 5
_COLLECTIONS: Final = ("jobs", "executions", "statistics")

Ask = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    ask: Ask


@dataclass(frozen=True, slots=True)
class Figures:
    """What one asking cost. ``returned`` counts the documents that MongoDB's queries answered."""

    ms: float
    plan: str
    keys: int
    documents: int
    returned: int
    refused: bool


FILTERS: Final[Mapping[str, JobFilter]] = {
    "product": JobFilter(product=(SMALL,)),
    "three products": JobFilter(product=tuple(PRODUCTS[-3:])),
    "product env": JobFilter(product=(SMALL,), env=("dev",)),
    "product env FAILED": JobFilter(product=(SMALL,), env=("dev",), status=(JobStatus.FAILED,)),
    "product env COMPLETED": JobFilter(product=(SMALL,), env=("dev",), status=(JobStatus.COMPLETED,)),
    "product FAILED": JobFilter(product=(SMALL,), status=(JobStatus.FAILED,)),
    "product FAILED CANCELLED": JobFilter(product=(SMALL,), status=(JobStatus.FAILED, JobStatus.CANCELLED)),
    "FAILED": JobFilter(status=(JobStatus.FAILED,)),
    "COMPLETED": JobFilter(status=(JobStatus.COMPLETED,)),
    "env": JobFilter(env=("dev",)),
    "task": JobFilter(task=("task_07",)),
    "namespace task": JobFilter(namespace=("namespace_2",), task=("task_07",)),
    "product task": JobFilter(product=(SMALL,), task=("task_07",)),
    "tag": JobFilter(tags=("tag_07",)),
    "product tag": JobFilter(product=(SMALL,), tags=("tag_07",)),
    "recurring": JobFilter(recurring=True),
    "product recurring": JobFilter(product=(SMALL,), recurring=True),
    "errorCode": JobFilter(error_code=("TIMEOUT",)),
}
_MONTH_AGO: Final = END - timedelta(days=30)
SPANS: Final[Mapping[str, JobFilter]] = {
    "10 minutes": JobFilter(from_=_MONTH_AGO, to=_MONTH_AGO + timedelta(minutes=10)),
    "20 days": JobFilter(from_=_MONTH_AGO, to=_MONTH_AGO + timedelta(days=20)),
    "product, 1 day": JobFilter(product=(SMALL,), from_=_MONTH_AGO, to=_MONTH_AGO + timedelta(days=1)),
    "product, last day": JobFilter(product=(SMALL,), from_=END - timedelta(days=1)),
    "product, 20 days": JobFilter(product=(SMALL,), from_=_MONTH_AGO, to=_MONTH_AGO + timedelta(days=20)),
}


@click.command()
@click.option("--jobs", default=1_000_000, show_default=True, help="Jobs to store; a million take about ten minutes.")
def main(jobs: int) -> None:
    """Store the jobs in a MongoDB of its own, and print what each question reads of them."""
    uvloop.run(_main(jobs))


async def _main(jobs: int) -> None:
    async with (
        benchmark_servers() as servers,
        open_side(servers.mongodb_url, servers.redis_url, "million", Driver.MOTOR) as (services, database),
    ):
        began = time.perf_counter()
        await fill(database, jobs)
        click.echo(f"{jobs} jobs stored in {time.perf_counter() - began:.0f} s")
        await report(services, database, jobs // 2)


async def report(services: Services, database: Database, depth: int) -> None:
    """Print a line a question, and the size of each index of jobs."""
    click.echo(f"{'question':44} {'ms':>8} {'keys':>8} {'docs':>8} {'returned':>8}  plan")
    for question in [*await _deep_pages(services, database, depth), *_lists(services), *_counts(services)]:
        _tell(question, await measure(database, question))
    for question in _statistics(services):
        _tell(question, await measure(database, question))
    sizes = (await database.command("collStats", "jobs"))["indexSizes"]
    for name, size in sizes.items():
        click.echo(f"{size / 1e6:8.1f} MB  {name}")
    click.echo(f"{sum(sizes.values()) / 1e6:8.1f} MB in {len(sizes)} indexes")


def _tell(question: Question, one: Figures) -> None:
    refused = " (refused)" if one.refused else ""
    click.echo(f"{question.name:44} {one.ms:8.1f} {one.keys:8} {one.documents:8} {one.returned:8}  {one.plan}{refused}")


async def measure(database: Database, question: Question) -> Figures:
    """Ask it a few times by the clock, then once before the profiler."""
    times = [await _timed(question.ask) for _ in range(ASKED)]
    for collection in _COLLECTIONS:
        await database.command("planCacheClear", collection)
    await database["system.profile"].drop()
    await database.command("profile", 2)
    _, answered = await _timed(question.ask)
    await database.command("profile", 0)
    entries = [entry async for entry in database["system.profile"].find({"ns": {"$ne": f"{database.name}.$cmd"}})]
    told = Counter[str]()
    for entry in entries:
        told.update({name: entry.get(name, 0) for name in ("keysExamined", "docsExamined", "nreturned")})
    plan = " + ".join(dict.fromkeys(map(_plan, entries)))
    ms = statistics.median(ms for ms, _ in times)
    return Figures(ms, plan, told["keysExamined"], told["docsExamined"], told["nreturned"], not answered)


async def _timed(ask: Ask) -> tuple[float, bool]:
    began = time.perf_counter()
    try:
        await ask()
    except (TooExpensive, StoreUnavailable):
        return (time.perf_counter() - began) * 1000, False
    return (time.perf_counter() - began) * 1000, True


def _plan(entry: Mapping[str, Any]) -> str:
    """The summary of a plan, shortened: how many ranges of which index, and whether what they gave had to be sorted."""
    scans = Counter(re.sub(r": -?1|[{} ]", "", scan) for scan in re.split(r", (?=[A-Z])", entry.get("planSummary", "")))
    shown = [scan.replace("IXSCAN", "") + (f" x{count}" if count > 1 else "") for scan, count in scans.items()]
    return ", ".join(shown) + (" SORT" if entry.get("hasSortStage") else "")


def _page(services: Services, name: str, conditions: JobFilter, order: Order, **where: Any) -> Question:
    direction = "desc" if order.descending else "asc"
    start = {"after": None, "before": None, "offset": None, **where}
    ask = partial(list_jobs, services, NOBODY, conditions, order, first=PAGE, last=None, **start)
    return Question(f"{name} by {order.field.value} {direction}", ask)


async def _deep_pages(services: Services, database: Database, depth: int) -> list[Question]:
    questions = []
    for field in OrderField:
        order = Order(field)
        there, behind = [
            job_cursor(order, await _job_at(services, database, field, place)) for place in (depth, depth + 10)
        ]
        questions += [
            _page(services, f"page at {depth}", JobFilter(), order, after=there),
            _page(services, "product, behind that", FILTERS["product"], order, after=there),
            _page(services, "between two cursors", JobFilter(), order, after=there, before=behind),
        ]
    return [*questions, _page(services, "page at offset 10000", JobFilter(), Order(), offset=10_000)]


async def _job_at(services: Services, database: Database, field: OrderField, depth: int) -> Job:
    keys = [(field.value, -1), ("_id", -1)]
    [there] = await database["jobs"].find({}, {"_id": 1}, sort=keys).skip(depth).limit(1).to_list(1)
    job = await services.jobs.find(EVERYWHERE, there["_id"])
    if job is None:
        raise click.ClickException(f"there is no job at {depth}")
    return job


def _lists(services: Services) -> Iterator[Question]:
    for field in OrderField:
        for descending in (True, False):
            yield _page(services, "first page", JobFilter(), Order(field, descending))
    for name, conditions in {**FILTERS, **SPANS}.items():
        for field in OrderField:
            yield _page(services, name, conditions, Order(field))


def _counts(services: Services) -> Iterator[Question]:
    for name, conditions in {"everything": JobFilter(), **FILTERS, **SPANS}.items():
        yield Question(f"totalCount of {name}", partial(count_jobs, services, NOBODY, conditions))


def _statistics(services: Services) -> Iterator[Question]:
    asked = ("product", "product env", "product env FAILED", "FAILED", "COMPLETED", "task", "tag")
    for name, conditions in {"everything": JobFilter(), **{name: FILTERS[name] for name in asked}, **SPANS}.items():
        yield Question(f"stats.jobs of {name}", partial(count_jobs_by_status, services, NOBODY, conditions))
        yield Question(f"stats.executions of {name}", partial(count_runs, services, NOBODY, conditions))


if __name__ == "__main__":
    main()
