"""The shell of every loop: what it survives, how long it waits, and when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from jobs.errors import StoreUnavailable
from worker.loops import Loop


async def test_a_loop_goes_on_after_outages_and_defects_and_ends_when_nothing_is_left_to_do() -> None:
    rounds: Iterator[float | Exception | None] = iter(
        (2.0, StoreUnavailable("MongoDB", "gone"), ValueError("oops"), None)
    )
    waits: list[float] = []

    async def run_once() -> float | None:
        found = next(rounds)
        if isinstance(found, Exception):
            raise found
        return found

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    loop = Loop("walk", run_once, wait)
    loop.start()
    assert loop._task is not None
    await asyncio.wait_for(loop._task, 5)
    assert (waits, list(rounds)) == ([2.0, 0.5, 5.0], [])
    await loop.stop()
