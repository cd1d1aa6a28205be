"""Jobs to race for, each made by the product's own writes; what they are raced for are copies of its document."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from jobs.access import EVERYWHERE
from jobs.decisions import Failed, decide
from jobs.dispatch import RetrySpec
from jobs.job import Job, JobError
from jobs.schedule import ScheduleSpec
from resolvers.services import Services
from storage.client import Database
from storage.documents import Document
from storage.job_updates import Claim, Finish, NewJob, first_nudge
from tests.factories import every, make_job
from tests.races.actors import FIRST

A_MOMENT: Final = timedelta(seconds=10)
OVER: Final = timedelta(hours=-1)
HOUR: Final = 3600
RETRY_NOW: Final = RetrySpec(initial_delay_ms=1, max_delay_ms=1, backoff_multiplier=1.0)


class Jobs:
    """Makes jobs. ``repeats`` says that it recurs: once an hour, with these terms."""

    def __init__(self, database: Database, services: Services) -> None:
        self._jobs = database["jobs"]
        self._services = services

    @property
    def in_half_an_hour(self) -> datetime:
        return self._services.clock.now() + timedelta(minutes=30)

    async def queued(self, **terms: Any) -> Document:
        return await self._document(await self._dispatched(**terms))

    async def due(self, **terms: Any) -> Document:
        """Scheduled, and its time has come."""
        now = self._services.clock.now()
        return await self._document(await self._dispatched(at=now - A_MOMENT / 2, **terms))

    async def running(self, lease: timedelta = timedelta(hours=1), **terms: Any) -> Document:
        """By the first worker."""
        return await self._document(await self._running(lease, **terms))

    async def lost(self, **terms: Any) -> Document:
        """Running, with a lease that is over."""
        return await self.running(OVER, **terms)

    async def failed(self, **terms: Any) -> Document:
        return await self._document(await self._failed(**terms))

    async def waiting(self, **terms: Any) -> Document:
        """For a retry whose time has come."""
        return await self._document(await self._failed(retries=1, **terms))

    async def paused(self, **terms: Any) -> Document:
        job = await self._dispatched(**terms)
        assert await self._services.writer.pause(EVERYWHERE, job.id, actor="ann", reason=None)
        return await self._document(job)

    async def _dispatched(self, *, at: Any = None, repeats: dict[str, Any] | None = None, retries: int = 0) -> Job:
        now = self._services.clock.now() - A_MOMENT
        once = ScheduleSpec(start_at=at)
        schedule = once if repeats is None else every(HOUR, start_at=at, **repeats)
        job = make_job(job_id="job_0", now=now, schedule=schedule, retries=retries, retry=RETRY_NOW)
        await self._jobs.delete_many({})
        assert await self._services.writer.insert_many([NewJob(job, "ann", nudged=False)]) == [None]
        return job

    async def _running(self, lease: timedelta, **terms: Any) -> Job:
        job = await self._dispatched(**terms)
        assert job.run is not None
        [claimed] = await self._services.writer.claim_many([Claim(first_nudge(job, job.run), "w1", FIRST, lease)])
        assert isinstance(claimed, Job)
        return claimed

    async def _failed(self, **terms: Any) -> Job:
        job = await self._running(timedelta(hours=1), **terms)
        assert job.run is not None
        earlier = self._services.clock.now() - A_MOMENT
        decision = decide(job, job.run, Failed(JobError("OOPS", "it broke")), now=earlier, draw=0.0)
        assert await self._services.writer.finish_many([Finish(job.id, FIRST, decision, job.steered)]) == [True]
        return job

    async def _document(self, job: Job) -> Document:
        document: Document = await self._jobs.find_one({"_id": job.id})
        return document
