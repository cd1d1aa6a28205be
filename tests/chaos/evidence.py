"""Everything that is known after a run: what the store holds, what handlers and callers noted, and what was broken when."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile, zip_longest
from math import inf
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from tests.chaos.fleet import Frozen
from tests.chaos.history import History
from tests.chaos.ledger import Effect
from tests.chaos.nemesis import Fault
from tests.chaos.receiver import Message
from tests.chaos.subscribers import Subscriber

Document = dict[str, Any]

STALE_FINISH = "its result came too late and was discarded"
_LONGEST = 300
_BEGINS = re.compile(r"\d\d:\d\d:\d\d\.\d{3} ")
_TERMINAL = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class Evidence:
    """Of one run. Times are seconds since the epoch, by one clock: all parts are on one machine."""

    history: History
    effects: Sequence[Effect]
    events: Sequence[Document]
    jobs: Mapping[str, Document]
    executions: Sequence[Document]
    operations: Mapping[str, Document]
    faults: Sequence[Fault]
    deaths: Mapping[int, float]
    frozen: Sequence[Frozen]
    starved: Sequence[Frozen]
    """Who stood still without being made to: the machine had more to do than it can."""
    subscribers: Sequence[Subscriber]
    deliveries: Sequence[Document]
    messages: Sequence[Message]
    began: float
    healed: float
    settled: float | None
    """When every job was over, and every event in the log; None when that took too long."""
    stale_finishes: int
    defects: Mapping[str, str] = field(default_factory=dict)
    """What gateways have logged of what they answered with INTERNAL, by correlation id: the end of the traceback."""
    leftovers: Sequence[str] = field(default_factory=list)
    """What was not over in time."""

    @cached_property
    def told(self) -> Mapping[str, list[Document]]:
        """The events of each job, in the order of the log."""
        return _grouped(self.events)

    @cached_property
    def runs(self) -> Mapping[str, list[Document]]:
        """The history of each job, by number."""
        return _grouped(sorted(self.executions, key=lambda run: run["number"]))

    @cached_property
    def work(self) -> Mapping[str, list[Effect]]:
        """What handlers did for each job, in the order in which they began."""
        found: defaultdict[str, list[Effect]] = defaultdict(list)
        for effect in self.effects:
            found[effect.job].append(effect)
        return found

    def was_frozen(self, pid: int, since: float, until: float) -> bool:
        """Whether a process did nothing at all for a part of that time."""
        return any(
            note.pid == pid and note.since < until and (note.until is None or note.until > since)
            for note in (*self.frozen, *self.starved)
        )

    @cached_property
    def stalls(self) -> Sequence[tuple[int, float, float]]:
        """Which process got no turn, from when until when, where no fault made it stand still."""
        return [
            (note.pid, note.since, note.until)
            for note in self.starved
            if note.until is not None and not any(_meet(note, other) for other in self.frozen)
        ]

    def stood_still(self, since: float, until: float) -> float:
        """The seconds of that time in which the machine had more to do than it can, and some process no turn for it."""
        seconds, seen = 0.0, since
        for _, begin, end in sorted(self.stalls, key=lambda stall: stall[1]):
            begun, ended = max(begin, seen), min(end, until)
            seconds += max(0.0, ended - begun)
            seen = max(seen, ended)
        return seconds

    def was_blocked(self, pid: int, since: float, until: float) -> bool:
        """Whether a handler kept the loop of its process to itself for a part of that time."""
        return any(
            effect.pid == pid and effect.task == "block" and effect.began < until and effect.ended > since
            for effect in self.effects
        )

    def was_without_mongodb(self, since: float, until: float) -> bool:
        """Whether MongoDB was away for a part of that time."""
        return any(fault.is_of_mongodb and fault.began < until and fault.healed > since for fault in self.faults)

    def windows(self) -> Iterator[tuple[Fault, float, float]]:
        """Each fault that happened, with the time from it to the next one."""
        happened = [fault for fault in self.faults if fault.happened]
        for fault, after in zip_longest(happened, happened[1:]):
            yield fault, fault.began, self.healed if after is None else after.began


def is_over(status: str) -> bool:
    return status in _TERMINAL


def read_store(url: str, database: str) -> dict[str, Any]:
    """What the evidence holds of the store."""
    with MongoClient[Document](url, tz_aware=True) as client:
        store = client[database]
        return {
            "events": list(store["events"].find({}, sort=[("_id", 1)])),
            "jobs": {job["_id"]: job for job in store["jobs"].find({})},
            "deliveries": list(store["deliveries"].find({})),
            "executions": list(store["executions"].find({})),
            "operations": {one["_id"]: one for one in store["operations"].find({})},
        }


def count_stale_finishes(folder: Path) -> int:
    """How often a worker was told that it is too late, by what workers say themselves."""
    return sum(log.read_text(errors="replace").count(STALE_FINISH) for log in folder.glob("worker-*.log"))


def read_defects(folder: Path) -> dict[str, str]:
    """As :attr:`Evidence.defects`."""
    found: dict[str, str] = {}
    for log in folder.glob("gateway-*.log"):
        for defect in log.read_text(errors="replace").split("unexpected error ")[1:]:
            name, *lines = defect.splitlines()
            logged = takewhile(lambda line: not _BEGINS.match(line), lines)
            *_, raised = ("nothing", *(line for line in logged if line and not line.startswith(" ")))
            found[name] = raised[:_LONGEST]
    return found


def _grouped(documents: Sequence[Document]) -> Mapping[str, list[Document]]:
    found: defaultdict[str, list[Document]] = defaultdict(list)
    for document in documents:
        found[document["job_id"]].append(document)
    return found


def _meet(one: Frozen, other: Frozen) -> bool:
    return one.pid == other.pid and one.since < (other.until or inf) and other.since < (one.until or inf)
