"""The tables of ``mission/semantics.md`` §1, copied by hand as plain data.

Nothing here is derived from ``jobs.lifecycle``: an entry that is wrong there disagrees with these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Move:
    """One write to a job: the statuses it may leave, those it may lead to, and the events it tells, in their order."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    events: tuple[str, ...]


def _move(text: str) -> Move:
    moves, _, events = text.partition(" : ")
    sources, _, targets = moves.partition(" > ")
    return Move(tuple(sources.split()), tuple(targets.split()), tuple(events.split()))


MOVES: Final = {
    # What happens: sources > targets : events
    "dispatch now": _move("new > queued : scheduled queued"),
    "dispatch for later": _move("new > scheduled : scheduled"),
    "promote": _move("scheduled > queued : queued"),
    "pass over": _move("scheduled > scheduled : scheduled"),
    "exhaust": _move("scheduled > completed : completed"),
    "claim": _move("queued > running : started"),
    "report": _move("running > running : progress"),
    "succeed": _move("running > completed scheduled paused : completed"),
    "wait for a retry": _move("running > scheduled : retrying"),
    "fail": _move("running > failed scheduled paused : failed"),
    "give back": _move("running > queued : queued"),
    "cancel": _move("scheduled queued running paused > cancelled : cancelled"),
    "pause": _move("scheduled queued > paused : paused"),
    "note a pause": _move("running > running : paused"),
    "resume": _move("paused > scheduled : resumed"),
    "resume to the end": _move("paused > completed : resumed completed"),
    "reschedule": _move("scheduled queued > scheduled : rescheduled"),
    "reschedule while running": _move("running > running : rescheduled"),
    "reschedule while paused": _move("paused > paused : rescheduled"),
    "retry now": _move("failed > queued : scheduled queued"),
    "retry later": _move("failed > scheduled : scheduled"),
    "delete": _move("completed failed cancelled > gone : deleted"),
}

STATUSES: Final = ("scheduled", "queued", "running", "paused", "completed", "failed", "cancelled")
CALLERS: Final = ("cancel", "pause", "resume", "reschedule", "retry", "delete")

OPERATIONS: Final = {
    # Operation, recurring or not: what it means in each of STATUSES.
    ("cancel", True): "ok ok ok ok no no same",
    ("cancel", False): "ok ok ok - no no same",
    ("pause", True): "ok ok ok same no no no",
    ("pause", False): "no no no - no no no",
    ("resume", True): "no no no ok no no no",
    ("resume", False): "no no no - no no no",
    ("reschedule", True): "ok ok ok ok no no no",
    ("reschedule", False): "ok ok no - no no no",
    ("retry", True): "no no no no no ok no",
    ("retry", False): "no no no - no ok no",
    ("delete", True): "no no no no ok ok ok",
    ("delete", False): "no no no - ok ok ok",
}


def meaning(operation: str, status: str, *, recurring: bool, pausing: bool) -> str:
    """What an operation means for such a job: ``ok``, ``same`` or ``no``. ``pausing``: it was told to pause already."""
    if (operation, status) == ("pause", "running") and pausing:
        return "same"
    return OPERATIONS[operation, recurring].split()[STATUSES.index(status)]


def first_forbidden(told: Sequence[tuple[str, str]]) -> int | None:
    """Where the events of one job, each with the status after it, cease to be one move of the table after another."""
    at, status = 0, "new"
    while at < len(told):
        target = told[at][1]
        fitting = [
            move
            for move in MOVES.values()
            if status in move.sources
            and target in move.targets
            and list(told[at : at + len(move.events)]) == [(event, target) for event in move.events]
        ]
        if not fitting:
            return at
        at, status = at + len(fitting[0].events), target
    return None
