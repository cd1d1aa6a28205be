"""The processes that run jobs, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jobs.json_values import JsonValue


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """A worker that was heard of lately."""

    id: str
    host: str
    concurrency: int
    """Runs that it takes at a time."""
    running: int
    """Runs that it was at when it was last heard of."""
    started_at: datetime
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True)
class LiveTask:
    """A handler that some live worker can run."""

    namespace: str
    name: str
    description: str | None
    input_schema: JsonValue
    """The JSON Schema that inputs have to meet; None when any input will do."""
    workers: int
    """Live workers that can run it."""
