"""How many operations one gateway works on at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from graphql import ExecutionResult
from strawberry.extensions import SchemaExtension

from schema.faults import too_busy

MAX_IN_FLIGHT: Final = 500
"""Queries and mutations that are worked on at a time, unless told otherwise."""


class InFlight:
    """Counts what is under way, up to ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0

    def enter(self) -> bool:
        """Begin one more; False when that would be too many."""
        if self._count >= self._most:
            return False
        self._count += 1
        return True

    def leave(self) -> None:
        self._count -= 1


class Admission(SchemaExtension):
    """Refuses queries and mutations that arrive while as many are under way as may be, before anything of them is begun.

    Taken in, they would all be answered later, until nobody waits for any of them any more. A subscription is neither counted
    nor refused: Strawberry has it pass here before its first event, and goes on with it whatever is found.
    """

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight

    def on_execute(self) -> Iterator[None]:
        if self._in_flight.enter():
            try:
                yield
            finally:
                self._in_flight.leave()
        else:
            self.execution_context.result = ExecutionResult(data=None, errors=[too_busy()])
            yield
