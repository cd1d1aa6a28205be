"""Every index of the product, in one table; created on start. A query that none of them serves does not belong here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo import ASCENDING as UP
from pymongo import DESCENDING as DOWN
from pymongo import IndexModel
from pymongo.errors import OperationFailure

from jobs.bulk import BulkStatus
from jobs.lifecycle import JobStatus
from jobs.paging import OrderField
from jobs.webhooks import DeliveryStatus
from storage.client import Collection, Database
from storage.errors import mongodb_errors
from storage.origins import ACTION, ADDRESS, BY, CREDENTIAL, SUBJECTS

DUE: Final = "due_webhooks"
"""Of pending deliveries, those that are due first; asked for by name, since the planner takes another for some webhooks."""

IS_RECURRING: Final[Mapping[str, Any]] = {"recurrence.kind": {"$exists": True}}
_HAS_FAILED: Final[Mapping[str, Any]] = {"last_error.code": {"$exists": True}}


_LISTED_BY: Final = ("env", "namespace", "task", "tags")
"""Conditions that stand alone often enough for their lists, in the default order, to be read straight from an index."""

_LISTED_BY_STATUS: Final = ((), ("product",), ("product", "env"))
"""Conditions whose lists, of any statuses and in any order, are read straight from an index.

One index serves every choice of statuses, all of them as well: it has a range for each, which MongoDB merges in order.
"""


def _job_indexes() -> list[IndexModel]:
    return [
        *[_listed(*conditions, "status", field) for conditions in _LISTED_BY_STATUS for field in OrderField],
        *[_listed(condition, OrderField.CREATED_AT) for condition in _LISTED_BY],
        _listed("effective_at"),
        _listed("product", "effective_at"),
        # What few jobs have: these indexes cost the others nothing.
        _listed("recurrence.kind", OrderField.CREATED_AT, only=IS_RECURRING),
        _listed("recurrence.kind", OrderField.SCHEDULED_AT, only=IS_RECURRING),
        _listed("product", "recurrence.kind", OrderField.CREATED_AT, only=IS_RECURRING),
        _listed("last_error.code", OrderField.CREATED_AT, only=_HAS_FAILED),
        _listed("last_error.code", OrderField.COMPLETED_AT, only=_HAS_FAILED),
        _unique([("product", UP), ("env", UP), ("idempotency.key", UP)], {"idempotency.key": {"$exists": True}}),
        _partial([("idempotency.key", UP)], {"idempotency.key": {"$exists": True}}, "idempotency_key"),
        # By another name than "due", which an earlier state still asks for while it is replaced.
        _partial([("paced", UP), ("next_run_at", UP)], {"status": JobStatus.SCHEDULED.value}, "due_unpaced"),
        # Missed runs that are made up for: what waits, task by task, and what is under way.
        _partial(
            [("namespace", UP), ("task", UP), ("product", UP), ("next_run_at", UP)],
            {"status": JobStatus.SCHEDULED.value, "paced": True},
            "catching_up",
        ),
        _partial([("product", UP), ("status", UP)], {"run.paced": True}, "under_way"),
        _partial([("run.lease_until", UP)], {"status": JobStatus.RUNNING.value}, "leases"),
        _partial(
            [("namespace", UP), ("task", UP), ("priority", DOWN), ("scheduled_at", UP)],
            {"status": JobStatus.QUEUED.value},
            "backlog",
        ),
        # What has to be told: first that of single jobs, then that of operations on many.
        _partial([("in_bulk", UP), ("outbox.0.at", UP)], {"outbox.0": {"$exists": True}}, "outbox"),
    ]


def _listed(*fields: str, only: Mapping[str, Any] | None = None) -> IndexModel:
    """What a list is read from: the fields of its conditions, the one that it is ordered by, and the id."""
    keys = [(str(field), UP) for field in (*fields, "_id")]
    return IndexModel(keys) if only is None else IndexModel(keys, partialFilterExpression=only)


def _partial(keys: list[tuple[str, int]], condition: Mapping[str, Any], name: str) -> IndexModel:
    return IndexModel(keys, name=name, partialFilterExpression=condition)


def _unique(keys: list[tuple[str, int]], condition: Mapping[str, Any]) -> IndexModel:
    return IndexModel(keys, unique=True, partialFilterExpression=condition)


_ASKED_FOR: Final[Mapping[str, Any]] = {"origin": {"$exists": True}}


def _origin_indexes(by: str) -> list[IndexModel]:
    """What was asked for by somebody, with something, from somewhere, in its order. What nobody asked for is in none."""
    fields = ((BY, by), (CREDENTIAL, "origin.credential"), (ADDRESS, "origin.address"))
    return [_partial([(field, UP), ("_id", UP)], _ASKED_FOR, name) for name, field in fields]


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
        *_origin_indexes("actor"),
    ],
    "audit": [
        *_origin_indexes("by"),
        IndexModel([("subjects", UP), ("_id", UP)], name=SUBJECTS),
        IndexModel([("action", UP), ("_id", UP)], name=ACTION),
        IndexModel([("at", UP)]),
    ],
    "operations": [
        IndexModel([("completed_at", UP)]),
        _partial([("lease_until", UP)], {"status": BulkStatus.RUNNING.value}, "leases"),
    ],
    "operation_batches": [IndexModel([("operation_id", UP)]), IndexModel([("created_at", UP)])],
    "webhooks": [IndexModel([("product", UP), ("env", UP), ("url", UP)], unique=True)],
    "deliveries": [
        # With the webhook: those of one that has no room are passed over without being read.
        _partial([("due_at", UP), ("webhook_id", UP)], {"status": DeliveryStatus.PENDING.value}, DUE),
        _partial([("chain", UP), ("number", UP)], {"status": DeliveryStatus.PENDING.value}, "chain"),
        IndexModel([("webhook_id", UP), ("number", DOWN)]),
        IndexModel([("webhook_id", UP), ("status", UP), ("number", DOWN)]),
        IndexModel([("completed_at", UP)]),
    ],
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
            for name in await _in_the_way(collection, index):
                await drop_if_there(collection, name)
            await collection.create_indexes([index])


async def drop_if_there(collection: Collection, name: str) -> None:
    """Drop the index of this name, unless another process, which starts as well, was faster."""
    try:
        await collection.drop_index(name)
    except OperationFailure as error:
        if error.code != _INDEX_NOT_FOUND:
            raise


async def _in_the_way(collection: Collection, index: IndexModel) -> list[str]:
    """The names of what is there with the same name, or under another name with the same keys."""
    wanted = index.document
    there = await collection.index_information()
    return [name for name, one in there.items() if name == wanted["name"] or dict(one["key"]) == dict(wanted["key"])]


_INDEX_NOT_FOUND: Final = 27
_DEFINED_OTHERWISE: Final = (85, 86)
"""IndexOptionsConflict, IndexKeySpecsConflict."""
