"""Catching up: runs that were missed and are made up for, at a pace that leaves the workers to all the others as well."""

from __future__ import annotations

from typing import Final

from jobs.occurrences import CATCH_UP_AT_ONCE
from storage.catching_up import CatchingUp
from worker.promoter import Promoter

_LONGEST_PAUSE: Final = 1.0


class CatchUp:
    """Goes round the products with a backlog, and has each begin as many of its runs as it may have under way.

    Several processes may do so at once: what each run is taken by guards it. In a moment of bad luck a product then has
    some more runs under way.
    """

    def __init__(self, catching_up: CatchingUp, promoter: Promoter) -> None:
        self._catching_up = catching_up
        self._promoter = promoter
        self._product = ""
        self._has_moved = False

    async def run_once(self) -> float:
        """See to one product; answer the seconds until the next one may be seen to."""
        now, jobs = await self._catching_up.next_behind(self._product, CATCH_UP_AT_ONCE)
        if now is None:
            return self._end_round()
        self._product = jobs[0].product
        room = CATCH_UP_AT_ONCE - await self._catching_up.under_way(self._product, CATCH_UP_AT_ONCE)
        if room > 0:
            self._has_moved |= await self._promoter.promote(jobs[:room], now) > 0
        return 0.0

    def _end_round(self) -> float:
        """Begin with the first product again: at once if there was room for anything, else when a run may have ended."""
        moved, self._has_moved, self._product = self._has_moved, False, ""
        return 0.0 if moved else _LONGEST_PAUSE
