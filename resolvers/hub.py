"""One reader of the event log for all subscribers of a gateway: it tails the log once and hands events out in process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from jobs.access import Reach
from jobs.errors import CursorExpired, StoreUnavailable, SubscriberTooSlow
from jobs.feed import JobEvent, feed_cursor, last_missing
from jobs.filter_index import FilterIndex
from jobs.filters import EventFilter
from storage.cancelling import end_task
from storage.events import EventLog, Unreadable
from storage.signals import Topic
from storage.wakeups import Wakeups

logger = logging.getLogger("jobgate.hub")

BUFFER: Final = 1_000
"""Events that wait for one subscriber at most."""

_BATCH: Final = 500
"""Events that are handed out at a stretch: fewer than any subscriber's buffer holds. Where more come at once they are read."""

_POLL_EVERY: Final = 1.0
_AFTER_FAILURE: Final = 0.5
_AFTER_DEFECT: Final = 5.0


class Subscriber:
    """One listener's buffer. ``position`` is the feed number up to which it has seen all that it wants."""

    def __init__(self, position: int) -> None:
        self.position = position
        self._buffer: deque[JobEvent] = deque()
        self._overflowed = False
        self._failure: Exception | None = None
        self._news = asyncio.Event()

    def offer(self, event: JobEvent) -> None:
        """Buffer an event that this subscriber wants. Once one could not be, nothing more is taken: no gaps."""
        if self._overflowed or self._failure is not None or event.number <= self.position:
            return
        if len(self._buffer) >= BUFFER:
            self._overflowed = True
        else:
            self._buffer.append(event)
        self._news.set()

    def fail(self, error: Exception) -> None:
        """What comes next cannot be told: have the listener know, rather than wait for ever."""
        self._failure = error
        self._news.set()

    async def next(self) -> JobEvent:
        """Wait for the next event. Raises :class:`SubscriberTooSlow` once the buffer has overflowed and is used up."""
        while not self._buffer:
            if self._failure is not None:
                raise self._failure
            if self._overflowed:
                raise SubscriberTooSlow(feed_cursor(self.position))
            self._news.clear()
            await self._news.wait()
        event = self._buffer.popleft()
        self.position = event.number
        return event


class EventHub:
    """Tails the log for as long as the gateway lives."""

    def __init__(self, log: EventLog, wakeups: Wakeups) -> None:
        self._log = log
        self._wakeups = wakeups
        self._news = log.news(self._hear, _BATCH)
        self._subscribers: FilterIndex[Subscriber] = FilterIndex()
        self._tail: asyncio.Task[None] | None = None
        self._look_at = 0.0
        self._looks = False
        self.position = 0
        """The feed number up to which events were handed out."""

    async def start(self) -> None:
        """Begin behind the newest event. Raises ``StoreUnavailable``."""
        self.position = await self._log.head()
        self._tail = asyncio.create_task(self._follow())

    async def close(self) -> None:
        await end_task(self._tail)
        await self._news.close()

    @asynccontextmanager
    async def subscribe(self, reach: Reach, wanted: EventFilter, position: int) -> AsyncIterator[Subscriber]:
        """Take part in everything within reach that is handed out from now on, behind ``position``."""
        subscriber = Subscriber(position)
        self._subscribers.add(subscriber, reach.narrowed_events(wanted))
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)

    async def _follow(self) -> None:
        while True:
            try:
                # Now and then whatever is told: what is told by nobody, such as in an election, waits until then.
                while await self._hand_out(look=time.monotonic() >= self._look_at):
                    pass
                self._news.start()
            except StoreUnavailable as error:
                logger.warning("following the event log: %s", error)
                await asyncio.sleep(_AFTER_FAILURE)
            except Exception as error:  # a defect; the tail goes on all the same, for those who come after
                self._give_up(error)
                await asyncio.sleep(_AFTER_DEFECT)
            await self._wakeups.wait(Topic.FEED, _POLL_EVERY)

    def _hear(self) -> None:
        """Hand out what the log tells, at once: that it need not wait for the tail's turn saves half a millisecond."""
        if not self._looks:
            try:
                continued = self._continued()
                if continued is not None and not self._give(*continued):
                    return
            except Exception as error:
                self._give_up(error)
            self._look_at = 0.0
        self._wakeups.wake(Topic.FEED)

    def _give_up(self, error: Exception) -> None:
        logger.error("following the event log", exc_info=error)
        for subscriber in self._subscribers:
            subscriber.fail(error)

    async def _hand_out(self, *, look: bool = True) -> bool:
        continued = self._continued()
        if look or continued is None:
            self._looks = True
            try:
                continued = await self._log.read_until_unreadable(self.position, _BATCH)
            finally:
                self._looks = False
            self._look_at = time.monotonic() + _POLL_EVERY
        return self._give(*continued)

    def _continued(self) -> tuple[list[JobEvent], Unreadable | None] | None:
        """What was told since the last call; None where that may not be all."""
        told = self._news.take()
        return None if told is None else self._log.continued(told, self.position)

    def _give(self, events: Sequence[JobEvent], unreadable: Unreadable | None) -> bool:
        """Offer events to those who want them; answer whether there may be more to read at once."""
        if events:
            missing = last_missing([event.number for event in events], self.position)
            if missing is not None:
                # Events were pruned before this gateway came to them.
                self._cannot_tell(missing, CursorExpired())
            self.position = events[-1].number
        for event in events:
            for subscriber in self._subscribers.interested(event):
                subscriber.offer(event)
        if unreadable is not None:
            self._pass_over(unreadable)
        if unreadable is not None or len(events) == _BATCH:
            self._look_at = 0.0
            return True
        return False

    def _pass_over(self, unreadable: Unreadable) -> None:
        """Go on behind an event that nobody can be told of, for those who come after: it would be there for good."""
        logger.error("event %d cannot be read", unreadable.number, exc_info=unreadable.error)
        self._cannot_tell(unreadable.number, unreadable.error)
        self.position = unreadable.number

    def _cannot_tell(self, number: int, error: Exception) -> None:
        """The event with this number is lost here: whoever has not read it elsewhere cannot go on."""
        for subscriber in self._subscribers:
            if subscriber.position < number:
                subscriber.fail(error)
