"""The processes that run jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry

from jobs.workers import LiveTask, LiveWorker
from schema.scalars import JSON


@strawberry.type(description="A process that runs jobs, and was heard of in the last 15 seconds.")
class Worker:
    id: strawberry.ID = strawberry.field(description="Its own: a restarted worker is another one.")
    started_at: datetime = strawberry.field(description="When it began.")
    heartbeat_at: datetime = strawberry.field(description="When it was last heard of.")
    running: int = strawberry.field(description="How many runs it was at then.")
    concurrency: int = strawberry.field(description="How many runs it takes at a time.")
    host: str = strawberry.field(description="The machine that it is on.")

    @classmethod
    def from_domain(cls, worker: LiveWorker) -> Self:
        return cls(
            id=strawberry.ID(worker.id),
            started_at=worker.started_at,
            heartbeat_at=worker.heartbeat_at,
            running=worker.running,
            concurrency=worker.concurrency,
            host=worker.host,
        )


@strawberry.type(description="A handler that some live worker can run.")
class Task:
    namespace: str = strawberry.field(description="The group that it belongs to.")
    name: str = strawberry.field(description="Its name within the group: what a dispatch calls task.")
    description: str | None = strawberry.field(description="What it does, in its author's words.")
    input_schema: JSON | None = strawberry.field(
        description="The JSON Schema that a dispatch checks the input against; null when any input will do."
    )
    workers: int = strawberry.field(description="How many live workers can run it.")

    @classmethod
    def from_domain(cls, task: LiveTask) -> Self:
        schema = task.input_schema
        return cls(
            namespace=task.namespace,
            name=task.name,
            description=task.description,
            input_schema=None if schema is None else JSON(schema),
            workers=task.workers,
        )
