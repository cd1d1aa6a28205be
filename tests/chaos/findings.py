"""What a check has found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Finding:
    """One invariant: whether it held, and of how many things that was asked."""

    name: str
    statement: str
    looked_at: int = 0
    violations: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def holds(self) -> bool:
        return not self.violations

    def look(self, complaints: Iterable[str]) -> None:
        """One more thing was looked at; what is wrong with it, if anything."""
        self.looked_at += 1
        self.violations += complaints


def unless(holds: bool, complaint: str) -> Iterator[str]:
    """The complaint, where it is due."""
    if not holds:
        yield complaint
