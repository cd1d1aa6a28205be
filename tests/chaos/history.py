"""What callers asked for and were answered, each with its times: what the checks compare the store with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.chaos.ledger import now


class Outcome(StrEnum):
    """What a caller knows of an operation."""

    OPEN = "open"
    """It has begun, and nothing was answered yet."""
    OK = "ok"
    REFUSED = "refused"
    """Nothing has changed, says the answer."""
    UNKNOWN = "unknown"
    """It may have taken place, or not, or may still."""


@dataclass(slots=True)
class Operation:
    """One operation of one caller."""

    kind: str
    arguments: dict[str, Any]
    gateway: int
    began: float
    sent: float = 0.0
    """When the request had left; 0 before."""
    ended: float = 0.0
    outcome: Outcome = Outcome.OPEN
    answer: dict[str, Any] = field(default_factory=dict)
    """What the mutation or query answered; of a refusal or a fault, what there is to tell of it."""
    code: str = ""
    """Of an operation that did not go well: the code that was answered, or the name of the error in the client."""

    @property
    def seconds(self) -> float:
        """How long the gateway took: a crowd of callers in one process take their own time over their requests."""
        return self.ended - self.sent if self.sent else 0.0


class History:
    """All operations, in the order in which they began."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []

    def begin(self, kind: str, arguments: dict[str, Any], gateway: int) -> Operation:
        operation = Operation(kind, arguments, gateway, now())
        self._operations.append(operation)
        return operation

    def of(self, *kinds: str, outcome: Outcome | None = None) -> Iterator[Operation]:
        """Those of some kinds, all of them without any; with ``outcome``, those that ended so."""
        for operation in self._operations:
            if (not kinds or operation.kind in kinds) and outcome in (None, operation.outcome):
                yield operation
