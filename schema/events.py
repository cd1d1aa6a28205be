"""Which events are meant: the filter of subscriptions and of the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import strawberry

from jobs.errors import InvalidInput, Issue
from jobs.filters import EventFilter
from jobs.filters import JobFilter as DomainFilter
from resolvers.reading import MAX_VALUES
from schema.audit import OriginFilter
from schema.enums import EventType
from schema.jobs import JobFilter


@strawberry.input(description="Which events are meant.")
class JobEventFilter:
    types: list[EventType] | None = strawberry.field(default=None, description="Of one of these types.")
    jobs: JobFilter | None = strawberry.field(
        default=None, description="Of jobs that matched this filter once the event had happened."
    )
    from_: datetime | None = strawberry.field(
        name="from", default=None, description="That happened not before this instant."
    )
    to: datetime | None = strawberry.field(default=None, description="That happened before this instant.")
    origin: OriginFilter | None = strawberry.field(
        default=None, description="That somebody asked for: who, with what, from where. Needs the scope admin."
    )


def event_filter(wanted: JobEventFilter | None) -> EventFilter:
    """The filter of the core; everything, unless something is asked for. Raises ``InvalidInput``."""
    if wanted is None:
        return EventFilter()
    jobs = wanted.jobs.to_domain() if wanted.jobs else DomainFilter()
    types = None if wanted.types is None else distinct(wanted.types, ("filter", "types"))
    origin = wanted.origin.to_domain() if wanted.origin else None
    return EventFilter(types=types, jobs=jobs, from_=wanted.from_, to=wanted.to, origin=origin)


def distinct(types: Sequence[EventType], path: tuple[str, ...]) -> tuple[EventType, ...]:
    """Each once, since every event is compared with all of them. Raises ``InvalidInput`` for more than a list may have."""
    if len(types) > MAX_VALUES:
        raise InvalidInput([Issue(path, f"{len(types)} values, more than the {MAX_VALUES} allowed")])
    return tuple(dict.fromkeys(types))
