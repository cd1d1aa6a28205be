"""Who breaks things: one fault after the other, in an order that the seed decides."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.chaos.cluster import Cluster
from tests.chaos.failpoints import FREEZE, KILL, PLACES, arm, disarm, take_hit
from tests.chaos.fleet import LEASE_SECONDS, Fleet, Member
from tests.chaos.ledger import now
from tests.chaos.loader import SINGLE, Loader

FIRST_AT: Final = 3.0
APART: Final = 5.5
"""Seconds between the end of a fault and the beginning of the next."""

_LOOK_AGAIN: Final = 0.05
_REACHED_WITHIN: Final = 4.0
_BURST: Final = 300


@dataclass(slots=True)
class Fault:
    """Something that was done to the installation, and undone again."""

    kind: str
    target: int
    began: float = 0.0
    healed: float = 0.0
    happened: bool = True
    """False for a place between two steps that nobody came to meanwhile."""
    pids: list[int] = field(default_factory=list)

    @property
    def is_of_mongodb(self) -> bool:
        return self.kind.startswith("mongodb")


async def _lasting(seconds: float) -> None:
    """Leave it so: how long a server stands still or is away is what the fault is, and nothing tells of its end."""
    await asyncio.sleep(seconds)


class Nemesis:
    """Injects faults into one installation."""

    def __init__(self, cluster: Cluster, members: Fleet, loader: Loader) -> None:
        self._cluster = cluster
        self.members = members
        self._loader = loader
        self.faults: list[Fault] = []

    async def inject(self, kind: str, target: int) -> Fault:
        """Do it, keep it up for as long as the kind wants, undo it."""
        fault = Fault(kind, target, now())
        self.faults.append(fault)
        await _FAULTS[kind](self, fault)
        fault.healed = now()
        return fault

    async def worker_kill(self, fault: Fault) -> None:
        self._send(self._worker(fault), signal.SIGKILL, fault)

    async def worker_term(self, fault: Fault) -> None:
        self._send(self._worker(fault), signal.SIGTERM, fault)

    async def worker_freeze(self, fault: Fault) -> None:
        await self._freeze(self._worker(fault), fault, 1.6 * LEASE_SECONDS)

    async def worker_block(self, fault: Fault) -> None:
        """A handler that keeps the loop of its worker to itself."""
        await self._loader.dispatch(SINGLE, "block", {"ms": int(1500 * LEASE_SECONDS)}, priority=900)
        await _lasting(1.5 * LEASE_SECONDS)

    async def gateway_kill(self, fault: Fault) -> None:
        self._send(self._gateway(fault), signal.SIGKILL, fault)

    async def gateway_term(self, fault: Fault) -> None:
        self._send(self._gateway(fault), signal.SIGTERM, fault)

    async def gateway_freeze(self, fault: Fault) -> None:
        await self._freeze(self._gateway(fault), fault, 3)

    async def redis_flush(self, fault: Fault) -> None:
        for _ in range(8):
            await self._cluster.flush_redis()
            await _lasting(0.4)

    async def redis_kill(self, fault: Fault) -> None:
        await self._cluster.redis.kill()
        await _lasting(2)
        await self._cluster.redis.restart()

    async def redis_lose(self, fault: Fault) -> None:
        await self._cluster.redis.kill()
        self._cluster.forget_redis()
        await _lasting(1)
        await self._cluster.redis.restart()

    async def redis_freeze(self, fault: Fault) -> None:
        self._cluster.freeze(self._cluster.redis)
        await _lasting(4)
        self._cluster.thaw()

    async def mongodb_kill_primary(self, fault: Fault) -> None:
        await (await self._cluster.primary()).kill()
        await _lasting(4)
        await self._cluster.revive()

    async def mongodb_step_down(self, fault: Fault) -> None:
        await self._cluster.step_down()

    async def mongodb_freeze_primary(self, fault: Fault) -> None:
        self._cluster.freeze(await self._cluster.primary())
        await _lasting(5)
        self._cluster.thaw()

    async def mongodb_freeze_all(self, fault: Fault) -> None:
        """An outage that is longer than a lease."""
        self._cluster.freeze(*self._cluster.mongods)
        await _lasting(1.7 * LEASE_SECONDS)
        self._cluster.thaw()

    async def mongodb_isolate_primary(self, fault: Fault) -> None:
        """The primary goes on alone for a moment, and all die: what it alone has is lost."""
        primary = await self._cluster.primary()
        others = [server for server in self._cluster.mongods if server is not primary]
        self._cluster.freeze(*others)
        await _lasting(1.2)
        # They die as well: what was sent to them meanwhile waits in their sockets, and thawed they would find it there.
        await asyncio.gather(*(server.kill() for server in (primary, *others)))
        await asyncio.gather(*(server.restart() for server in others))
        # Were it back before these have a primary, it might become theirs, with what it alone has.
        await self._cluster.primary()
        await _lasting(1)
        await self._cluster.revive()

    async def overload(self, fault: Fault) -> None:
        await self._loader.burst(_BURST)

    async def between_kill(self, fault: Fault, name: str) -> None:
        await self._at_place(fault, name, KILL)

    async def between_freeze(self, fault: Fault, name: str) -> None:
        await self._at_place(fault, name, FREEZE)

    async def _at_place(self, fault: Fault, name: str, action: str) -> None:
        folder = self.members.failpoints
        arm(folder, name, action)
        if name.startswith("mid_bulk"):
            self._loader.begin(self._loader.do_many())
        pid = await self._await_hit(name)
        if pid is None:
            disarm(folder, name)
            pid = take_hit(folder, name)
        fault.happened = pid is not None
        if pid is not None:
            fault.pids.append(pid)
            if action == FREEZE:
                note = self.members.note_frozen(pid)
                await _lasting(1.6 * LEASE_SECONDS)
                self.members.thaw(note)

    async def _await_hit(self, name: str) -> int | None:
        deadline = now() + _REACHED_WITHIN
        while now() < deadline:
            pid = take_hit(self.members.failpoints, name)
            if pid is not None:
                return pid
            await asyncio.sleep(_LOOK_AGAIN)
        return None

    async def _freeze(self, member: Member, fault: Fault, seconds: float) -> None:
        pid = self._send(member, signal.SIGSTOP, fault)
        if pid is not None:
            note = self.members.note_frozen(pid)
            await _lasting(seconds)
            self.members.thaw(note)

    def _send(self, member: Member, signum: signal.Signals, fault: Fault) -> int | None:
        pid = member.send(signum)
        fault.happened = pid is not None
        fault.pids += [] if pid is None else [pid]
        return pid

    def _worker(self, fault: Fault) -> Member:
        return self.members.workers[fault.target % len(self.members.workers)]

    def _gateway(self, fault: Fault) -> Member:
        return self.members.gateways[fault.target % len(self.members.gateways)]


def _place_fault(name: str, action: str) -> Callable[[Nemesis, Fault], Awaitable[None]]:
    async def inject(nemesis: Nemesis, fault: Fault) -> None:
        await (nemesis.between_kill if action == KILL else nemesis.between_freeze)(fault, name)

    return inject


_FROZEN_AT: Final = ("after_claim_before_handler", "after_effect_before_finish", "before_lease_renew")

_FAULTS: Final[dict[str, Callable[[Nemesis, Fault], Awaitable[None]]]] = {
    "worker killed": Nemesis.worker_kill,
    "worker told to stop": Nemesis.worker_term,
    "worker frozen": Nemesis.worker_freeze,
    "worker's loop blocked": Nemesis.worker_block,
    "gateway killed": Nemesis.gateway_kill,
    "gateway told to stop": Nemesis.gateway_term,
    "gateway frozen": Nemesis.gateway_freeze,
    "redis flushed": Nemesis.redis_flush,
    "redis killed": Nemesis.redis_kill,
    "redis killed, data lost": Nemesis.redis_lose,
    "redis frozen": Nemesis.redis_freeze,
    "mongodb primary killed": Nemesis.mongodb_kill_primary,
    "mongodb primary stepped down": Nemesis.mongodb_step_down,
    "mongodb primary frozen": Nemesis.mongodb_freeze_primary,
    "mongodb frozen": Nemesis.mongodb_freeze_all,
    "mongodb primary isolated, killed": Nemesis.mongodb_isolate_primary,
    "overload": Nemesis.overload,
    **{f"killed {name}": _place_fault(name, KILL) for name in PLACES},
    **{f"frozen {name}": _place_fault(name, FREEZE) for name in _FROZEN_AT},
}

KINDS: Final = tuple(_FAULTS)


def plan(random: Random) -> Callable[[], tuple[str, int]]:
    """One fault after the other: each kind comes once before any comes again."""
    waiting: list[str] = []

    def draw() -> tuple[str, int]:
        if not waiting:
            waiting.extend(random.sample(KINDS, len(KINDS)))
        return waiting.pop(), random.randrange(6)

    return draw
