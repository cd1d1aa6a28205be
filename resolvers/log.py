"""Reading the event log page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jobs.access import Forbidden, Principal, Reach, Scope
from jobs.errors import BadCursor, CursorExpired
from jobs.feed import JobEvent, feed_cursor, feed_number
from jobs.filters import EventFilter
from jobs.origins import OriginFilter
from jobs.paging import Page, page_size
from resolvers.reading import check_event_filter, check_origin, check_times
from resolvers.services import Services

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

    Raises ``Forbidden``, ``InvalidInput``, ``BadCursor``, ``CursorExpired``, ``StoreUnavailable``.
    """
    check_wanted(principal, wanted)
    size, start = page_size(first, "first"), await checked_position(services, after)
    if wanted.origin is not None:
        return await _events_of_origin(services, principal.reach, wanted, wanted.origin, size, start, after)
    found: list[JobEvent] = []
    position, looked_at = start, 0
    at_end = False
    while len(found) <= size and looked_at < MAX_SCANNED and not at_end:
        read = await services.events.read(principal.reach, position, _BATCH)
        at_end = read.looked_at < _BATCH
        if read.missing is not None:
            if after is not None:
                raise CursorExpired
            # Pruned while they were read: the list begins with what is left.
            start, found = read.missing, []
        left = (event for event in read.events if event.number > start)
        found += filter(wanted.matches, left)
        looked_at += read.looked_at
        position = read.end
    return _page_of(found, size, _Looked(start, position, at_end=at_end), after)


@dataclass(frozen=True, slots=True)
class _Looked:
    """From behind which event up to which the log was looked through, and whether that is its end."""

    start: int
    position: int
    at_end: bool


async def _events_of_origin(
    services: Services,
    reach: Reach,
    wanted: EventFilter,
    origin: OriginFilter,
    size: int,
    start: int,
    after: str | None,
) -> EventPage:
    """What somebody asked for, found by index however long ago the last of it was."""
    found: list[JobEvent] = []
    position, looked_at, level = start, 0, services.hub.position
    at_end = False
    while len(found) <= size and looked_at < MAX_SCANNED and not at_end:
        read = await services.events.read_of(reach, origin, position, _BATCH)
        at_end = read.looked_at < _BATCH
        found += filter(wanted.matches, read.events)
        looked_at += read.looked_at
        position = read.end
    if after is not None:
        # Once more: what was pruned meanwhile may be missing here.
        await services.events.check_reaches(start)
    # Where there is no more of it, it is known of all that there was: a cursor to the last of it might soon expire.
    end = max(position, level) if at_end else position
    return _page_of(found, size, _Looked(start, end, at_end=at_end), after)


def _page_of(found: Sequence[JobEvent], size: int, looked: _Looked, after: str | None) -> EventPage:
    more = len(found) > size
    end = feed_cursor(_end_of(found[:size], looked.start) if more else looked.position)
    return EventPage(Page(found[:size], has_next=more or not looked.at_end, has_previous=after is not None), end)


def check_wanted(principal: Principal, wanted: EventFilter) -> None:
    """Raise ``InvalidInput`` for a filter that makes no sense of events, ``Forbidden`` for one that asks for origins."""
    check_event_filter(principal, wanted.jobs, ("filter", "jobs"))
    check_times(wanted.from_, wanted.to, ("filter",))
    if wanted.origin is None:
        return
    if not principal.may(Scope.ADMIN):
        raise Forbidden(Scope.ADMIN, f"a filter by origin needs the scope {Scope.ADMIN}")
    check_origin(wanted.origin, ("filter", "origin"))


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
    found = await services.events.of_jobs(principal.reach, job_ids, position, size + 1)
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
