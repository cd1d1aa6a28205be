"""Every expected failure of the product, as an exception that carries the facts. The schema layer translates them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong with what the caller gave.

    ``path`` leads to the offending value from the caller's arguments, e.g. ``("input", "schedule", "cron")``.
    """

    path: tuple[str, ...]
    message: str


class JobgateError(Exception):
    """The base of all expected failures."""


class InvalidInput(JobgateError):
    """What was given cannot be accepted; nothing was changed."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = tuple(issues)
        super().__init__("; ".join(f"{'.'.join(issue.path)}: {issue.message}" for issue in self.issues))
