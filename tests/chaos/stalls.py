"""Times at which a process got no turn: on a machine with more to do than it can, processes stand still by themselves.

A thread that does nothing but look at the clock notes them. It needs no more than a turn now and then, so that what it
misses, any other thread misses; a handler that keeps the event loop to itself does not hold it up.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.chaos.ledger import now

_EVERY: Final = 0.1
WORTH_NOTING: Final = 0.5
"""Seconds without a turn from which on it is noted: a sixth of a lease, by which workers stop what they cannot renew."""


def watch(file: Path) -> None:
    """Note the stalls of this process in ``file``, for as long as it lives."""
    threading.Thread(target=_watch_for_ever, args=(file,), name="stalls", daemon=True).start()


def read_stalls(file: Path) -> Iterator[tuple[int, float, float]]:
    """Who stood still, from when until when, in seconds since the epoch."""
    for line in file.read_text().splitlines() if file.exists() else ():
        pid, since, until = line.split()
        yield int(pid), float(since), float(until)


def _watch_for_ever(file: Path) -> None:
    last = now()
    while True:
        time.sleep(_EVERY)
        at = now()
        if at - last > WORTH_NOTING:
            with file.open("a") as notes:
                notes.write(f"{os.getpid()} {last} {at}\n")
        last = at
