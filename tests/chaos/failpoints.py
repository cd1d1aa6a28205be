"""Places between two steps of the product at which a process can be made to die, or to freeze, when it comes there next.

A place is armed with a file, which the first process that comes by takes away before it acts: each is hit once at most.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import resolvers.dispatching as dispatching
import worker.executor as executing
from storage.bulk import BulkWriter
from storage.heartbeats import LeaseKeeper
from storage.outbox import Outbox
from storage.transitions import JobWriter

KILL: Final = "kill"
FREEZE: Final = "freeze"

Reach = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Before or after which call of the product."""

    owner: Any
    method: str
    before: bool = False
    sync: bool = False


PLACES: Final = {
    "after_insert_before_nudge": Place(dispatching, "_insert"),
    "after_promote_before_nudge": Place(JobWriter, "promote_many"),
    "after_claim_within_look": Place(executing.Executor, "_claim"),
    "after_claim_before_handler": Place(executing, "call", before=True, sync=True),
    "after_effect_before_finish": Place(executing.Executor, "_write", before=True),
    "after_finish_before_outbox_drain": Place(executing.Executor, "_announce", before=True, sync=True),
    "mid_bulk_within_step": Place(BulkWriter, "_change"),
    "mid_bulk_between_steps": Place(BulkWriter, "advance"),
    "before_feed_insert": Place(Outbox, "_append", before=True),
    "after_feed_insert_before_pull": Place(Outbox, "_append"),
    "before_lease_renew": Place(LeaseKeeper, "renew", before=True, sync=True),
}


def install(folder: Path) -> None:
    """Have this process look for armed places in ``folder``."""
    for name, place in PLACES.items():
        original = getattr(place.owner, place.method)
        wrap = _around_call if place.sync else _around_await
        setattr(place.owner, place.method, wrap(original, partial(_reach, folder, name), before=place.before))


def arm(folder: Path, name: str, action: str) -> None:
    """Have the next process that comes to the place act so."""
    waiting = folder / f"{name}.arming"
    waiting.write_text(action)
    waiting.rename(folder / name)


def disarm(folder: Path, name: str) -> None:
    """Nobody came."""
    (folder / name).unlink(missing_ok=True)


def take_hit(folder: Path, name: str) -> int | None:
    """The process that came to an armed place; None so far. It is told once."""
    for file in folder.glob(f"{name}.hit.*"):
        file.unlink()
        return int(file.suffix.removeprefix("."))
    return None


def _reach(folder: Path, name: str) -> None:
    armed = folder / name
    with suppress(FileNotFoundError):
        # Before it is taken: from then on whoever armed it may clear it away.
        action = armed.read_text()
        armed.rename(folder / f"{name}.hit.{os.getpid()}")
        os.kill(os.getpid(), signal.SIGKILL if action == KILL else signal.SIGSTOP)


def _around_call(original: Callable[..., Any], reach: Callable[[], None], *, before: bool) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before:
            reach()
        answer = original(*args, **kwargs)
        if not before:
            reach()
        return answer

    return wrapped


def _around_await(
    original: Callable[..., Awaitable[Any]], reach: Callable[[], None], *, before: bool
) -> Callable[..., Awaitable[Any]]:
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before:
            reach()
        answer = await original(*args, **kwargs)
        if not before:
            reach()
        return answer

    return wrapped
