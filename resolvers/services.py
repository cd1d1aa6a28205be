"""What a use case may reach, and who is asking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resolvers.hub import EventHub
from storage.batches import Batcher
from storage.clock import DatabaseClock
from storage.events import EventLog
from storage.executions import ExecutionReader
from storage.job_updates import NewJob
from storage.jobs import JobReader
from storage.registry import Registry
from storage.signals import Signals
from storage.statistics import StatisticsReader
from storage.transitions import JobWriter


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. ``name`` is what transitions and events remember as their actor."""

    name: str


@dataclass(frozen=True, slots=True)
class Services:
    """The stores and senders of one gateway process."""

    jobs: JobReader
    writer: JobWriter
    insertions: Batcher[NewJob, None]
    """Dispatches that arrive together are inserted together."""
    executions: ExecutionReader
    statistics: StatisticsReader
    events: EventLog
    hub: EventHub
    registry: Registry
    signals: Signals
    clock: DatabaseClock
    new_id: Callable[[], str]
    """A new time-ordered unique id, without a prefix."""
    max_outstanding: int
    """So many nudges may lie in Redis; beyond them the backlog waits in MongoDB, in the order of its priorities."""
