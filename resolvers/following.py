"""Following jobs: what happened since a cursor, then what happens, without a gap and without a repetition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import count
from typing import Final

from jobs.errors import CursorExpired, StoreUnavailable
from jobs.feed import JobEvent, last_missing
from jobs.filters import EventFilter
from resolvers.log import checked_position
from resolvers.reading import check_event_filter
from resolvers.services import Principal, Services

_BATCH = 500

_AT_A_STRETCH: Final = 50
"""Events after which others get their turn: neither what is read nor what is buffered waits for anything in between."""


async def job_events(
    services: Services, principal: Principal, wanted: EventFilter, after: str | None
) -> AsyncGenerator[JobEvent, None]:
    """The events that match, from now on or from behind a cursor.

    Raises ``InvalidInput``, ``BadCursor``, ``CursorExpired``, ``StoreUnavailable``, and ``SubscriberTooSlow`` when they
    are not taken fast enough.
    """
    check_event_filter(wanted.jobs, ("filter", "jobs"))
    position = services.hub.position
    if after is not None:
        position = await checked_position(services, after)
        while position < services.hub.position:
            # The log is read until it is level with the hub; a slow reader is slowed down here, not dropped.
            events = await services.events.read(position, _BATCH)
            if last_missing(events, position) is not None:
                raise CursorExpired
            if not events:
                # The newest event is never pruned: this is a new primary that does not know yet what a majority has.
                raise StoreUnavailable("MongoDB", "the log is not read to its end yet")
            for number, event in enumerate(events, start=1):
                await _give_way(number)
                if wanted.matches(event.type, event.job_id, event.snapshot):
                    yield event
            position = events[-1].number
    # Nothing awaits between the comparison above and this registration, so nothing is handed out in between.
    async with services.hub.subscribe(wanted, position) as subscriber:
        for number in count(1):
            await _give_way(number)
            yield await subscriber.next()


async def _give_way(number: int) -> None:
    if number % _AT_A_STRETCH == 0:
        await asyncio.sleep(0)
