"""Which workers live, and which tasks have ever been offered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import UpdateOne

from jobs.dispatch import TaskTerms
from jobs.times import MILLISECOND, to_milliseconds
from jobs.workers import LiveTask, LiveWorker
from storage.client import Collection, Database, aggregate
from storage.errors import mongodb_errors

WORKER_ALIVE: Final = timedelta(seconds=15)
"""A worker that was not heard of for so long counts as gone."""


@dataclass(frozen=True, slots=True)
class WorkerCard:
    """What a worker says of itself."""

    id: str
    host: str
    pid: int
    concurrency: int
    tasks: tuple[str, ...] = ()
    """The tasks that it can run, as ``namespace.name``."""


@dataclass(frozen=True, slots=True)
class TaskCard:
    """What a worker says of a task that it can run."""

    namespace: str
    name: str
    description: str | None
    terms: TaskTerms


class Registry:
    """The collections ``workers`` and ``tasks``."""

    def __init__(self, database: Database) -> None:
        self._workers: Collection = database["workers"]
        self._tasks: Collection = database["tasks"]

    async def offer(self, tasks: Sequence[TaskCard]) -> None:
        """Make tasks known. They stay known when the worker is gone: its jobs wait for the next one.

        Of workers that say different things of a task, the one that came last is believed.
        """
        writes = [
            UpdateOne({"_id": f"{task.namespace}.{task.name}"}, [{"$set": _task_fields(task)}], upsert=True)
            for task in tasks
        ]
        with mongodb_errors():
            await self._tasks.bulk_write(writes, ordered=False)

    async def find_terms(self, namespace: str, name: str) -> TaskTerms | None:
        """What the task says about its jobs; None when no worker has ever offered it."""
        with mongodb_errors():
            task = await self._tasks.find_one({"_id": {"$eq": f"{namespace}.{name}"}})
        if task is None or task["namespace"] != namespace:
            return None
        timeout = task["timeout"]
        # Tasks that an older version has offered have no schema.
        schema = task.get("input_schema")
        return TaskTerms(task["retries"], None if timeout is None else timeout * MILLISECOND, schema)

    async def sign_in(self, worker: WorkerCard, running: int) -> None:
        """Say that the worker lives."""
        fields = {
            "host": {"$literal": worker.host},
            "pid": worker.pid,
            "concurrency": worker.concurrency,
            "running": running,
            "tasks": {"$literal": list(worker.tasks)},
            "started_at": {"$ifNull": ["$started_at", "$$NOW"]},
            "heartbeat_at": "$$NOW",
        }
        with mongodb_errors():
            await self._workers.update_one({"_id": worker.id}, [{"$set": fields}], upsert=True)

    async def sign_out(self, worker: WorkerCard) -> None:
        """Say that the worker is gone."""
        with mongodb_errors():
            await self._workers.delete_one({"_id": worker.id})

    async def live_workers(self) -> list[LiveWorker]:
        """The workers that were heard of lately, those that started first before the others."""
        with mongodb_errors():
            cursor = self._workers.find(_ALIVE).sort([("started_at", 1), ("_id", 1)]).limit(_MOST_WORKERS)
            return [_live_worker(document) for document in await cursor.to_list(_MOST_WORKERS)]

    async def live_tasks(self) -> list[LiveTask]:
        """The tasks that workers can run that were heard of lately, by namespace and name."""
        stages: list[dict[str, Any]] = [
            {"$match": _ALIVE},
            {"$unwind": "$tasks"},
            {"$group": {"_id": "$tasks", "workers": {"$sum": 1}}},
            {"$lookup": {"from": "tasks", "localField": "_id", "foreignField": "_id", "as": "task"}},
            {"$unwind": "$task"},
            {"$sort": {"task.namespace": 1, "task.name": 1}},
            {"$limit": _MOST_TASKS},
        ]
        with mongodb_errors():
            found = await (await aggregate(self._workers, stages)).to_list(_MOST_TASKS)
        return [_live_task(one["task"], one["workers"]) for one in found]

    async def any_worker_lives(self) -> bool:
        """Whether some worker was heard of lately, by the database's clock."""
        with mongodb_errors():
            found = await self._workers.find_one(_ALIVE, {"_id": 1})
        return found is not None

    async def any_worker_heard_since(self, at: datetime) -> bool:
        """Whether some worker has said that it lives later than ``at``, by the database's clock."""
        with mongodb_errors():
            found = await self._workers.find_one({"heartbeat_at": {"$gt": at}}, {"_id": 1})
        return found is not None


_MOST_WORKERS: Final = 1_000
_MOST_TASKS: Final = 1_000
_ALIVE: Final = {"$expr": {"$gt": ["$heartbeat_at", {"$subtract": ["$$NOW", to_milliseconds(WORKER_ALIVE)]}]}}


def _live_worker(document: Mapping[str, Any]) -> LiveWorker:
    return LiveWorker(
        id=document["_id"],
        host=document["host"],
        concurrency=document["concurrency"],
        running=document["running"],
        started_at=document["started_at"],
        heartbeat_at=document["heartbeat_at"],
    )


def _live_task(task: Mapping[str, Any], workers: int) -> LiveTask:
    schema = task.get("input_schema")
    return LiveTask(
        namespace=task["namespace"],
        name=task["name"],
        description=task["description"],
        input_schema=None if schema is None else json.loads(schema),
        workers=workers,
    )


def _task_fields(task: TaskCard) -> dict[str, object]:
    timeout = task.terms.timeout
    return {
        "namespace": {"$literal": task.namespace},
        "name": {"$literal": task.name},
        "description": {"$literal": task.description},
        "retries": task.terms.retries,
        "timeout": None if timeout is None else to_milliseconds(timeout),
        # As text: MongoDB has its own ideas of keys such as "$ref".
        "input_schema": {"$literal": task.terms.input_schema},
        "seen_at": "$$NOW",
    }
