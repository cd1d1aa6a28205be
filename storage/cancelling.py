"""Ending background tasks, whatever they make of their cancellation."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_AGAIN_SECONDS: Final = 2.5
"""Longer than Redis may take for one answer: cancelled again while it tidies up, redis-py does not give a connection back.
Behind a longer silence it does not either; those end with their pool."""


async def end_task(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task and return once it has ended.

    A cancellation can get lost: redis-py now and then takes one for the end of a timeout of its own, or fails while it
    tidies up behind one, and what survives such errors goes on. So a task is cancelled until it has ended.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN_SECONDS)
