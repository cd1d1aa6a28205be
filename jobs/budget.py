"""How much a caller may ask for in the long run: token buckets, as arithmetic on values.

A bucket holds ``capacity`` and fills at ``rate`` per second. All there is to remember of one is the instant at which it will be
full; a bucket that nothing is remembered of is full.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from jobs.errors import JobgateError

BURST_SECONDS: Final = 20
"""A full bucket holds what comes in within so long."""


class Kind(StrEnum):
    """What there is a budget of."""

    COST = "cost"
    """Of all operations, in points: see ``extensions.cost``."""
    MUTATIONS = "mutations"
    """Fields of mutations, each of which is one."""
    SUBSCRIPTIONS = "subscriptions"
    """Those that are begun."""
    CONNECTIONS = "connections"
    """WebSockets and event streams that are opened."""


BIGGEST_OPERATION: Final = {Kind.COST: 25_000, Kind.MUTATIONS: 10, Kind.SUBSCRIPTIONS: 1, Kind.CONNECTIONS: 1}
"""What a single operation may need at most: a bucket that held less would never let it pass."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """``rate`` is per second. All instants are seconds, of one clock."""

    rate: float
    capacity: float

    def level(self, full_at: float, now: float) -> float:
        """What is in it."""
        return self.capacity - max(0.0, full_at - now) * self.rate

    def wait(self, full_at: float, amount: float, now: float) -> float:
        """Seconds until there is this amount in it, which it has to be able to hold; 0 when there is."""
        return max(0.0, amount - self.level(full_at, now)) / self.rate

    def taken(self, full_at: float, amount: float, now: float) -> float:
        """When it will be full, after this amount was taken."""
        return max(full_at, now) + amount / self.rate


def bucket(rate: float, least: float) -> Bucket:
    """One that fills at this rate, and holds what a single operation may need: ``least``."""
    return Bucket(rate, max(rate * BURST_SECONDS, least))


Buckets = Mapping[Kind, Bucket]
"""What is limited, for every caller alike."""


class OverBudget(JobgateError):
    """The caller has spent too much of late; nothing was taken, nothing begun. ``retry_after`` is in seconds."""

    def __init__(self, spent: Kind, wait: float, left: Mapping[Kind, float]) -> None:
        self.retry_after = math.ceil(wait * 1000) / 1000
        self.left = left
        super().__init__(f"your budget of {spent} is spent: nothing was begun, ask again in {self.retry_after:g} s")


class Budgets(Protocol):
    """Whoever keeps the buckets of callers."""

    async def take(self, credential: str, amounts: Mapping[Kind, float]) -> Mapping[Kind, float]:
        """Take all of it or nothing, and tell what is left of each that is limited. Raises :class:`OverBudget`."""


class Unlimited:
    """Budgets of those who may ask for anything."""

    async def take(self, credential: str, amounts: Mapping[Kind, float]) -> Mapping[Kind, float]:
        """Nothing is counted."""
        return {}


UNLIMITED: Final = Unlimited()


def check(buckets: Buckets, full_at: Mapping[Kind, float], amounts: Mapping[Kind, float], now: float) -> None:
    """Raise :class:`OverBudget` unless there is enough in each of the buckets; it names the one that takes longest to fill."""
    waits = {kind: buckets[kind].wait(full_at.get(kind, now), amount, now) for kind, amount in amounts.items()}
    longest = max(waits, key=waits.__getitem__)
    if waits[longest] > 0:
        raise OverBudget(
            longest, waits[longest], levels(buckets, {kind: full_at.get(kind, now) for kind in amounts}, now)
        )


def levels(buckets: Buckets, full_at: Mapping[Kind, float], now: float) -> dict[Kind, float]:
    """What is in each of these buckets."""
    return {kind: buckets[kind].level(at, now) for kind, at in full_at.items()}
