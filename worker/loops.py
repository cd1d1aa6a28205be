"""The one shell in which every loop of the product runs: look, wait, look again; survive whatever happens in between."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from jobs.errors import StoreUnavailable
from storage.cancelling import end_task

logger = logging.getLogger("jobgate.loops")

_AFTER_OUTAGE: Final = 0.5
_AFTER_DEFECT: Final = 5.0


class Loop:
    """Calls ``run_once`` until it answers None, most for ever: otherwise after how many seconds to call again at the latest.

    ``wait`` spends that time, and may come back early when there is news.
    """

    def __init__(
        self,
        name: str,
        run_once: Callable[[], Awaitable[float | None]],
        wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._run_once = run_once
        self._wait = wait
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        await end_task(self._task)

    async def _run(self) -> None:
        while (pause := await self._guarded()) is not None:
            await self._wait(pause)

    async def _guarded(self) -> float | None:
        try:
            return await self._run_once()
        except StoreUnavailable as error:
            logger.warning("%s: %s", self._name, error)
            return _AFTER_OUTAGE
        except Exception:
            # A defect in one round must not end the loop, and with it a duty of the whole installation.
            logger.exception("%s failed", self._name)
            return _AFTER_DEFECT
