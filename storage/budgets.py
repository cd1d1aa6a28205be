"""The budgets of callers, shared by all gateways through Redis; each keeps its own while Redis is away.

Redis loses nothing with them: a bucket that nobody remembers is full.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from arq.connections import ArqRedis

from jobs.budget import Buckets, Kind, check, levels
from storage.errors import REDIS_AWAY
from storage.redis import budget_key

logger = logging.getLogger("jobgate.budgets")

_ANSWER_SECONDS: Final = 0.1
"""A caller waits no longer for Redis to say whether it may go on."""

_PAUSE_SECONDS: Final = 1.0
"""Redis is left alone for so long after it has not answered, so that few callers wait for it."""

_COMPLAIN_SECONDS: Final = 60.0
_REMEMBERED: Final = 10_000
"""Callers whose budgets a gateway keeps by itself, those that came last."""

# One hash per caller: for each kind, the instant at which its bucket will be full, by the clock of Redis. It goes once all
# of them are. ARGV: of each bucket its kind, rate, capacity, and how much is wanted.
_TAKE: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local before, after, enough, last = {}, {}, 1, now
for i = 1, #ARGV, 4 do
    local rate, capacity, amount = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
    local full_at = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or now)
    if amount > capacity - math.max(0, full_at - now) * rate then
        enough = 0
    end
    before[#before + 1] = string.format('%.6f', full_at)
    full_at = math.max(full_at, now) + amount / rate
    after[#after + 1] = string.format('%.6f', full_at)
    last = math.max(last, full_at)
end
if enough == 1 then
    for i, full_at in ipairs(after) do
        redis.call('HSET', KEYS[1], ARGV[4 * i - 3], full_at)
    end
    local life = math.max(redis.call('PTTL', KEYS[1]), math.ceil((last - now) * 1000))
    redis.call('PEXPIRE', KEYS[1], life)
end
return {enough, string.format('%.6f', now), enough == 1 and after or before}
"""


class SharedBudgets:
    """Buckets for every credential."""

    def __init__(self, redis: ArqRedis, database: str, buckets: Buckets) -> None:
        self._take = redis.register_script(_TAKE)
        self._database = database
        self._buckets = buckets
        self._own: OrderedDict[str, dict[Kind, float]] = OrderedDict()
        self._away_until = 0.0
        self._complained_at = -_COMPLAIN_SECONDS

    async def take(self, credential: str, amounts: Mapping[Kind, float]) -> Mapping[Kind, float]:
        """Take all of it or nothing, and tell what is left of each that is limited. Raises ``OverBudget``.

        Waits for nothing where nothing of it is limited.
        """
        wanted = {kind: amount for kind, amount in amounts.items() if kind in self._buckets}
        if not wanted:
            return {}
        # A credential may be long, and is nobody's business.
        name = sha256(credential.encode()).hexdigest()[:32]
        if time.monotonic() >= self._away_until:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    enough, now, full_at = await self._ask(name, wanted)
            except REDIS_AWAY as error:
                self._note_absence(error)
            else:
                if not enough:
                    check(self._buckets, full_at, wanted, now)
                return levels(self._buckets, full_at, now)
        return self._take_own(name, wanted, time.monotonic())

    async def _ask(self, name: str, wanted: Mapping[Kind, float]) -> tuple[bool, float, dict[Kind, float]]:
        """Whether it was taken, the time, and when each bucket will be full. Raises what stands in ``REDIS_AWAY``."""
        arguments = [
            argument
            for kind, amount in wanted.items()
            for argument in (kind.value, self._buckets[kind].rate, self._buckets[kind].capacity, amount)
        ]
        enough, now, full_at = await self._take(keys=[budget_key(self._database, name)], args=arguments)
        return enough == 1, float(now), dict(zip(wanted, map(float, full_at), strict=True))

    def _take_own(self, name: str, wanted: Mapping[Kind, float], now: float) -> dict[Kind, float]:
        full_at = self._own.setdefault(name, {})
        self._own.move_to_end(name)
        if len(self._own) > _REMEMBERED:
            self._own.popitem(last=False)
        check(self._buckets, full_at, wanted, now)
        for kind, amount in wanted.items():
            full_at[kind] = self._buckets[kind].taken(full_at.get(kind, now), amount, now)
        return levels(self._buckets, {kind: full_at[kind] for kind in wanted}, now)

    def _note_absence(self, error: BaseException) -> None:
        now = time.monotonic()
        self._away_until = now + _PAUSE_SECONDS
        if now - self._complained_at >= _COMPLAIN_SECONDS:
            self._complained_at = now
            logger.warning(
                "Redis is away (%s): each gateway keeps the budgets of callers by itself", type(error).__name__
            )
