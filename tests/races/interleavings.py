"""Every order in which two actors can take their steps, each from a job of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from storage.client import Database
from storage.documents import Document
from tests.races.checks import check, ending
from tests.races.turns import Actor, Played, play

AT_ONCE: Final = 24
"""Orders that are played at the same time: jobs have nothing to do with each other."""

Check = Callable[[Document, Played, Document], None]
PlayAll = Callable[[list[tuple[int, ...]]], Awaitable[list[Played]]]
"""Plays an order behind each of these beginnings."""


@dataclass(frozen=True)
class Explored:
    """What came of all orders."""

    orders: int
    endings: frozenset[str]


async def every_order(play_all: PlayAll) -> list[Played]:
    """Play all orders, each of them once.

    The first order lets the one who is seated first do everything first. Every other one leaves an order that was played at
    some turn: it begins as that did, and goes on with the other one's turn. Each is reached from exactly one, since an
    order is left only behind the turns that it was itself given. An actor that has left takes no turn: orders that would
    differ only in that are one and the same, and played once.
    """
    played: list[Played] = []
    beginnings: list[tuple[int, ...]] = [()]
    while beginnings:
        results = await play_all(beginnings)
        played += results
        beginnings = [other for one, given in zip(results, beginnings, strict=True) for other in one.others(len(given))]
    assert len({one.order for one in played}) == len(played)
    return played


class Explorer:
    """Plays races on a database."""

    def __init__(self, database: Database) -> None:
        self._jobs = database["jobs"]
        self._numbers: Iterator[int] = count(1)

    async def explore(self, before: Document, actors: Sequence[Actor], check: Check = check) -> Explored:
        """Play a race in every order, and check what each has made of the job. Raises ``AssertionError``, with the order."""
        endings: set[str] = set()

        async def play_all(beginnings: Sequence[tuple[int, ...]]) -> list[Played]:
            results = await self._play_all(before, actors, beginnings)
            documents = await self._documents(results)
            for one in results:
                _check_one(check, documents[one.job_id], one, before)
                endings.add(ending(documents[one.job_id], one, before))
            return results

        try:
            played = await every_order(play_all)
        finally:
            await self._jobs.delete_many({})
        return Explored(len(played), frozenset(endings))

    async def _play_all(
        self, before: Document, actors: Sequence[Actor], wave: Sequence[tuple[int, ...]]
    ) -> list[Played]:
        ids = [f"job_{next(self._numbers)}" for _ in wave]
        await self._jobs.insert_many([{**before, "_id": job_id} for job_id in ids])
        room = asyncio.Semaphore(AT_ONCE)

        async def one(job_id: str, beginning: tuple[int, ...]) -> Played:
            async with room:
                return await play(actors, job_id, beginning)

        return await asyncio.gather(*(one(*each) for each in zip(ids, wave, strict=True)))

    async def _documents(self, results: Sequence[Played]) -> dict[str, Document]:
        wanted = {"_id": {"$in": [one.job_id for one in results]}}
        return {one["_id"]: one for one in await self._jobs.find(wanted).to_list(len(results))}


def _check_one(check: Check, document: Document, played: Played, before: Document) -> None:
    try:
        check(document, played, before)
    except AssertionError as error:
        error.add_note(f"after {played.steps}, which came to {ending(document, played, before)}")
        raise
