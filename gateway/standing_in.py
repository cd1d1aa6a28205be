"""When a gateway does what is usually for workers to do: telling of events, and delivering them."""

from __future__ import annotations

from datetime import datetime

from storage.leases import Lease
from storage.registry import Registry


class StandIn:
    """One gateway, in place of workers. ``lease`` is one that some worker always holds, and renews, while there are any."""

    def __init__(self, registry: Registry, lease: Lease) -> None:
        self._registry = registry
        self._lease = lease
        self._since: datetime | None = None
        """When the lease was found to have lapsed, by the database's clock; None where workers see to it."""

    async def is_wanted(self) -> bool:
        """Whether no worker lives, or none does what all of them would: they are waited for until one is heard of again."""
        if self._since is None:
            if not await self._registry.any_worker_lives():
                return True
            # One that was killed counts as alive for a while, in which nothing would be told to anybody.
            self._since = await self._lease.find_lapse()
        elif await self._registry.any_worker_heard_since(self._since):
            self._since = None
        return self._since is not None
