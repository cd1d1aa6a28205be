"""The database's clock, as known to this process."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Final

from jobs.errors import StoreUnavailable
from jobs.times import truncate
from storage.client import Database
from storage.errors import mongodb_errors

_LONG: Final = 0.1
_OLD: Final = 120.0


class DatabaseClock:
    """Tells MongoDB's time without asking it each time: asked once in a while, then carried on by the monotonic clock.

    All processes then agree on what is due, however wrong their own clocks are. Off by no more than the round trip that
    set it, and by the drift since.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._at: datetime | None = None
        self._monotonic = 0.0

    async def synchronise(self) -> None:
        """Ask the database. Raises ``StoreUnavailable``.

        An answer that took long says little of what time it is now: it counts only if the last good one is too old.
        """
        before = time.monotonic()
        with mongodb_errors():
            hello = await self._database.command("hello", codec_options=self._database.codec_options)
        after = time.monotonic()
        if self._at is not None and after - before > _LONG and after - self._monotonic < _OLD:
            return
        # The answer was written at some time in between; the middle halves the error.
        self._monotonic = (before + after) / 2
        self._at = hello["localTime"]

    def now(self) -> datetime:
        """The database's time, in whole milliseconds. Raises ``StoreUnavailable`` when it was never asked."""
        if self._at is None:
            raise StoreUnavailable("MongoDB", "its clock is not known yet")
        return truncate(self._at + timedelta(seconds=time.monotonic() - self._monotonic))
