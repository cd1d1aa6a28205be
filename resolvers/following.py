"""Following jobs: what happened since a cursor, then what happens, without a gap and without a repetition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import count
from typing import Final

from jobs.access import Principal
from jobs.errors import CursorExpired, StoreUnavailable
from jobs.feed import JobEvent
from jobs.filters import EventFilter
from resolvers.log import check_wanted, checked_position
from resolvers.services import Services

_BATCH = 500

_AT_A_STRETCH: Final = 50
"""Events after which others get their turn: neither what is read nor what is buffered waits for anything in between."""


async def job_events(
    services: Services, principal: Principal, wanted: EventFilter, after: str | None
) -> AsyncGenerator[JobEvent, None]:
    """The events that match, from now on or from behind a cursor.

    Raises ``Forbidden``, ``InvalidInput``, ``BadCursor``, ``CursorExpired``, ``StoreUnavailable``, and ``SubscriberTooSlow``
    when they are not taken fast enough.
    """
    check_wanted(principal, wanted)
    position = services.hub.position
    if after is not None:
        position = await checked_position(services, after)
        while position < services.hub.position:
            # The log is read until it is level with the hub; a slow reader is slowed down here, not dropped.
            read = await services.events.read(principal.reach, position, _BATCH)
            if read.missing is not None:
                raise CursorExpired
            if read.end == position:
                # The newest event is never pruned: this is a new primary that does not know yet what a majority has.
                raise StoreUnavailable("MongoDB", "the log is not read to its end yet")
            for number, event in enumerate(read.events, start=1):
                await _give_way(number)
                if wanted.matches(event):
                    yield event
            position = read.end
    # Nothing awaits between the comparison above and this registration, so nothing is handed out in between.
    async with services.hub.subscribe(principal.reach, wanted, position) as subscriber:
        for number in count(1):
            await _give_way(number)
            yield await subscriber.next()


async def _give_way(number: int) -> None:
    if number % _AT_A_STRETCH == 0:
        await asyncio.sleep(0)
