"""Transitions of jobs: one method a kind, each a write fenced by the statuses it may leave, and by the token of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo import InsertOne, ReturnDocument, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError

from jobs.access import Reach
from jobs.decisions import Decision
from jobs.errors import JobgateError, StoreUnavailable, WriteRefused
from jobs.job import Job
from jobs.lifecycle import Action
from jobs.origins import Origin
from jobs.promotion import Promotion
from jobs.recheck import Correction
from jobs.steering import Change
from storage.client import Collection, Database
from storage.documents import UNREAD, Document, job_from_document
from storage.errors import mongodb_errors, refusal_of, single_write
from storage.filters import LIVING, within_reach
from storage.job_updates import (
    Claim,
    Finish,
    NewJob,
    Progress,
    claim_update,
    claimable,
    finish_update,
    first_nudge,
    held,
    new_document,
    progress_write,
    promotion_update,
    unmoved,
)
from storage.jobs import RunRef
from storage.limits import WRITE_SECONDS, within
from storage.steering_updates import (
    cancel_update,
    change_update,
    correction_update,
    delete_update,
    marked,
    not_marked,
    pause_update,
    steerable,
    unchanged_since,
)
from storage.updates import Pipeline

logger = logging.getLogger("jobgate.transitions")

_DUPLICATE_KEY: Final = 11000


class KeyTaken(JobgateError):
    """Another job holds the idempotency key."""


class Steered(JobgateError):
    """The attempt is still its worker's, but a caller has changed what comes after the run: decide again."""


