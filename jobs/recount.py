"""By how much counters differ from what was counted anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from jobs.spans import LIFETIME, Bucket
from jobs.statistics import OF_JOBS, Cell, Counters

Cells = Mapping[Cell, Counters]


def added(many: Iterable[Cells]) -> dict[Cell, Counters]:
    """The counters of all of them together."""
    total: dict[Cell, Counters] = {}
    for cells in many:
        for cell, counters in cells.items():
            _add(total.setdefault(cell, Counters()), counters)
    return total


def corrections(kept: Cells, found: Cells, complete_from: datetime) -> dict[Cell, Counters]:
    """What to add to the counters that were ``kept`` for them to say what was ``found``, and the longest where they differ.

    What ended before ``complete_from`` cannot all be found any more, so that no counter of it is lowered. Over its whole
    life, a task has run as often as on all its days.
    """
    due = {cell: _due(cell, *_both(kept, found, cell), complete_from) for cell in {**kept, **found}}
    runs = added([{Cell(cell.origin, LIFETIME): due[cell]} for cell in due if cell.level == Bucket.DAY])
    for cell in {**due, **runs}:
        if cell.level == LIFETIME:
            due[cell] = _life(found.get(cell, Counters()), runs.get(cell, Counters()))
    changes = {cell: _change(kept.get(cell, Counters()), wanted) for cell, wanted in due.items()}
    return {cell: change for cell, change in changes.items() if change.counts or change.longest}


def _both(kept: Cells, found: Cells, cell: Cell) -> tuple[Counters, Counters]:
    return kept.get(cell, Counters()), found.get(cell, Counters())


def _due(cell: Cell, kept: Counters, found: Counters, complete_from: datetime) -> Counters:
    """What the counters of one bucket of time should say; those of a whole life are made from these."""
    if cell.start is None or cell.start >= complete_from:
        return found
    longest = {name: max(kept.longest.get(name, 0), found.longest.get(name, 0)) for name in _names(kept, found)}
    return Counters(kept.counts | found.counts, longest)


def _life(found: Counters, runs: Counters) -> Counters:
    of_jobs = {name: n for name, n in found.counts.items() if name.startswith(OF_JOBS)}
    return Counters(Counter({**runs.counts, **of_jobs}), runs.longest)


def _change(kept: Counters, wanted: Counters) -> Counters:
    by = Counter(wanted.counts)
    by.subtract(kept.counts)
    longest = {name: wanted.longest.get(name, 0) for name in _names(kept, wanted)}
    return Counters(
        Counter({name: n for name, n in by.items() if n}),
        {name: length for name, length in longest.items() if length != kept.longest.get(name, 0)},
    )


def _names(one: Counters, other: Counters) -> list[str]:
    return sorted({*one.longest, *other.longest})


def _add(counters: Counters, more: Counters) -> None:
    counters.counts.update(more.counts)
    for name, length in more.longest.items():
        counters.count_longest(name, length)
