"""Every index of the product, in one table; created on start. A query that none of them serves does not belong here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo import ASCENDING as UP
from pymongo import DESCENDING as DOWN
from pymongo import IndexModel
from pymongo.errors import OperationFailure

from jobs.bulk import BulkStatus
from jobs.lifecycle import TERMINAL, JobStatus
from jobs.paging import OrderField
from storage.client import Collection, Database
from storage.errors import mongodb_errors

IS_RECURRING: Final[Mapping[str, Any]] = {"recurrence.kind": {"$exists": True}}


def _ordered(prefix: str, field: OrderField) -> IndexModel:
    return IndexModel([(prefix, UP), (field.value, UP), ("_id", UP)])


_LISTED_BY: Final = ("product", "env", "namespace", "task", "tags", "status")
"""Conditions that stand alone often enough for their lists, in the default order, to be read straight from an index."""


def _job_indexes() -> list[IndexModel]:
    orders = [IndexModel([(field.value, UP), ("_id", UP)]) for field in OrderField]
    lists = [_ordered(prefix, OrderField.CREATED_AT) for prefix in _LISTED_BY]
    return [
        *orders,
        *lists,
        IndexModel([("product", UP), ("env", UP), ("created_at", UP), ("_id", UP)]),
        IndexModel([("effective_at", UP), ("_id", UP)]),
        _partial([("created_at", UP), ("_id", UP)], IS_RECURRING, "recurring"),
        _partial(
            [("last_error.code", UP), ("created_at", UP), ("_id", UP)],
            {"last_error.code": {"$exists": True}},
            "error_code",
        ),
        _unique([("product", UP), ("env", UP), ("idempotency.key", UP)], {"idempotency.key": {"$exists": True}}),
        _partial([("idempotency.key", UP)], {"idempotency.key": {"$exists": True}}, "idempotency_key"),
        _partial([("next_run_at", UP)], {"status": JobStatus.SCHEDULED.value}, "due"),
        _partial([("run.lease_until", UP)], {"status": JobStatus.RUNNING.value}, "leases"),
        _partial(
            [("namespace", UP), ("task", UP), ("priority", DOWN), ("scheduled_at", UP)],
            {"status": JobStatus.QUEUED.value},
            "backlog",
        ),
        _partial([("outbox.0.at", UP)], {"outbox.0": {"$exists": True}}, "outbox"),
        # What retention removes. One a status, so that a job is written to it once: when it ends.
        *[_partial([("completed_at", UP), ("_id", UP)], {"status": status}, f"ended:{status}") for status in _ENDED],
    ]


_ENDED: Final = sorted(status.value for status in TERMINAL)


def _partial(keys: list[tuple[str, int]], condition: Mapping[str, Any], name: str) -> IndexModel:
    return IndexModel(keys, name=name, partialFilterExpression=condition)


def _unique(keys: list[tuple[str, int]], condition: Mapping[str, Any]) -> IndexModel:
    return IndexModel(keys, unique=True, partialFilterExpression=condition)


INDEXES: Final[Mapping[str, list[IndexModel]]] = {
    "jobs": _job_indexes(),
    "executions": [
        IndexModel([("job_id", UP), ("number", DOWN)], unique=True),
        # The second line of defence behind the promotion's compare-and-set: no occurrence of a recurring job is run twice.
        _unique([("job_id", UP), ("scheduled_for", UP)], {"recurring": True}),
        IndexModel([("completed_at", UP)]),
    ],
    "events": [
        IndexModel([("job_id", UP), ("seq", UP)], unique=True),
        # The events of one job behind a cursor, which is a feed number.
        IndexModel([("job_id", UP), ("_id", UP)]),
    ],
    "operations": [
        IndexModel([("completed_at", UP)]),
        _partial([("lease_until", UP)], {"status": BulkStatus.RUNNING.value}, "leases"),
    ],
    "operation_batches": [IndexModel([("operation_id", UP)]), IndexModel([("created_at", UP)])],
    # Counters, by what they count and when.
    "statistics": [
        IndexModel([("level", UP), ("start", UP)]),
        IndexModel([("level", UP), ("product", UP), ("start", UP)]),
    ],
    # Those that were killed have not signed out.
    "workers": [IndexModel([("heartbeat_at", UP)], expireAfterSeconds=3600)],
}


def input_index(path: str) -> IndexModel:
    """Of the jobs with something at this path of their input, in the default order of lists."""
    field = f"input.{path}"
    return _partial([(field, UP), ("created_at", UP), ("_id", UP)], {field: {"$exists": True}}, f"input:{path}")


async def create_indexes(database: Database, input_paths: Sequence[str] = ()) -> None:
    """Create what is missing, and anew what was defined otherwise before. Safe to run from many processes at once.

    ``input_paths`` are those within the input of jobs that are to be indexed. One that is no longer among them keeps its
    index: another process may have been told otherwise.
    """
    wanted = {**INDEXES, "jobs": [*INDEXES["jobs"], *map(input_index, input_paths)]}
    with mongodb_errors():
        for collection, indexes in wanted.items():
            try:
                await database[collection].create_indexes(indexes)
            except OperationFailure as error:
                if error.code not in _DEFINED_OTHERWISE:
                    raise
                await _redefine(database[collection], indexes)


async def _redefine(collection: Collection, indexes: Sequence[IndexModel]) -> None:
    for index in indexes:
        try:
            await collection.create_indexes([index])
        except OperationFailure as error:
            if error.code not in _DEFINED_OTHERWISE:
                raise
            await collection.drop_index(index.document["name"])
            await collection.create_indexes([index])


_DEFINED_OTHERWISE: Final = (85, 86)
"""IndexOptionsConflict, IndexKeySpecsConflict."""