class JobWriter:
    """The collection ``jobs``, changed."""

    def __init__(self, database: Database) -> None:
        self._jobs: Collection = database["jobs"]

    async def insert_many(self, new: Sequence[NewJob]) -> list[Exception | None]:
        """Insert jobs; each answers None, or :class:`KeyTaken` when its idempotency key belongs to another job.

        Or what the database refuses that one with. Raises ``StoreUnavailable``, at the latest when the time for a write is up.
        """
        async with within(WRITE_SECONDS):
            failed = await self._bulk([InsertOne(new_document(one)) for one in new])
        return [failed.get(index) for index in range(len(new))]

    async def claim_many(self, claims: Sequence[Claim]) -> list[Job | Exception | None]:
        """Claim queued runs; each answers the job as claimed, or None when it was no longer there to be claimed."""
        await self._bulk([UpdateOne(claimable(claim.ref), claim_update(claim)) for claim in claims])
        # Which claims won is read back by their tokens: a batch answers only how many did.
        wanted = {
            "_id": {"$in": [claim.ref.job_id for claim in claims]},
            "run.token": {"$in": [claim.token for claim in claims]},
        }
        with mongodb_errors():
            documents = await self._jobs.find(wanted, UNREAD).to_list(len(claims))
        won = {document["run"]["token"]: document for document in documents}
        return [job_from_document(won[claim.token]) if claim.token in won else None for claim in claims]

    async def finish_many(self, finishes: Sequence[Finish]) -> list[bool | Exception]:
        """Write what became of attempts; each answers whether it still held its token. A stale one changes nothing.

        :class:`Steered` for one that does hold it, but was decided from a job that has been paused or rescheduled since.
        """
        operations = [UpdateOne(held(finish), finish_update(finish)) for finish in finishes]
        failed, matched = await self._bulk_matched(operations)
        if matched == len(finishes):
            return [True] * len(finishes)
        tokens = await self._tokens([finish.job_id for finish in finishes])
        return [failed.get(index) or _was_written(finish, tokens) for index, finish in enumerate(finishes)]

    async def report_progress_many(self, reports: Sequence[Progress]) -> list[Exception | None]:
        """Note how far attempts have come; a stale one changes nothing."""
        failed = await self._bulk([progress_write(report) for report in reports])
        return [failed.get(index) for index in range(len(reports))]

    async def promote_many(
        self, promotions: Sequence[tuple[Job, Promotion]], *, nudged: int
    ) -> tuple[list[RunRef], int]:
        """Move due jobs on; answer what is to be nudged now, the first ``nudged`` runs, and how many jobs moved at least.

        Another promoter may have been faster with some of them; the nudge of such a one finds nothing to claim.
        """
        refs: list[RunRef] = []
        alike: dict[tuple[Promotion, int, bool], list[Job]] = {}
        for job, promotion in promotions:
            ref = first_nudge(job, promotion.run) if promotion.run and len(refs) < nudged else None
            refs += [ref] if ref else []
            alike.setdefault((promotion, job.revision, ref is not None), []).append(job)
        groups = [(promotion_update(one, nudged=marked), jobs) for (one, _, marked), jobs in alike.items()]
        return refs, await self._promote_alike(groups)

    async def _promote_alike(self, groups: Sequence[tuple[Pipeline, Sequence[Job]]]) -> int:
        """Make the same update to all jobs of a group, each of which is moved on, or not, by itself.

        For MongoDB, reading such an update is more work than carrying it out: jobs that come due together share one.
        """
        shared = [(update, jobs) for update, jobs in groups if len(jobs) > 1]
        single = [(update, job) for update, jobs in groups if len(jobs) == 1 for job in jobs]
        operations = [UpdateMany(_unmoved_together(jobs), update, hint="_id_") for update, jobs in shared]
        try:
            failed, moved = await self._bulk_matched(operations)
        except StoreUnavailable:
            # The driver does so by itself with updates of one job, not with those of many.
            failed, moved = await self._bulk_matched(operations)
        # An update of many ends with the first job that it fails at: what it has not moved is tried one by one.
        single += [(shared[index][0], job) for index in failed for job in shared[index][1]]
        failed, moved_singly = await self._bulk_matched([UpdateOne(unmoved(job), update) for update, job in single])
        for index, error in failed.items():
            logger.error("job %s cannot be moved on: %s", single[index][1].id, error)
        return moved + moved_singly

    async def expire(self, job: Job, decision: Decision) -> bool:
        """Take the run from a worker whose lease had run out when ``job`` was read; False when it was heard of since."""
        if job.run is None or job.run.token is None:
            return False
        # The very lease that was seen to be over: the driver may send this again behind an outage, when a later one is too.
        is_over = {"run.lease_until": {"$eq": job.run.lease_until}, "$expr": {"$lt": ["$run.lease_until", "$$NOW"]}}
        finish = Finish(job.id, job.run.token, decision, job.steered)
        with single_write():
            result = await self._jobs.update_one({**held(finish), **is_over}, finish_update(finish, confirmed=False))
        return bool(result.matched_count)

    async def mark_nudged(self, refs: Sequence[RunRef]) -> None:
        """Note that queued runs are being nudged, so that they are not nudged again at once."""
        update = {"$set": {"run.nudged_at": "$$NOW"}}
        await self._bulk(
            [UpdateOne(claimable(ref), [{"$set": {**update["$set"], "run.nudges": ref.nudge}}]) for ref in refs]
        )

    async def cancel(
        self,
        reach: Reach,
        job_id: str,
        *,
        actor: str | None,
        reason: str | None,
        origin: Origin | None = None,
        mark: str | None = None,
    ) -> Job | None:
        """Cancel in whatever status permits it; None when there is no such job within reach, or in another status.

        ``mark``: leave this mark in the job, and change nothing where it is already. The same for the changes below.
        """
        return await self._steer(Action.CANCEL, reach, job_id, cancel_update(actor, reason, origin), mark)

    async def pause(
        self,
        reach: Reach,
        job_id: str,
        *,
        actor: str | None,
        reason: str | None,
        origin: Origin | None = None,
        mark: str | None = None,
    ) -> Job | None:
        """Pause a recurring job; None when it is missing, does not recur, or is in another status or paused already."""
        return await self._steer(Action.PAUSE, reach, job_id, pause_update(actor, reason, origin), mark)

    async def pause_unchanged(self, job: Job, *, reason: str) -> Job | None:
        """Pause a recurring job for a reason that was found in it; None as for :meth:`pause`, or when it has changed since."""
        wanted = {**unchanged_since(job, Action.PAUSE), **steerable(Action.PAUSE)}
        return await self._move(wanted, pause_update(None, reason))

    async def delete(
        self, reach: Reach, job_id: str, *, actor: str | None, origin: Origin | None = None, mark: str | None = None
    ) -> Job | None:
        """Delete a job that is over, and answer what it was; None when it is missing, or not over."""
        return await self._steer(Action.DELETE, reach, job_id, delete_update(actor, origin=origin), mark)

    async def change(
        self,
        reach: Reach,
        job: Job,
        change: Change,
        *,
        actor: str | None,
        origin: Origin | None = None,
        mark: str | None = None,
    ) -> Job | None:
        """Write what was decided from ``job``; None when it has changed since, or is out of reach."""
        wanted = {**unchanged_since(job, change.action), **within_reach(reach)}
        return await self._move(wanted, change_update(change, actor, origin), mark)

    async def correct(self, job: Job, correction: Correction) -> Job | None:
        """Move the next instant of ``job``, and nothing else of it; None when it has changed since."""
        return await self._move(unchanged_since(job, Action.RECHECK), correction_update(job, correction))

    async def find_marked(self, reach: Reach, job_id: str, mark: str) -> Job | None:
        """The job as it is now if the change that left ``mark`` took place, even if it has been deleted since."""
        wanted = {"_id": {"$eq": job_id}, "marks": {"$eq": mark}, **within_reach(reach)}
        with mongodb_errors():
            document = await self._jobs.find_one(wanted, UNREAD)
        return None if document is None else job_from_document(document)

    async def _steer(self, action: Action, reach: Reach, job_id: str, update: Pipeline, mark: str | None) -> Job | None:
        wanted = {"_id": {"$eq": job_id}, **steerable(action), **within_reach(reach)}
        return await self._move(wanted, update, mark)

    async def _move(self, wanted: Document, update: Pipeline, mark: str | None = None) -> Job | None:
        document: Document | None
        if mark is not None:
            wanted, update = {**wanted, **not_marked(mark)}, [*update, marked(mark)]
        with single_write():
            document = await self._jobs.find_one_and_update(
                wanted, update, projection=UNREAD, return_document=ReturnDocument.AFTER
            )
        return None if document is None else job_from_document(document)

    async def find_by_key(self, reach: Reach, product: str, env: str, key: str) -> Job | None:
        """The job within reach that was dispatched with this idempotency key."""
        wanted = {"product": {"$eq": product}, "env": {"$eq": env}, "idempotency.key": {"$eq": key}, **LIVING}
        if not reach.includes(product, env):
            return None
        with mongodb_errors():
            document = await self._jobs.find_one(wanted, UNREAD)
        return None if document is None else job_from_document(document)

    async def _tokens(self, job_ids: Sequence[str]) -> Mapping[str, Document]:
        fields = {"last_token": 1, "run.token": 1}
        with mongodb_errors():
            found = await self._jobs.find({"_id": {"$in": list(job_ids)}}, fields).to_list(len(job_ids))
        return {document["_id"]: document for document in found}

    async def _bulk(self, operations: Sequence[Any]) -> Mapping[int, Exception]:
        return (await self._bulk_matched(operations))[0]

    async def _bulk_matched(self, operations: Sequence[Any]) -> tuple[Mapping[int, Exception], int]:
        """Write all; answer what failed by its index, and how many documents were matched."""
        if not operations:
            return {}, 0
        try:
            with mongodb_errors():
                result = await self._jobs.bulk_write(list(operations), ordered=False)
        except BulkWriteError as error:
            failed = {one["index"]: _refusal(one) for one in error.details["writeErrors"]}
            if not failed:
                raise
            return failed, error.details["nMatched"]
        return {}, result.matched_count


def _unmoved_together(jobs: Sequence[Job]) -> Document:
    """Those of these jobs, all read at the same revision, that are still as they were."""
    return {**unmoved(jobs[0]), "_id": {"$in": [job.id for job in jobs]}}


def _was_written(finish: Finish, tokens: Mapping[str, Document]) -> bool | Exception:
    job = tokens.get(finish.job_id)
    if job is None:
        return False
    is_held = (job.get("run") or {}).get("token") == finish.token
    return Steered(finish.job_id) if is_held else job["last_token"] == finish.token


def _refusal(failure: Mapping[str, Any]) -> Exception:
    if failure["code"] == _DUPLICATE_KEY:
        return KeyTaken("the idempotency key belongs to another job")
    return refusal_of(failure["code"]) or WriteRefused(failure["errmsg"])
