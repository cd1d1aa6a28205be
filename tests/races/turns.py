"""Taking turns at the database: actors that run the product's own code, but do one thing to MongoDB only when they are let.

What an actor does to a collection – one read, one write – is one step, exactly as MongoDB itself carries them out one after
the other. Whatever it does between two steps concerns nobody else, so the orders of steps are all that can ever happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from storage.client import Collection, Database, aggregate

DEADLINE: Final = 30.0
Steps = list[tuple[int, str]]
"""What was done, in order: by which actor, and the name of the driver's call."""


class Door:
    """Where one actor waits for its turn, before each step."""

    def __init__(self, number: int, steps: Steps) -> None:
        self._number = number
        self._steps = steps
        self._at_rest = asyncio.Event()
        self._turn = asyncio.Event()
        self.has_left = False
        self.changed_at: list[int] = []
        """The steps of this actor that have changed a document, by their number among all."""

    @property
    def changes(self) -> int:
        """How many writes of this actor have changed a document."""
        return len(self.changed_at)

    async def turn(self, what: str) -> None:
        """Wait for the turn to do this one thing."""
        self._at_rest.set()
        await self._turn.wait()
        self._turn.clear()
        self._steps.append((self._number, what))

    def note_change(self, has_changed: object) -> None:
        """Whether the step just taken was a write that has changed the document."""
        if has_changed:
            self.changed_at.append(len(self._steps) - 1)

    def leave(self) -> None:
        """There is nothing more to do."""
        self.has_left = True
        self._at_rest.set()

    async def rest(self) -> None:
        """Wait until the actor is at its door, or has left."""
        await self._at_rest.wait()

    async def admit(self) -> None:
        """Let the actor take its step, and all that follows from it until the next one."""
        self._at_rest.clear()
        self._turn.set()
        await self._at_rest.wait()


Actor = Callable[[Door, str], Awaitable[str]]
"""What somebody does with a job, by its id; answers in a word what they make of it."""


@dataclass(frozen=True)
class Played:
    """One order of the steps, and what came of it."""

    job_id: str
    order: tuple[int, ...]
    """Whose turn it was, each time."""
    forks: tuple[bool, ...]
    """Whether it might have been another's."""
    steps: Steps
    changes: tuple[int, ...]
    """Which of the steps have changed the job."""
    answers: tuple[str, ...]

    def others(self, given: int) -> list[tuple[int, ...]]:
        """The beginnings of the orders that leave this one behind its first ``given`` turns."""
        return [(*self.order[:at], 1 - self.order[at]) for at in range(given, len(self.order)) if self.forks[at]]


async def play(actors: Sequence[Actor], job_id: str, beginning: Sequence[int]) -> Played:
    """Let actors take turns, first as told, then as they are seated; until all have left."""
    steps: Steps = []
    doors = [Door(number, steps) for number in range(len(actors))]
    tasks = [asyncio.create_task(_act(*one, job_id)) for one in zip(actors, doors, strict=True)]
    order, forks = list[int](), list[bool]()
    async with asyncio.timeout(DEADLINE):
        for door in doors:
            await door.rest()
        while present := [number for number, door in enumerate(doors) if not door.has_left]:
            chosen = beginning[len(order)] if len(order) < len(beginning) else present[0]
            assert chosen in present, f"the steps of {steps} are not always the same"
            order.append(chosen)
            forks.append(len(present) > 1)
            await doors[chosen].admit()
        answers = await asyncio.gather(*tasks)
    changes = sorted(at for door in doors for at in door.changed_at)
    return Played(job_id, tuple(order), tuple(forks), steps, tuple(changes), tuple(answers))


async def _act(actor: Actor, door: Door, job_id: str) -> str:
    try:
        return await actor(door, job_id)
    finally:
        door.leave()


class TurnTaking:
    """A database behind a door, as somebody sees it for whom one job is all there is."""

    def __init__(self, database: Database, door: Door, job_id: str) -> None:
        self._database, self._door, self._job_id = database, door, job_id

    def __getitem__(self, name: str) -> TurnTakingCollection:
        return TurnTakingCollection(self._database[name], self._door, {"_id": self._job_id})


class TurnTakingCollection:
    """The calls of a collection that transitions are made of. Each is one step; reads find the one job only."""

    def __init__(self, collection: Collection, door: Door, own: dict[str, Any]) -> None:
        self._collection, self._door, self._own = collection, door, own

    async def find_one(self, wanted: dict[str, Any], *fields: Any, **options: Any) -> Any:
        await self._door.turn("find_one")
        return await self._collection.find_one({"$and": [wanted, self._own]}, *fields, **options)

    def find(self, wanted: dict[str, Any], *fields: Any, **options: Any) -> Rows:
        return Rows(self._door, self._collection.find({"$and": [wanted, self._own]}, *fields, **options))

    def aggregate(self, stages: list[dict[str, Any]], **options: Any) -> Rows:
        return Rows(self._door, aggregate(self._collection, [{"$match": self._own}, *stages], **options))

    async def bulk_write(self, *args: Any, **options: Any) -> Any:
        await self._door.turn("bulk_write")
        return self._counted(await self._collection.bulk_write(*args, **options))

    async def update_one(self, *args: Any, **options: Any) -> Any:
        await self._door.turn("update_one")
        return self._counted(await self._collection.update_one(*args, **options))

    async def find_one_and_update(self, *args: Any, **options: Any) -> Any:
        await self._door.turn("find_one_and_update")
        found = await self._collection.find_one_and_update(*args, **options)
        self._door.note_change(found is not None)
        return found

    def _counted(self, result: Any) -> Any:
        self._door.note_change(result.modified_count)
        return result


@dataclass
class Rows:
    """The answer to a read that is not sent before it is asked for."""

    door: Door
    cursor: Any

    def sort(self, keys: Any) -> Rows:
        return Rows(self.door, self.cursor.sort(keys))

    def limit(self, limit: int) -> Rows:
        return Rows(self.door, self.cursor.limit(limit))

    async def to_list(self, length: int) -> Any:
        await self.door.turn("find")
        cursor = await self.cursor if hasattr(self.cursor, "__await__") else self.cursor
        return await cursor.to_list(length)
