"""Reading statistics: from counters where these tell, else by aggregations over an index, each with a time limit.

Every reading, whatever it is taken from, is made of rows "so many of this name, at that start", which MongoDB adds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from pymongo.errors import ExecutionTimeout

from jobs.access import Reach
from jobs.errors import StoreUnavailable, TooExpensive
from jobs.filters import JobFilter
from jobs.histograms import LONGEST, PRECISION
from jobs.lifecycle import JobStatus
from jobs.spans import LIFETIME, Bucket, Stretch
from jobs.statistics import AFTER_RETRY, FIRST_TRY, OF_JOBS, OF_RUNS, RETRIES, Counters, JobCounts, job_counts
from storage.client import Collection, Database, aggregate
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.facts import ORIGIN
from storage.filters import IN_ANY_STATUS, job_filter

TIMEOUT_MS: Final = 3_000

_LEADING: Final = ("ids", "status", *ORIGIN, "from_", "to", "error_code", "idempotency_key")
"""Conditions that lead to an index."""

_OF_A_LONGEST: Final = "longest:"


def is_counted(conditions: JobFilter) -> bool:
    """Whether the counters can tell of these conditions: what remains beside them is nothing, or a time."""
    return replace(_beside(conditions), from_=None, to=None) == JobFilter()


class StatisticsReader:
    """Counts of jobs and of runs that ended."""

    def __init__(self, database: Database, timeout_ms: int = TIMEOUT_MS) -> None:
        self._jobs: Collection = database["jobs"]
        self._executions: Collection = database["executions"]
        self._statistics: Collection = database["statistics"]
        self._timeout_ms = timeout_ms

    async def jobs(self, reach: Reach, conditions: JobFilter) -> JobCounts:
        """The jobs within reach that match, by status. Raises :class:`TooExpensive`."""
        conditions = reach.narrowed(conditions)
        if _beside(conditions) == JobFilter():
            wanted = {"level": LIFETIME, **_of_origin(conditions)}
            rows = await self._rows(self._statistics, [{"$match": wanted}, *_stored(None, jobs=True)])
        else:
            stages = [{"$match": _walkable(conditions)}, *_standings()]
            rows = await self._rows(self._jobs, stages)
        return job_counts(_added(rows).get(None, Counters()))

    async def runs(
        self, reach: Reach, conditions: JobFilter, stretches: Sequence[Stretch] | None, bucket: Bucket | None
    ) -> dict[datetime | None, Counters]:
        """The runs of jobs within reach that ended within the stretches (None: ever), by the start of their bucket if any.

        The times of the filter itself are not looked at. Raises :class:`TooExpensive`.
        """
        conditions = reach.narrowed(conditions)
        timeless = replace(conditions, from_=None, to=None)
        if not is_counted(conditions):
            return _added(await self._runs_of_jobs(timeless, stretches, bucket))
        if stretches is None:
            whole = {"level": LIFETIME, **_of_origin(conditions)}
            return _added(await self._rows(self._statistics, [{"$match": whole}, *_stored(bucket, jobs=False)]))
        rows: list[Document] = []
        for stretch in stretches:
            rows += await self._runs_within(timeless, stretch, bucket)
        return _added(rows)

    async def _runs_within(self, conditions: JobFilter, stretch: Stretch, bucket: Bucket | None) -> list[Document]:
        if stretch.bucket is None:
            return await self._single_runs(conditions, stretch, bucket)
        within = {"$gte": stretch.start, "$lt": stretch.end}
        wanted = {"level": stretch.bucket.value, "start": within, **_of_origin(conditions)}
        return await self._rows(self._statistics, [{"$match": wanted}, *_stored(bucket, jobs=False)])

    async def _single_runs(self, conditions: JobFilter, stretch: Stretch, bucket: Bucket | None) -> list[Document]:
        """The runs that ended in a part of a minute, which no counter tells of."""
        stages: list[Document] = [{"$match": _ended_within([stretch])}]
        origin = _of_origin(conditions)
        if origin:
            meant: list[Document] = [{"$match": origin}, {"$project": {"_id": 1}}]
            join = {"from": "jobs", "localField": "job_id", "foreignField": "_id", "pipeline": meant, "as": "jobs"}
            stages += [{"$lookup": join}, {"$match": {"jobs": {"$ne": []}}}]
        return await self._rows(self._executions, [*stages, *_ended(bucket)])

    async def _runs_of_jobs(
        self, conditions: JobFilter, stretches: Sequence[Stretch] | None, bucket: Bucket | None
    ) -> list[Document]:
        within: list[Document] = [] if stretches is None else [{"$match": _ended_within(stretches)}]
        join = {"from": "executions", "localField": "_id", "foreignField": "job_id", "pipeline": within, "as": "run"}
        stages: list[Document] = [
            {"$match": _walkable(conditions)},
            {"$project": {"_id": 1}},
            {"$lookup": join},
            {"$unwind": "$run"},
            {"$replaceWith": "$run"},
            *_ended(bucket),
        ]
        return await self._rows(self._jobs, stages)

    async def _rows(self, collection: Collection, stages: list[Document]) -> list[Document]:
        try:
            with mongodb_errors():
                cursor = await aggregate(collection, stages, maxTimeMS=self._timeout_ms)
                rows: list[Document] = await cursor.to_list(None)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, ExecutionTimeout):
                raise
            raise TooExpensive(self._timeout_ms / 1000) from error
        return rows


def _beside(conditions: JobFilter) -> JobFilter:
    """The conditions without those that there are counters for."""
    return replace(conditions, product=None, env=None, namespace=None, task=None)


def _walkable(conditions: JobFilter) -> Document:
    """The filter, with one more condition that every job meets where there is none that is sure to lead to an index."""
    wanted = job_filter(conditions)
    if not conditions.tags and all(getattr(conditions, name) is None for name in _LEADING):
        wanted |= IN_ANY_STATUS
    return wanted


def _of_origin(conditions: JobFilter) -> Document:
    wanted = job_filter(conditions)
    return {field: wanted[field] for field in ORIGIN if field in wanted}


def _ended_within(stretches: Sequence[Stretch]) -> Document:
    """No run has ended where there is no stretch at all; else they lie next to one another."""
    if not stretches:
        return {"completed_at": {"$in": []}}
    start, end = min(one.start for one in stretches), max(one.end for one in stretches)
    return {"completed_at": {"$gte": start, "$lt": end}}


def _standings() -> list[Document]:
    """Jobs as rows: the same that :func:`jobs.statistics.standing_counts` says of each."""
    completed, finished = [JobStatus.COMPLETED.value], [JobStatus.COMPLETED.value, JobStatus.FAILED.value]
    tried_once = {"$cond": [{"$eq": ["$retry_count", 0]}, FIRST_TRY, AFTER_RETRY]}
    marks = [
        {"name": {"$concat": [OF_JOBS, "$status"]}, "n": 1},
        {"$cond": [{"$in": ["$status", completed]}, {"name": tried_once, "n": 1}, None]},
        {"$cond": [{"$in": ["$status", finished]}, {"name": RETRIES, "n": "$retry_count"}, None]},
    ]
    return [{"$project": {"at": None, "marks": marks}}, *_SUM]


def _stored(bucket: Bucket | None, *, jobs: bool) -> list[Document]:
    """Documents of counters as rows: the counters of jobs, or all others."""
    counts = {"$map": {"input": _pairs("$counts"), "in": {"name": "$$this.k", "n": "$$this.v"}}}
    longest_name = {"$concat": [_OF_A_LONGEST, "$$this.k"]}
    longest = {"$map": {"input": _pairs("$longest"), "in": {"name": longest_name, "most": "$$this.v"}}}
    of_jobs = {"$regex": f"^{OF_JOBS}"}
    return [
        {"$project": {"at": _start(bucket, "$start"), "marks": {"$concatArrays": [counts, longest]}}},
        {"$unwind": "$marks"},
        {"$match": {"marks.name": of_jobs if jobs else {"$not": of_jobs}}},
        *_SUM[1:],
    ]


def _pairs(field: str) -> Document:
    return {"$objectToArray": {"$ifNull": [field, {}]}}


def _ended(bucket: Bucket | None) -> list[Document]:
    """Runs as rows: the same that :func:`jobs.statistics.fold` counts of each."""
    lengths = {
        "duration": {"$max": [0, {"$subtract": ["$completed_at", "$started_at"]}]},
        "wait": {"$max": [0, {"$subtract": ["$started_at", "$scheduled_for"]}]},
    }
    marks: list[Document] = [{"name": {"$concat": [OF_RUNS, "$status"]}, "n": 1}]
    for name in lengths:
        number = {"$toString": {"$toLong": _bucket_of(f"${name}")}}
        marks.append({"name": {"$concat": [f"{name}:", number]}, "n": 1})
        marks.append({"name": f"{_OF_A_LONGEST}{name}", "most": f"${name}"})
    return [{"$set": lengths}, {"$project": {"at": _start(bucket, "$completed_at"), "marks": marks}}, *_SUM]


def _start(bucket: Bucket | None, field: str) -> Document | None:
    return None if bucket is None else {"$dateTrunc": {"date": field, "unit": bucket.value}}


def _bucket_of(length: str) -> Document:
    """:func:`jobs.histograms.bucket_of`. The half keeps the logarithm of a power of two on the right side of it."""
    clamped = {"$min": [length, LONGEST]}
    magnitude = {"$floor": {"$log": [{"$add": [clamped, 0.5]}, 2]}}
    shift = {"$max": [0, {"$subtract": [magnitude, PRECISION]}]}
    within = {"$floor": {"$divide": [clamped, {"$pow": [2, "$$shift"]}]}}
    return {"$let": {"vars": {"shift": shift}, "in": {"$add": [{"$multiply": ["$$shift", 1 << PRECISION]}, within]}}}


_SUM: Final[list[Document]] = [
    {"$unwind": "$marks"},
    {
        "$group": {
            "_id": {"at": "$at", "name": "$marks.name"},
            "n": {"$sum": "$marks.n"},
            "most": {"$max": "$marks.most"},
        }
    },
]


def _added(rows: Sequence[Document]) -> dict[datetime | None, Counters]:
    added: dict[datetime | None, Counters] = {}
    for row in rows:
        name: str | None = row["_id"].get("name")
        counters = added.setdefault(row["_id"].get("at"), Counters())
        if name is None:
            continue
        if name.startswith(_OF_A_LONGEST):
            counters.count_longest(name.removeprefix(_OF_A_LONGEST), row["most"])
        else:
            counters.counts[name] += row["n"]
    return added
