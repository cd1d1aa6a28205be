"""The clock of the database, as far as a process knows it: answers that took long say little."""

import asyncio
import time

import pytest

from jobs.errors import StoreUnavailable
from storage.client import Database
from storage.clock import DatabaseClock


def block() -> None:
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass  # as a handler does that keeps the loop to itself


async def test_an_answer_that_took_long_does_not_set_the_clock_unless_the_one_before_took_longer(
    database: Database,
) -> None:
    clock = DatabaseClock(database)
    await clock.synchronise()
    for before, counts in ((0.01, False), (60.0, True)):
        clock._took, set_at = before, clock._monotonic
        asking = asyncio.create_task(clock.synchronise())
        asyncio.get_running_loop().call_soon(block)
        await asking
        assert (clock._monotonic != set_at) is counts


async def test_a_clock_that_is_not_known_yet_is_asked_for_again_where_the_answer_took_long(database: Database) -> None:
    clock = DatabaseClock(database)
    asking = asyncio.create_task(clock.synchronise())
    asyncio.get_running_loop().call_soon(block)
    await asking
    assert clock._took <= 0.1


async def test_a_time_that_is_known_only_about_is_better_than_none(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, asked = DatabaseClock(database), 0
    ask = clock._ask

    async def ask_once() -> float:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise StoreUnavailable("MongoDB", "gone")
        await ask()
        return 1.0

    monkeypatch.setattr(clock, "_ask", ask_once)
    await clock.synchronise()
    assert asked == 2
    clock.now()  # raises where it is not known
