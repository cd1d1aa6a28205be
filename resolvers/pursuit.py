"""A change of one job, pursued until it is known what became of it.

A write whose answer was lost may have taken place, or may still do so. It is never guessed which: each change leaves a mark of
its own in the job, by which it is recognised, and because of which it does not take place twice when it is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from jobs.access import Reach
from jobs.errors import JobgateError, JobNotFound, NotWritten, StoreUnavailable, WriteRefused
from jobs.job import Job
from resolvers.services import Services
from storage.limits import LOOK_SECONDS, WRITE_SECONDS, Deadline

Found = TypeVar("Found")

_TRIES: Final = 10
_FIRST_PAUSE: Final = 0.05


class Pursuit:
    """One caller's change of one job. ``mark`` is what its writes leave in the job."""

    def __init__(self, services: Services, reach: Reach, job_id: str) -> None:
        self.mark = services.new_id()
        self._services = services
        self._reach = reach
        self._job_id = job_id
        self._deadline = Deadline()
        self._unanswered = 0

    @property
    def is_open(self) -> bool:
        """Whether a write was sent of which it is not known what became of it."""
        return self._unanswered > 0

    async def write(self, writing: Awaitable[Job | None]) -> Job | None:
        """Write, and answer the job, or None when nothing was changed; an exception may leave that open."""
        self._unanswered += 1
        try:
            changed = await writing
        except (NotWritten, WriteRefused):
            self._unanswered -= 1
            raise
        self._unanswered -= 1
        return changed

    async def until_known(self, step: Callable[[], Awaitable[Job | None]]) -> Job:
        """Take ``step`` until it answers the job, anew when that has changed meanwhile or an answer was lost.

        Raises what ``step`` does, and ``StoreUnavailable``: with nothing changed, or else saying that this is unknown.
        """
        pauses = Pauses(self._deadline)
        for _ in range(_TRIES):
            try:
                async with self._deadline.within(WRITE_SECONDS):
                    job = await self._own_change() or await self._taken(step)
            except JobNotFound as error:
                if not self.is_open:
                    raise
                # The change may have taken place before somebody removed the job.
                raise unknown_outcome(StoreUnavailable("MongoDB", str(error)), "the job was changed") from error
            except StoreUnavailable as error:
                if not self.is_open:
                    raise
                if not await pauses.rest():
                    raise unknown_outcome(error, "the job was changed") from error
                continue
            if job is not None:
                return job
        raise self._gave_up()

    async def _taken(self, step: Callable[[], Awaitable[Job | None]]) -> Job | None:
        try:
            return await step()
        except StoreUnavailable:
            raise
        except JobgateError:
            # What refuses it may be its own doing, which no majority had confirmed yet when it was looked for.
            own = await self._own_change()
            if own is None:
                raise
            return own

    async def _own_change(self) -> Job | None:
        if not self.is_open:
            return None
        return await self._services.writer.find_marked(self._reach, self._job_id, self.mark)

    def _gave_up(self) -> StoreUnavailable:
        error = StoreUnavailable("MongoDB", "the job kept changing")
        return unknown_outcome(error, "the job was changed") if self.is_open else error


class Pauses:
    """Longer and longer pauses between tries, until a deadline: those who all wait for the same store must not flood it."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._next = _FIRST_PAUSE

    async def rest(self) -> bool:
        """Wait a little; False, at once, when no time would be left afterwards."""
        if self._deadline.left <= self._next:
            return False
        await asyncio.sleep(self._next)
        self._next *= 2
        return True


async def found_in_time(find: Callable[[], Awaitable[Found | None]], deadline: Deadline) -> Found | None:
    """Look until it is there or the time is up: the store may be coming back, or the write be under way in it."""
    pauses = Pauses(deadline)
    while True:
        with suppress(StoreUnavailable):
            async with deadline.within(LOOK_SECONDS):
                found = await find()
            if found is not None:
                return found
        if not await pauses.rest():
            return None


def unknown_outcome(error: StoreUnavailable, what: str) -> StoreUnavailable:
    """The fault to tell the caller of when it could not be found out whether ``what``."""
    detail = f"{error.detail}; it is unknown whether {what}, and it may yet happen"
    return StoreUnavailable(error.store, detail, error.retry_after)
