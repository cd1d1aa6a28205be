"""A race: who races for what, and all that can come of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from storage.documents import Document
from tests.races.actors import Stage
from tests.races.jobs import Jobs
from tests.races.turns import Actor


@dataclass(frozen=True)
class Race:
    """Two actors and the job that they race for."""

    name: str
    job: Callable[[Jobs], Coroutine[Any, Any, Document]]
    actors: Callable[[Stage], tuple[Actor, Actor]]
    outcomes: str
    """One a line: what the job tells from the beginning of the race, and what the first and the second actor make of it.

    Workers tell which attempts they made, as run and attempt; ``-`` is nothing.
    """

    @property
    def endings(self) -> frozenset[str]:
        return frozenset(line.strip() for line in self.outcomes.strip().splitlines())
