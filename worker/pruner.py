"""Pruning: what is over is removed when it has been kept as long as the installation wants. Leased to one process."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from jobs.retention import RetentionPolicy
from storage.leases import Lease
from storage.retention import Pruned, Retention
from storage.signals import Signals, Topic

logger = logging.getLogger("jobgate.prune")

LEASE: Final = timedelta(minutes=5)
"""Longer than the way from one round to the next, so that the same process goes on."""

_BETWEEN_BATCHES: Final = 0.05
"""So that a backlog of years leaves the database to those who wait for it."""

_FOR_THE_RELAY: Final = 1.0


class Pruner:
    """One candidate for pruning. ``every``: the way from one look to the next while nothing is old enough."""

    def __init__(
        self, retention: Retention, policy: RetentionPolicy, lease: Lease, signals: Signals, *, every: timedelta
    ) -> None:
        self._retention = retention
        self._policy = policy
        self._lease = lease
        self._signals = signals
        self._every = every.total_seconds()

    async def run_once(self) -> float:
        """Remove one batch of each kind, if this process holds the lease; answer the seconds until the next look."""
        if not await self._lease.acquire():
            return self._every
        pruned = {kind: batch async for kind, batch in self._round()}
        counts = {kind: batch.count for kind, batch in pruned.items() if batch.count}
        if counts:
            logger.info("pruned %s", ", ".join(f"{count} {kind}" for kind, count in counts.items()))
        if not any(batch.more for batch in pruned.values()):
            return self._every
        return _BETWEEN_BATCHES if counts else _FOR_THE_RELAY

    async def stop(self) -> None:
        """Let another process take over at once."""
        await self._lease.release()

    async def _round(self) -> AsyncIterator[tuple[str, Pruned]]:
        retention, policy = self._retention, self._policy
        if policy.events is not None:
            yield "events", await retention.prune_events(policy.events)
        yield "batches of jobs", await retention.prune_batches()
        if policy.operations is not None:
            yield "operations", await retention.prune_operations(policy.operations)
        if policy.deliveries is not None:
            yield "deliveries", await retention.prune_deliveries(policy.deliveries)
        if policy.audit is not None:
            yield "entries of the audit", await retention.prune_audit(policy.audit)
        if policy.executions is not None:
            yield "executions", await retention.prune_executions(policy.executions)
        for status, age in policy.jobs.items():
            batch = await retention.prune_jobs(status, age)
            if batch.count:
                self._signals.wake(Topic.OUTBOX)
            yield f"{status} jobs", batch
