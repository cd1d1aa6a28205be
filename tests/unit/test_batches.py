"""Group commit: what waits, for how long, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pymongo
import pytest
from pymongo import _csot

from jobs.errors import NotWritten
from storage.batches import MAX_BATCH, MAX_WAITING, Batcher


class Store:
    """Writes when it is let to, and remembers what."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.began = asyncio.Event()
        self.batches: list[list[int]] = []
        self.limits: list[float | None] = []

    async def write(self, items: Sequence[int]) -> list[int | Exception]:
        self.limits.append(_csot.get_timeout())
        self.batches.append(list(items))
        self.began.set()
        await self.gate.wait()
        return list(items)


async def submitted(batcher: Batcher[int, int], items: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(batcher.submit(item)) for item in items]
    await asyncio.sleep(0)  # each has come to wait
    return tasks


async def busy(batcher: Batcher[int, int], store: Store) -> asyncio.Task[int]:
    [first] = await submitted(batcher, [0])
    async with asyncio.timeout(5):
        await store.began.wait()
    return first


async def test_a_full_queue_refuses_at_once_and_writes_what_it_has_taken() -> None:
    store = Store()
    batcher = Batcher(store.write, max_waiting=3)
    first = await busy(batcher, store)
    waiting = await submitted(batcher, [1, 2, 3])
    with pytest.raises(NotWritten, match="too many writes wait") as refused:
        await batcher.submit(4)
    assert refused.value.retry_after == 1.0
    store.gate.set()
    assert await asyncio.gather(first, *waiting) == [0, 1, 2, 3]
    assert store.batches == [[0], [1, 2, 3]]


def test_the_queue_of_the_product_is_bounded() -> None:
    assert Batcher(Store().write)._max_waiting == MAX_WAITING == 10 * MAX_BATCH


async def test_what_waits_too_long_for_its_write_is_refused_and_never_written() -> None:
    store = Store()
    batcher = Batcher(store.write, patience=0.05)
    first = await busy(batcher, store)
    async with asyncio.timeout(5):
        with pytest.raises(NotWritten, match=r"did not begin within 0\.05 s"):
            await batcher.submit(1)
    store.gate.set()
    # A write that has begun is waited for, however long it takes.
    assert await first == 0
    assert await batcher.submit(2) == 2
    assert store.batches == [[0], [2]]


async def test_whoever_is_gone_before_his_write_begins_is_not_written_and_gives_his_place_up() -> None:
    store = Store()
    batcher = Batcher(store.write, max_waiting=2)
    first = await busy(batcher, store)
    gone, stays = await submitted(batcher, [1, 2])
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    [after] = await submitted(batcher, [3])
    store.gate.set()
    assert list(await asyncio.gather(first, stays, after)) == [0, 2, 3]
    assert store.batches == [[0], [2, 3]]


async def test_whoever_leaves_as_the_batch_is_taken_is_not_written_either() -> None:
    store = Store()
    batcher = Batcher(store.write)
    first = await busy(batcher, store)
    gone, stays = await submitted(batcher, [1, 2])
    store.gate.set()
    gone.cancel()  # the writer has its turn before whoever was cancelled
    assert list(await asyncio.gather(first, stays)) == [0, 2]
    assert store.batches == [[0], [2]]


async def test_a_batch_of_which_all_are_gone_holds_up_nobody() -> None:
    store = Store()
    batcher = Batcher(store.write)
    first = await busy(batcher, store)
    gone = await submitted(batcher, range(1, MAX_BATCH + 1))
    [stays] = await submitted(batcher, [MAX_BATCH + 1])
    store.gate.set()
    for task in gone:
        task.cancel()
    async with asyncio.timeout(5):
        assert list(await asyncio.gather(first, stays)) == [0, MAX_BATCH + 1]
    assert store.batches == [[0], [MAX_BATCH + 1]]


async def test_the_time_limit_of_who_comes_first_is_not_that_of_the_write() -> None:
    store = Store()
    store.gate.set()
    batcher = Batcher(store.write)
    with pymongo.timeout(0.5):
        await batcher.submit(1)
    assert store.limits == [None]
