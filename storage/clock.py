"""The database's clock, as known to this process."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from jobs.errors import StoreUnavailable
from jobs.times import truncate
from storage.client import Database
from storage.errors import mongodb_errors

_LONG: Final = 0.1
_OLD: Final = 120.0
_MORE_TRIES: Final = 4


class DatabaseClock:
    """Tells MongoDB's time without asking it each time: asked once in a while, then carried on by the monotonic clock.

    All processes then agree on what is due, however wrong their own clocks are. Off by no more than the round trip that
    set it, and by the drift since.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._at: datetime | None = None
        self._monotonic = 0.0
        self._took = 0.0
        """Seconds from the question to the answer that set it."""

    async def synchronise(self) -> None:
        """Ask the database; the first time, again while it answers slowly, but not often. Raises ``StoreUnavailable``."""
        if self._at is not None:
            await self._ask()
        elif await self._ask() > _LONG:
            # The time is known by now: that nothing better is learned is no reason to fail.
            with suppress(StoreUnavailable):
                for _ in range(_MORE_TRIES):
                    if await self._ask() <= _LONG:
                        break

    async def _ask(self) -> float:
        """How many seconds the answer took.

        One that took long says little of what time it is now: it counts only if the last good one took no less or is too old.
        """
        before = time.monotonic()
        with mongodb_errors():
            hello = await self._database.command("hello", codec_options=self._database.codec_options)
        after = time.monotonic()
        took = after - before
        if self._at is None or took <= max(_LONG, self._took) or after - self._monotonic >= _OLD:
            # The answer was written at some time in between; the middle halves the error.
            self._monotonic = (before + after) / 2
            self._at = hello["localTime"]
            self._took = took
        return took

    def now(self) -> datetime:
        """The database's time, in whole milliseconds. Raises ``StoreUnavailable`` when it was never asked."""
        if self._at is None:
            raise StoreUnavailable("MongoDB", "its clock is not known yet")
        return truncate(self._at + timedelta(seconds=time.monotonic() - self._monotonic))
