"""Callers of every kind, at random but for the seed: they dispatch, steer, and do things to many jobs at once."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from tests.chaos.caller import Caller
from tests.chaos.history import Operation, Outcome
from tests.chaos.ledger import now

ENV: Final = "chaos"
SINGLE: Final = "single"
RECURRING: Final = "recurring"
CRON: Final = "cron"
GROUP: Final = "group"
KEYED: Final = "keyed"
BURST: Final = "burst"
LONG: Final = "long"

_REMEMBERED: Final = 60
_GROUP_SIZE: Final = 15
_CALLERS: Final = 6
_TRIES: Final = 8
_BULK_LOOKS: Final = 100
_AT_ONCE: Final = 600


@dataclass(frozen=True, slots=True)
class Load:
    """Seconds between two operations of a kind, on average; None: there are none of it."""

    single: float | None = 0.16
    steer: float | None = 0.2
    recur: float | None = 1.5
    steer_recurring: float | None = 0.5
    bulk: float | None = 6.0
    keyed: float | None = 3.0
    cron: float | None = 45.0
    long: float | None = 2.0
    work_ms: tuple[int, int] = (20, 700)
    plain: bool = False
    """Single jobs are all of the kind that succeeds at once."""


QUIET: Final = Load(
    single=0.15, steer=None, recur=None, steer_recurring=None, bulk=None, keyed=None, cron=None, long=None
)
"""Nothing but single jobs."""


class Loader:
    """All callers."""

    def __init__(self, caller: Caller, random: Random, load: Load) -> None:
        self._caller = caller
        self._random = random
        self._load = load
        self._names = itertools.count(1)
        self._singles: deque[str] = deque(maxlen=_REMEMBERED)
        self._recurring: deque[str] = deque(maxlen=_REMEMBERED // 4)
        self._streams: list[asyncio.Task[None]] = []
        self._under_way: set[asyncio.Task[Any]] = set()
        self._defects: list[BaseException] = []

    def start(self) -> None:
        load = self._load
        kinds: list[tuple[float | None, Callable[[], Coroutine[Any, Any, Any]]]] = [
            (load.single, self.dispatch_single),
            (load.steer, self._steer_single),
            (load.recur, self.dispatch_recurring),
            (load.steer_recurring, self._steer_recurring),
            (load.bulk, self.do_many),
            (load.keyed, self._dispatch_keyed),
            (load.cron, self._dispatch_cron),
            (load.long, self._cancel_long),
        ]
        self._streams = [asyncio.create_task(self._stream(every, act)) for every, act in kinds if every is not None]

    async def stop(self) -> None:
        """Begin nothing more, and wait for what is under way. Raises what went wrong with any of it: that is our own doing."""
        for stream in self._streams:
            stream.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._defects:
            raise self._defects[0]

    def begin(self, act: Coroutine[Any, Any, Any]) -> None:
        """Do something beside everything else; it is over before the run is looked at."""
        task = asyncio.create_task(act)
        self._under_way.add(task)
        task.add_done_callback(self._conclude)

    def _conclude(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._defects.append(error)

    async def dispatch(self, product: str, task: str, value: Any, **options: Any) -> Operation:
        # Told apart by their input, unless they are to be the same.
        value = value if "idempotencyKey" in options else {**value, "call": next(self._names)}
        request = {"namespace": "chaos", "task": task, "product": product, "env": ENV, "input": value, **options}
        return await self._caller.ask("dispatch", input=request)

    async def cancel(self, done: Operation) -> None:
        """Cancel what was dispatched, if it was."""
        if done.outcome is Outcome.OK:
            await self._caller.ask("cancel", id=done.answer["id"], reason="no longer needed")

    async def dispatch_single(self) -> None:
        draw, ms = self._random.random(), self._random.randint(*self._load.work_ms)
        if draw < 0.55 or self._load.plain:
            done = await self.dispatch(SINGLE, "work", {"ms": ms})
        elif draw < 0.75:
            done = await self.dispatch(SINGLE, "work", {"ms": ms}, schedule={"startAt": self._soon(0.3, 4)})
        elif draw < 0.87:
            failures = self._random.randint(0, 3)
            done = await self.dispatch(
                *(SINGLE, "fail", {"ms": ms // 4, "failures": failures}),
                retries=2,
                retryConfig={"initialDelay": 100, "maxDelay": 800},
            )
        elif draw < 0.97:
            done = await self.dispatch(SINGLE, "thread", {"ms": ms})
        else:
            done = await self.dispatch(SINGLE, "work", {"ms": 1500}, timeout=300)
        self._remember(self._singles, done)

    async def dispatch_recurring(self) -> None:
        """A job that recurs every second or two, a few times."""
        schedule = {
            "every": self._random.choice((1000, 1000, 2000)),
            "startAt": self._soon(0.2, 1.5),
            "limit": self._random.randint(2, 8),
            "overlap": self._random.choice(("SKIP", "QUEUE_ONE")),
            "missed": self._random.choice(("SKIP", "RUN_ONCE", "RUN_ALL")),
        }
        if self._random.random() < 0.3:
            schedule["endDate"] = self._soon(4, 12)
        done = await self.dispatch(
            RECURRING, "work", {"ms": self._random.choice((50, 300, 1200, 2400))}, schedule=schedule
        )
        self._remember(self._recurring, done)

    async def do_many(self) -> None:
        """A group of jobs, and one operation on all of them."""
        tag = f"group-{next(self._names)}"
        action = self._random.choice(("cancelMany", "cancelMany", "pauseMany", "deleteMany", "retryMany"))
        await asyncio.gather(*(self._dispatch_member(tag, action) for _ in range(_GROUP_SIZE)))
        if action in ("deleteMany", "retryMany"):
            await self._think(0.5, 2)
        chosen = {"tags": [tag], "product": [GROUP]}
        options = {"reason": tag} if action in ("cancelMany", "pauseMany") else {}
        done = await self._caller.ask(action, filter=chosen, **options)
        await self._follow(done)
        if action == "pauseMany":
            await self._think(0.2, 2)
            await self._follow(await self._caller.ask("resumeMany", filter=chosen))

    async def burst(self, count: int) -> None:
        """So many callers at the same moment."""
        await asyncio.gather(*(self.dispatch(BURST, "work", {"ms": 20}) for _ in range(count)))

    async def resume_all(self) -> Operation:
        """Whatever is paused is to go on."""
        return await self._caller.ask("resumeMany", filter={"status": ["PAUSED"], "env": [ENV]})

    async def cancel_all(self, product: str) -> Operation:
        return await self._caller.ask("cancelMany", filter={"product": [product]}, reason="it is over")

    async def _dispatch_member(self, tag: str, action: str) -> None:
        if action == "pauseMany":
            schedule = {"every": 1000, "limit": 4, "startAt": self._soon(0.1, 2)}
            await self.dispatch(GROUP, "work", {"ms": 100}, tags=[tag], schedule=schedule)
        elif action == "cancelMany":
            schedule = {"startAt": self._soon(0.1, 4)}
            await self.dispatch(GROUP, "work", {"ms": 300}, tags=[tag], schedule=schedule)
        else:
            failures = self._random.choice((0, 1))
            await self.dispatch(GROUP, "fail", {"ms": 20, "failures": failures}, tags=[tag])

    async def _follow(self, done: Operation) -> None:
        """Wait for the end of an operation on many jobs."""
        if done.outcome is not Outcome.OK:
            return
        status = done.answer["status"]
        for _ in range(_BULK_LOOKS):
            if status != "RUNNING":
                break
            await self._think(0.1, 0.3)
            looked = await self._caller.ask("operation", id=done.answer["id"])
            status = looked.answer.get("status", status) if looked.outcome is Outcome.OK else status

    async def _steer_single(self) -> None:
        if not self._singles:
            return
        job, draw = self._random.choice(self._singles), self._random.random()
        if draw < 0.4:
            await self._caller.ask("cancel", id=job, reason="no longer needed")
        elif draw < 0.6:
            await self._caller.ask("reschedule", id=job, schedule={"startAt": self._soon(0.1, 2)})
        elif draw < 0.8:
            await self._caller.ask("retry", id=job)
        else:
            await self._caller.ask("delete", id=job)

    async def _steer_recurring(self) -> None:
        if not self._recurring:
            return
        job = self._random.choice(self._recurring)
        if self._random.random() < 0.15:
            await self._caller.ask("cancel", id=job, reason="no longer needed")
            return
        await self._caller.ask("pause", id=job)
        await self._think(0.2, 2.5)
        await self._caller.ask("resume", id=job)

    async def _dispatch_keyed(self) -> None:
        """Callers who do not know of each other, or of their own first try, dispatch the same."""
        key = f"key-{next(self._names)}"
        await asyncio.gather(*(self._dispatch_until_answered(key) for _ in range(_CALLERS)))

    async def _dispatch_until_answered(self, key: str) -> None:
        for _ in range(_TRIES):
            done = await self.dispatch(KEYED, "work", {"ms": 50}, idempotencyKey=key)
            if done.outcome is Outcome.OK:
                return
            await self._think(0.3, 0.7)

    async def _cancel_long(self) -> None:
        """A job that would run for longer than anybody may take to hear of its cancellation."""
        task = self._random.choice(("work", "thread"))
        done = await self.dispatch(LONG, task, {"ms": 8000})
        await self._think(0.5, 2)
        await self.cancel(done)

    async def _think(self, least: float, most: float) -> None:
        """Do nothing for some seconds, as callers do between two calls: what they call next meets a fault or not, by chance."""
        await asyncio.sleep(self._random.uniform(least, most))

    async def _dispatch_cron(self) -> None:
        missed = self._random.choice(("SKIP", "RUN_ONCE", "RUN_ALL"))
        await self.dispatch(CRON, "work", {"ms": 100}, schedule={"cron": "* * * * *", "missed": missed})

    async def _stream(self, every: float, act: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        while True:
            if len(self._under_way) < _AT_ONCE:
                self.begin(act())
            await self._think(0.3 * every, 1.7 * every)

    def _remember(self, where: deque[str], done: Operation) -> None:
        if done.outcome is Outcome.OK:
            where.append(done.answer["id"])

    def _soon(self, least: float, most: float) -> int:
        """An instant a little later, in epoch milliseconds."""
        return int((now() + self._random.uniform(least, most)) * 1000)
