"""Who wants an event, without asking everybody: filters, found by what they fix.

A filter that names jobs is found by their ids, one that names products or types by these, and only one that names none of
them is asked about every event. What has led to a filter is true of the event, and is not asked again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from jobs.feed import JobEvent
from jobs.filters import EventFilter

Owner = TypeVar("Owner", bound=Hashable)

_Fields = tuple[str, ...]
_Place = tuple[_Fields, tuple[object, ...]]
"""Fields, and a value for each of them: where filters are filed that want these."""

_CHOICES: Final[tuple[_Fields, ...]] = (
    ("job_id",),
    ("product", "env", "type"),
    ("product", "type"),
    ("product", "env"),
    ("product",),
    ("type",),
    (),
)
"""Fields that filters may fix together, from what the fewest events have in common to what all have."""

_MOST_PLACES: Final = 1_000
"""Where one filter is filed at most: a condition may have as many values, and the combinations of several far more."""


class FilterIndex(Generic[Owner]):
    """The filters of owners, each of whom has one."""

    def __init__(self) -> None:
        self._filed: dict[Owner, _Filed] = {}
        self._entries: dict[_Place, dict[Owner, EventFilter]] = {}

    def __len__(self) -> int:
        return len(self._filed)

    def __iter__(self) -> Iterator[Owner]:
        return iter(self._filed)

    def add(self, owner: Owner, wanted: EventFilter) -> None:
        """File the filter of an owner who has none yet."""
        filed = self._filed[owner] = _filed(wanted)
        for place in filed.places:
            self._entries.setdefault(place, {})[owner] = filed.rest

    def discard(self, owner: Owner) -> None:
        """Forget the filter of this owner, and the places where only it was filed."""
        for place in self._filed.pop(owner).places:
            entries = self._entries[place]
            del entries[owner]
            if not entries:
                del self._entries[place]

    def interested(self, event: JobEvent) -> Iterator[Owner]:
        """Those whose filter matches the event, each once. Nothing may be added or discarded meanwhile."""
        job = event.snapshot
        told = {"job_id": event.job_id, "type": event.type, "product": job.product, "env": job.env}
        for fields in _CHOICES:
            place = (fields, tuple(told[field] for field in fields))
            for owner, rest in self._entries.get(place, _NOBODY).items():
                if rest is _EVERYTHING or rest.matches(event):
                    yield owner


@dataclass(frozen=True, slots=True)
class _Filed:
    """Where a filter is filed, and what there is left to ask of an event that has led there."""

    places: frozenset[_Place]
    """None where a condition on which the place depends is empty: nothing matches it."""
    rest: EventFilter


_EVERYTHING: Final = EventFilter()
_NOBODY: Final[Mapping[Any, EventFilter]] = MappingProxyType({})


def _filed(wanted: EventFilter) -> _Filed:
    jobs = wanted.jobs
    named = {"job_id": jobs.ids, "type": wanted.types, "product": jobs.product, "env": jobs.env}
    fixed = {field: frozenset(values) for field, values in named.items() if values is not None}
    fields = next(choice for choice in _CHOICES if _fits(choice, fixed))
    places = frozenset((fields, values) for values in product(*(fixed[field] for field in fields)))
    return _Filed(places, _without(fields, wanted))


def _fits(choice: _Fields, fixed: Mapping[str, frozenset[object]]) -> bool:
    return fixed.keys() >= set(choice) and prod(len(fixed[field]) for field in choice) <= _MOST_PLACES


def _without(fields: _Fields, wanted: EventFilter) -> EventFilter:
    """What the filter asks for beside these fields."""
    jobs = replace(
        wanted.jobs,
        ids=None if "job_id" in fields else wanted.jobs.ids,
        product=None if "product" in fields else wanted.jobs.product,
        env=None if "env" in fields else wanted.jobs.env,
    )
    rest = replace(wanted, types=None if "type" in fields else wanted.types, jobs=jobs)
    return _EVERYTHING if rest == _EVERYTHING else rest
