"""How long a caller is kept waiting for MongoDB, and no longer, whatever becomes of the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import pymongo
from pymongo.errors import ExecutionTimeout

from jobs.errors import StoreUnavailable
from storage.errors import mongodb_errors

CALL_SECONDS: Final = 9.0
"""How long a mutation of one job may take in all, before its caller is told that the store is away."""

LOOK_SECONDS: Final = 2.5
WRITE_SECONDS: Final = 3.5
"""As a rule, a primary that steps down has a successor by then: the driver writes again to that one."""

_GRACE: Final = 0.5
"""The driver gives up by itself. It cannot while it waits for a thread, all of which wait for the database."""


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Give up what MongoDB is asked in this block after so many seconds. Raises ``StoreUnavailable`` then.

    The server is told the limit too: it does not go on with what nobody waits for any more. Not for reads that have a limit
    of their own, since this one would take its place.
    """
    if seconds <= 0:
        raise StoreUnavailable("MongoDB", _late(seconds))
    try:
        async with asyncio.timeout(seconds + _GRACE):
            with mongodb_errors(), pymongo.timeout(seconds):
                yield
    except TimeoutError as error:
        raise StoreUnavailable("MongoDB", _late(seconds)) from error
    except StoreUnavailable as error:
        if not isinstance(error.__cause__, ExecutionTimeout):
            raise
        # With another cause: the search in whose course this was written has not come to its own limit.
        raise StoreUnavailable("MongoDB", _late(seconds)) from error


def _late(seconds: float) -> str:
    return f"no answer within {max(0.0, seconds):.1f} s"


class Deadline:
    """When a call that takes several steps has to be over."""

    def __init__(self, seconds: float = CALL_SECONDS) -> None:
        self._at = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """The seconds that are left; 0 or less when it has passed."""
        return self._at - time.monotonic()

    def within(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """The limit of one step: so many seconds, or what is left. Raises as :func:`within` does."""
        return within(min(seconds, self.left))
