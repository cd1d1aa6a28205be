"""Which events are meant: the filter of subscriptions and of the log."""

from __future__ import annotations

import strawberry

from jobs.filters import EventFilter
from jobs.filters import JobFilter as DomainFilter
from schema.enums import EventType
from schema.jobs import JobFilter


@strawberry.input(description="Which events are meant.")
class JobEventFilter:
    types: list[EventType] | None = strawberry.field(default=None, description="Of one of these types.")
    jobs: JobFilter | None = strawberry.field(
        default=None, description="Of jobs that matched this filter once the event had happened."
    )


def event_filter(wanted: JobEventFilter | None) -> EventFilter:
    """The filter of the core; everything, unless something is asked for."""
    if wanted is None:
        return EventFilter()
    jobs = wanted.jobs.to_domain() if wanted.jobs else DomainFilter()
    return EventFilter(types=None if wanted.types is None else tuple(wanted.types), jobs=jobs)
