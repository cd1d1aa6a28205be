"""The gateways and workers of an installation under faults: started again whenever they end, with their births and deaths."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.children import Child, kept
from gateway.devstack.ports import choose_port
from gateway.urls import graphql_url
from tests.chaos.ledger import LEDGER, now
from tests.chaos.member import FOLDER, PLANT, SKEW, STALLS
from tests.chaos.receiver import KEY

LEASE_SECONDS: Final = 3.0
DRAIN_SECONDS: Final = 3.0
SWEEP_SECONDS: Final = 0.5
RENUDGE_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 1.0
CONCURRENCY: Final = 8
GATEWAYS: Final = 2
WORKERS: Final = 3

_HOST: Final = "127.0.0.1"
_SKEWS: Final = {"gateway 0": -240.0, "worker 1": 240.0}
"""Some have the wrong time, by minutes."""

_SETTINGS: Final = {
    "JOBGATE_LEASE_SECONDS": str(LEASE_SECONDS),
    "JOBGATE_DRAIN_SECONDS": str(DRAIN_SECONDS),
    "JOBGATE_SWEEP_SECONDS": str(SWEEP_SECONDS),
    "JOBGATE_RENUDGE_SECONDS": str(RENUDGE_SECONDS),
    "JOBGATE_CANCEL_GRACE_SECONDS": str(GRACE_SECONDS),
    "JOBGATE_CONCURRENCY": str(CONCURRENCY),
    "JOBGATE_MAX_OUTSTANDING": "50",
    "JOBGATE_MAX_IN_FLIGHT": "60",
    "JOBGATE_TASKS": "tests.chaos.tasks",
    "JOBGATE_SECRET_KEYS": KEY,
    "JOBGATE_AUTH": "none",
    "JOBGATE_ALLOW_PRIVATE_ADDRESSES": "true",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the members of one installation find their stores, and leave their traces."""

    folder: Path
    mongodb_url: str
    redis_url: str
    database: str
    plant: str = ""

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    @property
    def failpoints(self) -> Path:
        return self.folder / "failpoints"

    @property
    def stalls(self) -> Path:
        return self.folder / "stalls"


@dataclass(slots=True)
class Frozen:
    """A time during which a process did nothing."""

    pid: int
    since: float
    until: float | None = None


class Member(Child):
    """One gateway or worker, in whatever process it is at the moment."""

    def __init__(self, name: str, role: str, place: Place, port: int | None = None) -> None:
        super().__init__(
            name,
            [role],
            _environment(name, place, port),
            stop_seconds=15,
            module="tests.chaos.member",
            log=place.folder / f"{name.replace(' ', '-')}.log",
        )
        self.url = graphql_url(_HOST, port) if port else ""
        self.deaths: dict[int, float] = {}
        self._ready = asyncio.Event()

    async def start(self) -> bool:
        ready = await super().start()
        if ready:
            self._ready.set()
        return ready

    async def back(self) -> None:
        """Wait until the process that was told to stop is replaced by one that works."""
        self._ready.clear()
        await self._ready.wait()

    def on_end(self, status: int) -> None:
        if self.pid is not None:
            self.deaths[self.pid] = now()

    def send(self, signum: signal.Signals) -> int | None:
        """Signal the process that it is now; None when it is between two of them."""
        pid = self.pid
        if pid is None or pid in self.deaths:
            return None
        with suppress(ProcessLookupError):
            os.kill(pid, signum)
            return pid
        return None


@dataclass(slots=True)
class Fleet:
    """All members."""

    gateways: list[Member]
    workers: list[Member]
    failpoints: Path
    frozen: list[Frozen] = field(default_factory=list)

    def __iter__(self) -> Iterator[Member]:
        return iter((*self.gateways, *self.workers))

    @property
    def deaths(self) -> Mapping[int, float]:
        return {pid: at for member in self for pid, at in member.deaths.items()}

    def note_frozen(self, pid: int) -> Frozen:
        """It was told to do nothing, or did so itself."""
        note = Frozen(pid, now())
        self.frozen.append(note)
        return note

    def thaw(self, note: Frozen) -> None:
        """Let it go on."""
        with suppress(ProcessLookupError):
            os.kill(note.pid, signal.SIGCONT)
        note.until = now()

    def thaw_all(self) -> None:
        for note in self.frozen:
            if note.until is None:
                self.thaw(note)


@asynccontextmanager
async def fleet(place: Place) -> AsyncIterator[Fleet]:
    """An installation that runs. Raises ``ChildProcessError`` when one of its processes does not start."""
    place.failpoints.mkdir(parents=True, exist_ok=True)
    members = Fleet(
        [Member(f"gateway {number}", "serve", place, port) for number, port in enumerate(_ports(GATEWAYS))],
        [Member(f"worker {number}", "worker", place) for number in range(WORKERS)],
        place.failpoints,
    )
    async with AsyncExitStack() as stack:
        for member in members:
            await stack.enter_async_context(kept(member))
        stack.callback(members.thaw_all)
        yield members


def _ports(count: int) -> set[int]:
    """So many that are free, none of them twice: nobody listens yet."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(choose_port(None))
    return ports


def _environment(name: str, place: Place, port: int | None) -> dict[str, str]:
    return {
        **os.environ,
        **_SETTINGS,
        "MONGODB_URL": place.mongodb_url,
        "REDIS_URL": place.redis_url,
        "JOBGATE_DATABASE": place.database,
        "JOBGATE_PORT": str(port or 0),
        LEDGER: str(place.ledger),
        FOLDER: str(place.failpoints),
        STALLS: str(place.stalls),
        PLANT: place.plant,
        SKEW: str(_SKEWS.get(name, 0.0)),
    }
