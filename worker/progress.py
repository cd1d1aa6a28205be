"""Progress reports, thinned out: handlers may report in every round of a loop, the database is told now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from jobs.errors import JobgateError

logger = logging.getLogger("jobgate.progress")

INTERVAL: Final = 0.25
"""Seconds between two reports of a job."""

Report = Callable[[float, str | None], Awaitable[None]]


class Throttle:
    """Passes the first report on at once, then the newest one of each interval.

    ``others_before``: another attempt of the same job may just have reported; then the first one too waits for an interval.
    """

    def __init__(self, report: Report, loop: asyncio.AbstractEventLoop, *, others_before: bool) -> None:
        self._report = report
        self._loop = loop
        self._not_before = loop.time() + (INTERVAL if others_before else 0)
        self._newest: tuple[float, str | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Future[None] | None = None
        self._closed = False

    def put(self, fraction: float, message: str | None) -> None:
        """Report this, unless something newer comes before its turn."""
        if self._closed:
            return
        self._newest = (fraction, message)
        if self._timer is not None:
            return
        if self._loop.time() >= self._not_before:
            self._pass_on()
        else:
            self._timer = self._loop.call_at(self._not_before, self._pass_on)

    def close(self) -> None:
        """Pass nothing more on."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _pass_on(self) -> None:
        self._timer = None
        if self._newest is None:
            return
        self._timer = self._loop.call_later(INTERVAL, self._pass_on)
        # While the database is slow, reports must neither pile up nor overtake one another.
        if self._sending is None or self._sending.done():
            self._sending = asyncio.ensure_future(self._send(*self._newest))
            self._newest = None

    async def _send(self, fraction: float, message: str | None) -> None:
        try:
            await self._report(fraction, message)
        except JobgateError as error:
            # Progress is a courtesy: the run does not fail with it.
            logger.warning("progress was not reported: %s", error)
