"""Reading the event log page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jobs.errors import BadCursor, CursorExpired
from jobs.feed import JobEvent, feed_cursor, feed_number, last_missing
from jobs.filters import EventFilter
from jobs.paging import Page, page_size
from resolvers.reading import check_event_filter
from resolvers.services import Principal, Services

MAX_SCANNED: Final = 10_000
"""Events that are looked at for one page; what is found among them is the page, and its end leads on."""

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of the log. ``end`` leads behind all that was looked at, whether or not it was asked for."""

    page: Page[JobEvent]
    end: str


NO_EVENTS: Final = EventPage(Page((), has_next=False, has_previous=False), feed_cursor(0))
"""Of a job that has just been removed."""


async def list_events(
    services: Services, principal: Principal, wanted: EventFilter, first: int, after: str | None
) -> EventPage:
    """The events that match, oldest first. A page may be short, even empty, and still have a next one.

    Raises ``InvalidInput``, ``BadCursor``, ``CursorExpired``, ``StoreUnavailable``.
    """
    check_event_filter(wanted.jobs, ("filter", "jobs"))
    size, start = page_size(first, "first"), await checked_position(services, after)
    found: list[JobEvent] = []
    position, looked_at = start, 0
    at_end = False
    while len(found) <= size and looked_at < MAX_SCANNED and not at_end:
        events = await services.events.read(position, _BATCH)
        at_end = len(events) < _BATCH
        missing = last_missing(events, position)
        if missing is not None:
            if after is not None:
                raise CursorExpired
            # Pruned while they were read: the list begins with what is left.
            start, found, events = missing, [], [event for event in events if event.number > missing]
        found += [event for event in events if wanted.matches(event.type, event.job_id, event.snapshot)]
        looked_at += len(events)
        position = events[-1].number if events else position
    more = len(found) > size
    end = feed_cursor(_end_of(found[:size], start) if more else position)
    return EventPage(Page(found[:size], has_next=more or not at_end, has_previous=after is not None), end)


async def events_of_jobs(
    services: Services, principal: Principal, job_ids: Sequence[str], first: int, after: str | None
) -> Mapping[str, EventPage]:
    """A page of the events of each job that exists and that the caller may see, oldest first, by id.

    Raises as :func:`list_events` does.
    """
    size, position = page_size(first, "first"), await checked_position(services, after)
    # What has been handed out by now is seen below: a page that holds all that there is leads on from here at least. Whoever
    # follows a job that was dispatched a moment ago has no use for the whole log that comes before it.
    looked_at = max(position, services.hub.position)
    found = await services.events.of_jobs(job_ids, position, size + 1)
    if after is not None:
        # Once more: what was pruned meanwhile may be missing here.
        await services.events.check_reaches(position)
    return {job_id: _page_of_job(events, size, looked_at, after) for job_id, events in found.items()}


def _page_of_job(events: Sequence[JobEvent], size: int, looked_at: int, after: str | None) -> EventPage:
    more = len(events) > size
    end = _end_of(events[:size], looked_at)
    page = Page(events[:size], has_next=more, has_previous=after is not None)
    return EventPage(page, feed_cursor(end if more else max(end, looked_at)))


async def checked_position(services: Services, after: str | None) -> int:
    """The feed number of a cursor; without one, that before the first event that there is.

    Raises ``BadCursor`` for one that the log has not reached, ``CursorExpired`` for one that it no longer reaches.
    """
    if after is None:
        return await services.events.start()
    position = feed_number(after)
    if position > services.hub.position and position > await services.events.head():
        raise BadCursor(after)
    await services.events.check_reaches(position)
    return position


def _end_of(events: Sequence[JobEvent], otherwise: int) -> int:
    return events[-1].number if events else otherwise
