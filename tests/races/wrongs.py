"""Actors as they must not be: what each of them leaves out is a mistake that the exploration has to find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobs.access import EVERYWHERE
from jobs.decisions import LeaseExpired, Succeeded, decide
from jobs.events import EventType
from jobs.job import Job
from jobs.lifecycle import TERMINAL, JobStatus
from jobs.promotion import promote
from jobs.steering import Change
from jobs.steering import reschedule as decide_reschedule
from jobs.steering import retry as decide_retry
from storage.job_updates import Claim, Finish, claim_update, claimable, finish_update, promotion_update
from storage.steering_updates import cancel_update, change_update
from storage.updates import NOW, Pipeline, transition
from tests.races.actors import FIRST, LEASE, TASKS, Stage
from tests.races.turns import Actor, Door, TurnTaking

Decide = Callable[[Job], Change]


class Careless(Stage):
    """Actors with one mistake each."""

    def cancel_by_id(self) -> Actor:
        """Reads, and then writes by the id alone."""

        async def cancel(door: Door, job_id: str) -> str:
            job = await self._find(door, job_id)
            if job is not None and job.status not in TERMINAL:
                await self._write(door, job_id, cancel_update("ann", None))
            return "cancelled"

        return cancel

    def finish_without_token(self) -> Actor:
        """The first worker, which writes to whatever runs."""

        async def finish(door: Door, job_id: str) -> str:
            job = await self.services.jobs.find(EVERYWHERE, job_id)
            assert job is not None
            assert job.run is not None
            await door.turn("effect")
            decision = decide(job, job.run, Succeeded(1), now=self.services.clock.now(), draw=0.0)
            update = finish_update(Finish(job_id, FIRST, decision, job.steered))
            await self._write(door, job_id, update, status=JobStatus.RUNNING.value)
            return "did 1.1"

        return finish

    def pause_all_but_queued(self) -> Actor:
        """Notes the pause, and leaves what is queued in its queue."""

        async def pause(door: Door, job_id: str) -> str:
            note = {"at": None, "by": "ann", "reason": None}
            await self._write(door, job_id, transition({"paused": note, "next_run_at": None}, [EventType.JOB_PAUSED]))
            return "paused"

        return pause

    def promote_by_id(self) -> Actor:
        """Whatever the job has become since it was found due."""

        async def look(door: Door, job_id: str) -> str:
            now, due = await self.seen_through(door, job_id).jobs.due(10)
            for job in due:
                assert now is not None
                await self._write(door, job_id, promotion_update(promote(job, now), nudged=False))
            return "-"

        return look

    def expire_by_status(self) -> Actor:
        """Whatever the lease has become since it was seen to be over."""

        async def sweep(door: Door, job_id: str) -> str:
            now, expired = await self.seen_through(door, job_id).jobs.expired(10)
            for job in expired:
                assert now is not None
                assert job.run is not None
                decision = decide(job, job.run, LeaseExpired(), now=now, draw=0.0)
                update = finish_update(Finish(job_id, FIRST, decision, 0), confirmed=False)
                await self._write(door, job_id, update, status=JobStatus.RUNNING.value)
            return "-"

        return sweep

    def claim_without_a_look(self) -> Actor:
        """Calls the handler of what it has claimed without having looked at the job once more."""

        async def work(door: Door, job_id: str) -> str:
            for ref in await self.seen_through(door, job_id).jobs.backlog(TASKS, 10, patience_ms=-5000):
                await door.turn("bulk_write")
                claim = Claim(ref, "w2", "token", LEASE)
                claimed = await self.database["jobs"].update_one(claimable(ref), claim_update(claim))
                door.note_change(claimed.modified_count)
                if claimed.modified_count:
                    await door.turn("effect")
                    return "did 1.1"
            return "-"

        return work

    def retry_by_id(self) -> Actor:
        return self._change_by_id(lambda job: decide_retry(job, 0, self.services.clock.now()))

    def reschedule_by_id(self, spec: Any) -> Actor:
        return self._change_by_id(lambda job: decide_reschedule(job, spec, self.services.clock.now(), ()))

    def cancel_silently(self) -> Actor:
        """One fenced write, which tells nobody."""

        async def cancel(door: Door, job_id: str) -> str:
            values = {"status": JobStatus.CANCELLED.value, "run": None, "next_run_at": None, "completed_at": NOW}
            await self._write(door, job_id, transition(values, []), status=JobStatus.QUEUED.value)
            return "cancelled"

        return cancel

    def _change_by_id(self, decide: Decide) -> Actor:
        async def change(door: Door, job_id: str) -> str:
            job = await self._find(door, job_id)
            if job is not None:
                await self._write(door, job_id, change_update(decide(job), "ann"))
            return "changed"

        return change

    async def _find(self, door: Door, job_id: str) -> Job | None:
        return await self.seen_through(door, job_id).jobs.find(EVERYWHERE, job_id)

    async def _write(self, door: Door, job_id: str, update: Pipeline, **fence: Any) -> None:
        await TurnTaking(self.database, door, job_id)["jobs"].update_one({"_id": job_id, **fence}, update)
