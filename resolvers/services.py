"""What a use case may reach, and who is asking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from uuid_utils import uuid7

from jobs.bulk import BulkOperation
from resolvers.hub import EventHub
from storage.audit import AuditLog
from storage.batches import Batcher
from storage.bulk import BulkWriter
from storage.client import Database
from storage.clock import DatabaseClock
from storage.deliveries import Deliveries
from storage.events import EventLog
from storage.executions import ExecutionReader
from storage.job_updates import NewJob
from storage.jobs import JobReader
from storage.operations import Operations
from storage.registry import Registry
from storage.sealing import NO_KEYS, Sealer
from storage.secret_inputs import InputSecrets
from storage.signals import Signals
from storage.statistics import StatisticsReader
from storage.transitions import JobWriter
from storage.wakeups import Wakeups
from storage.webhooks import Webhooks


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
    operations: Operations
    bulk: BulkWriter
    webhooks: Webhooks
    deliveries: Deliveries
    secrets: InputSecrets
    """Keeps what tasks say is secret in the input of their jobs."""
    audit: AuditLog
    audit_reads: bool
    """Whether it is noted who is handed what jobs are given and what they answer."""
    allow_private: bool
    """Whether webhooks may lead to private and loopback addresses."""
    signals: Signals
    clock: DatabaseClock
    new_id: Callable[[], str]
    """A new time-ordered unique id, without a prefix."""
    max_outstanding: int
    """So many nudges may lie in Redis; beyond them the backlog waits in MongoDB, in the order of its priorities."""
    going_on: set[asyncio.Task[BulkOperation]] = field(default_factory=set)
    """What goes on though its caller was answered or is gone: held, since the loop itself forgets tasks that nobody holds."""


def services_on(
    database: Database,
    signals: Signals,
    wakeups: Wakeups,
    name: str,
    *,
    max_outstanding: int = 200,
    sealer: Sealer = NO_KEYS,
    allow_private: bool = False,
    audit_reads: bool = False,
) -> Services:
    """The services of a process that bulk operations know as ``name``. Its clock and its hub are not started yet."""
    webhooks = Webhooks(database, sealer)
    writer, log, operations = JobWriter(database), EventLog(database), Operations(database, name)
    return Services(
        jobs=JobReader(database),
        writer=writer,
        insertions=Batcher(writer.insert_many),
        executions=ExecutionReader(database),
        statistics=StatisticsReader(database),
        events=log,
        hub=EventHub(log, wakeups),
        registry=Registry(database),
        operations=operations,
        bulk=BulkWriter(database, operations),
        webhooks=webhooks,
        deliveries=Deliveries(database, webhooks),
        secrets=InputSecrets(sealer),
        audit=AuditLog(database),
        audit_reads=audit_reads,
        allow_private=allow_private,
        signals=signals,
        clock=DatabaseClock(database),
        new_id=lambda: uuid7().hex,
        max_outstanding=max_outstanding,
    )
