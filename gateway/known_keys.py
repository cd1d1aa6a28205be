"""Who asks with an API key, by what MongoDB said of it within the last seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Final

from gateway.credentials import Caller, Unauthenticated
from jobs.api_keys import ApiKey, KeyState, PresentedKey
from storage.api_keys import ApiKeys
from storage.clock import DatabaseClock

KEPT_FOR: Final = timedelta(seconds=5)
"""How long what was read of a key is taken for true: a key that is revoked opens nothing 10 s later."""

MOST_KEPT: Final = 10_000
"""Keys that are remembered, the newest reads; ids that somebody makes up take a place as well."""


class KnownKeys:
    """The keys that callers show to one gateway."""

    def __init__(
        self,
        keys: ApiKeys,
        clock: DatabaseClock,
        monotonic: Callable[[], float] = time.monotonic,
        most: int = MOST_KEPT,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._monotonic = monotonic
        self._most = most
        self._read: dict[str, tuple[float, ApiKey | None]] = {}
        self._used: dict[str, datetime] = {}

    async def caller(self, presented: PresentedKey) -> Caller:
        """Who asks. Raises :class:`Unauthenticated`, ``StoreUnavailable``."""
        key = await self._find(presented.id)
        now = self._clock.now()
        problem = _problem(key, presented, now)
        if key is None or problem is not None:
            raise Unauthenticated(f"key {presented.id}", problem or "unknown")
        if key.is_use_worth_noting(now):
            # Written by the loop that looks after callers: no request waits for it, or fails by it.
            self._used[key.id] = now
        return Caller(key.principal, key.expires_at, presented)

    async def good_among(self, presented: Collection[PresentedKey]) -> set[PresentedKey]:
        """Those of them that open something at this moment. Raises ``StoreUnavailable``."""
        keys = await self._keys.find_all({one.id for one in presented})
        now = self._clock.now()
        return {one for one in presented if _problem(keys.get(one.id), one, now) is None}

    async def note_uses(self) -> None:
        """Write down which keys were used. Raises ``StoreUnavailable``; what could not be written is forgotten."""
        used, self._used = self._used, {}
        for key_id, at in used.items():
            await self._keys.note_use(key_id, at)

    async def _find(self, key_id: str) -> ApiKey | None:
        now = self._monotonic()
        read_at, key = self._read.get(key_id, (None, None))
        if read_at is not None and now - read_at < KEPT_FOR.total_seconds():
            return key
        key = await self._keys.find(key_id)
        self._read.pop(key_id, None)
        if len(self._read) >= self._most:
            del self._read[next(iter(self._read))]
        # As of before it was asked for: the answer may have been under way for long.
        self._read[key_id] = (now, key)
        return key


def _problem(key: ApiKey | None, presented: PresentedKey, now: datetime) -> str | None:
    if key is None:
        return "unknown"
    if not key.is_meant(presented):
        return "wrong secret"
    state = key.state(now)
    return None if state is KeyState.ACTIVE else state.value
