"""Statistics as sums of what events tell: which counters an event moves, and what the counters say together.

Everything is a counter with a name, so that any two sets of counters can be added: those of two batches of events, of two
tasks, or of two stretches of time. ``job:<status>`` and the like count jobs as they are; ``run:<status>``,
``duration:<bucket>`` and ``wait:<bucket>`` count runs that ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from jobs.histograms import Histogram, bucket_of
from jobs.lifecycle import JobStatus
from jobs.spans import LIFETIME, Bucket, floor
from jobs.times import to_milliseconds

OF_JOBS: Final = "job:"
"""What the names of counters of jobs begin with."""

OF_RUNS: Final = "run:"
"""What the names of counters of runs, by how they ended, begin with."""

FIRST_TRY: Final = "job:first_try"
AFTER_RETRY: Final = "job:after_retry"
RETRIES: Final = "job:retries"
"""The sum of the retries of all jobs that completed or failed."""

_FINISHED: Final = (JobStatus.COMPLETED, JobStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Origin:
    """What jobs are counted by."""

    product: str
    env: str
    namespace: str
    task: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What a job adds to the counters of jobs."""

    status: JobStatus
    retry_count: int


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run that ended."""

    status: JobStatus
    scheduled_for: datetime
    started_at: datetime
    completed_at: datetime


@dataclass(frozen=True, slots=True)
class Fact:
    """What one event, or one stored job or run, has to say to the counters."""

    origin: Origin
    before: Standing | None = None
    """How the job was counted until then; None for a new one."""
    after: Standing | None = None
    """How it is counted from then on; None for one that is gone."""
    run: RunEnd | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """Where something is counted: all that a task ever did, or its runs that ended within one bucket of time."""

    origin: Origin
    level: str
    start: datetime | None = None


@dataclass(slots=True)
class Counters:
    """Counters by name, and the longest ``duration`` and ``wait`` in milliseconds."""

    counts: Counter[str] = field(default_factory=Counter)
    longest: dict[str, int] = field(default_factory=dict)

    def count_longest(self, name: str, length_ms: int) -> None:
        self.longest[name] = max(self.longest.get(name, 0), length_ms)


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Jobs by status."""

    by_status: Mapping[JobStatus, int]
    first_try: int
    after_retry: int
    retries: int

    @property
    def total(self) -> int:
        return sum(self.by_status.values())

    @property
    def success_rate(self) -> float:
        return rate(self.by_status[JobStatus.COMPLETED], self.by_status[JobStatus.FAILED])

    @property
    def average_retries(self) -> float:
        finished = sum(self.by_status[status] for status in _FINISHED)
        return self.retries / finished if finished else 0.0


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Runs that ended, by how, with how long they took and how long they had waited."""

    successful: int
    failed: int
    cancelled: int
    duration: Histogram
    wait: Histogram

    @property
    def total(self) -> int:
        return self.successful + self.failed + self.cancelled

    @property
    def success_rate(self) -> float:
        return rate(self.successful, self.failed)


def rate(successful: int, failed: int) -> float:
    """In percent; 0 when there is neither."""
    return 100 * successful / (successful + failed) if successful + failed else 0.0


def fold(facts: Iterable[Fact]) -> dict[Cell, Counters]:
    """By how much the facts change the counters, where they change any."""
    cells: dict[Cell, Counters] = {}
    for fact in facts:
        _count(cells, Cell(fact.origin, LIFETIME), _moved(fact))
        if fact.run is not None:
            for cell in _cells_of(fact.origin, fact.run.completed_at):
                _count_run(cells, cell, fact.run)
    for cell, counters in list(cells.items()):
        counters.counts = Counter({name: by for name, by in counters.counts.items() if by})
        if not counters.counts:
            del cells[cell]
    return cells


def job_counts(counters: Counters) -> JobCounts:
    """What counters say of jobs."""
    counts = counters.counts
    return JobCounts(
        {status: counts[f"{OF_JOBS}{status}"] for status in JobStatus},
        counts[FIRST_TRY],
        counts[AFTER_RETRY],
        counts[RETRIES],
    )


def run_counts(counters: Counters) -> RunCounts:
    """What counters say of runs."""
    counts = counters.counts
    return RunCounts(
        counts[f"{OF_RUNS}{JobStatus.COMPLETED}"],
        counts[f"{OF_RUNS}{JobStatus.FAILED}"],
        counts[f"{OF_RUNS}{JobStatus.CANCELLED}"],
        _histogram(counters, "duration"),
        _histogram(counters, "wait"),
    )


def _histogram(counters: Counters, name: str) -> Histogram:
    prefix = f"{name}:"
    buckets = {int(key.removeprefix(prefix)): n for key, n in counters.counts.items() if key.startswith(prefix)}
    return Histogram({bucket: n for bucket, n in buckets.items() if n > 0}, counters.longest.get(name, 0))


def _moved(fact: Fact) -> Counter[str]:
    moved = Counter(standing_counts(fact.after))
    moved.subtract(standing_counts(fact.before))
    return moved


def standing_counts(standing: Standing | None) -> dict[str, int]:
    """What a job adds to the counters of jobs."""
    if standing is None:
        return {}
    counts = {f"{OF_JOBS}{standing.status}": 1}
    if standing.status is JobStatus.COMPLETED:
        counts[AFTER_RETRY if standing.retry_count else FIRST_TRY] = 1
    if standing.status in _FINISHED:
        counts[RETRIES] = standing.retry_count
    return counts


def _cells_of(origin: Origin, instant: datetime) -> Iterator[Cell]:
    yield Cell(origin, LIFETIME)
    for bucket in Bucket:
        yield Cell(origin, bucket.value, floor(instant, bucket))


def _count(cells: dict[Cell, Counters], cell: Cell, counts: Counter[str]) -> None:
    # Unlike "+", "update" keeps what is negative.
    cells.setdefault(cell, Counters()).counts.update(counts)


def _count_run(cells: dict[Cell, Counters], cell: Cell, run: RunEnd) -> None:
    lengths = {"duration": run.completed_at - run.started_at, "wait": run.started_at - run.scheduled_for}
    counts = Counter({f"{OF_RUNS}{run.status}": 1})
    counters = cells.setdefault(cell, Counters())
    for name, length in lengths.items():
        milliseconds = max(0, to_milliseconds(length))
        counts[f"{name}:{bucket_of(milliseconds)}"] = 1
        counters.count_longest(name, milliseconds)
    counters.counts.update(counts)
