"""Group commit: whatever arrives while a write is under way goes into the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from jobs.errors import NotWritten

MAX_BATCH: Final = 500

MAX_WAITING: Final = 10 * MAX_BATCH
"""Items that wait for their write at most: more than are written within :data:`PATIENCE` seconds would wait in vain."""

PATIENCE: Final = 2.5
"""For how many seconds an item waits for its write to begin."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Item]):
    item: Item
    patience: asyncio.TimerHandle


class Batcher(Generic[Item, Answer]):
    """Turns single calls into batches, one batch in flight. Idle, a call goes out at once: no timer delays it.

    ``write`` answers one value for each item, in order; an exception among the values is raised to that item's caller,
    and one that ``write`` raises to all callers of the batch.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]],
        *,
        max_waiting: int = MAX_WAITING,
        patience: float = PATIENCE,
    ) -> None:
        self._write = write
        self._max_waiting = max_waiting
        self._patience = patience
        self._waiting: dict[asyncio.Future[Answer], _Waiting[Item]] = {}
        self._writer: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Answer:
        """Write ``item`` with its neighbours and answer what became of it.

        Raises :class:`NotWritten` at once when too many wait already, and when its write has not begun in time. Whoever is
        cancelled before it has begun takes the item with him: nobody has been promised anything about it.
        """
        if len(self._waiting) >= self._max_waiting:
            raise NotWritten("MongoDB", "too many writes wait for it")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting[answer] = _Waiting(item, loop.call_later(self._patience, self._give_up, answer))
        if self._writer is None or self._writer.done():
            # In a context of its own: it outlives this caller, whose time limit is not that of the others.
            self._writer = loop.create_task(self._write_all(), context=Context())
        try:
            return await answer
        finally:
            self._drop(answer)

    def _drop(self, answer: asyncio.Future[Answer]) -> None:
        waiting = self._waiting.pop(answer, None)
        if waiting is not None:
            waiting.patience.cancel()

    def _give_up(self, answer: asyncio.Future[Answer]) -> None:
        del self._waiting[answer]
        if not answer.done():
            answer.set_exception(NotWritten("MongoDB", f"the write did not begin within {self._patience:g} s"))

    async def _write_all(self) -> None:
        while self._waiting:
            await self._write_batch(self._take())

    def _take(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        taken = list(islice(self._waiting.items(), MAX_BATCH))
        for answer, _ in taken:
            self._drop(answer)
        # Those that were cancelled just now have not come to withdraw theirs.
        return [(waiting.item, answer) for answer, waiting in taken if not answer.done()]

    async def _write_batch(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._write([item for item, _ in batch]) if batch else []
        except Exception as error:  # it is the callers' to handle, each of them
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
