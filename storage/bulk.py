"""Bulk operations on jobs: finding the jobs that one is about, and changing them step by step."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from pymongo import UpdateOne
from pymongo.errors import OperationFailure, PyMongoError

from jobs.access import EVERYWHERE, Reach
from jobs.bulk import BulkOperation, BulkRequest, BulkStatus, change_of
from jobs.cron import CronError
from jobs.errors import JobgateError, NotWritten, StoreUnavailable
from jobs.lifecycle import Action
from jobs.origins import Origin
from storage.client import Collection, Database, open_session, snapshot, transaction
from storage.documents import UNREAD, Document, job_from_document
from storage.errors import OUT_OF_DISK_SPACE, mongodb_errors, too_slow
from storage.filters import job_filter
from storage.limits import WRITE_SECONDS, within
from storage.operations import Operations
from storage.steering_updates import (
    cancel_update,
    change_update,
    delete_update,
    pause_update,
    steerable,
    unchanged_since,
)
from storage.updates import Pipeline, in_bulk

logger = logging.getLogger("jobgate.bulk")

STEP: Final = 500
"""Jobs that one transaction changes at most. Whoever else writes to one of them meanwhile waits for it to end."""

SEARCH_TIMEOUT_MS: Final = 30_000
"""How long it may take to find the jobs that an operation is about."""

_BATCH: Final = 1000
"""Ids in one document of ``operation_batches``."""

_TRIES: Final = 50
_TRANSIENT: Final = "TransientTransactionError"


class BulkWriter:
    """Begins operations, and moves those on that their owner, this process, runs."""

    def __init__(self, database: Database, operations: Operations, search_timeout_ms: int = SEARCH_TIMEOUT_MS) -> None:
        self._database = database
        self._jobs: Collection = database["jobs"]
        self._batches: Collection = database["operation_batches"]
        self._operations = operations
        self._timeout_ms = search_timeout_ms

    async def begin(
        self,
        reach: Reach,
        request: BulkRequest,
        operation_id: str,
        *,
        actor: str | None,
        now: datetime,
        origin: Origin | None = None,
    ) -> BulkOperation:
        """Find the jobs within reach that match, as of one instant, and store the operation.

        It is answered once a majority has all of it; of a dry run nothing but the counts is stored. Raises
        :class:`jobs.errors.FilterTooSlow`, ``NotWritten`` when nothing has begun, ``StoreUnavailable`` when it is unknown
        whether the operation is stored: then it is going to be done.
        """
        request = replace(request, conditions=reach.narrowed(request.conditions))
        matched, changeable = await self._search(request, operation_id, now)
        is_over = request.dry_run or not matched
        operation = BulkOperation(
            id=operation_id,
            action=request.action,
            status=BulkStatus.COMPLETED if is_over else BulkStatus.RUNNING,
            matched=matched,
            count=changeable,
            skipped=matched - changeable if is_over else 0,
            dry_run=request.dry_run,
            reason=request.reason,
            actor=actor,
            delay_ms=request.delay_ms,
            created_at=now,
            completed_at=now if is_over else None,
            origin=origin,
        )
        async with within(WRITE_SECONDS):
            await self._operations.insert(operation, reach)
        return operation

    async def advance(self, operation: BulkOperation, now: datetime) -> BulkOperation | None:
        """Look at the next jobs, change those whose status allows it, and answer the operation as it is then.

        None when it is no longer this process's: another has taken it over, or it was stopped. Raises ``StoreUnavailable``;
        then it is unknown whether the step took place, and the operation has to be read again.
        """
        # A primary that has just been elected may answer, once, from before what its predecessor has acknowledged.
        ids = await self._next_ids(operation) or await self._still_unseen(operation)
        for _ in range(_TRIES if ids else 0):
            try:
                return await self._step(operation, ids, now)
            except _Taken:
                return None
            except _StepFailed as failure:
                if len(ids) == 1 and not failure.passing:
                    logger.error("%s leaves out job %s: %s", operation.id, ids[0], failure)
                    return await self._skip(operation)
            # Others write to these jobs too, or one of them cannot be written at all: fewer of them may get through.
            ids = ids[: max(1, len(ids) // 2)]
        if ids:
            raise StoreUnavailable("MongoDB", "the jobs kept changing")
        return None

    async def _search(self, request: BulkRequest, operation_id: str, now: datetime) -> tuple[int, int]:
        """How many jobs match, and of a dry run how many of them could be changed."""
        try:
            with too_slow(self._timeout_ms), mongodb_errors():
                async with snapshot(self._database) as session:
                    if request.dry_run:
                        return await self._count(request, session)
                    return await self._gather(request, operation_id, session, now), 0
        except StoreUnavailable as error:
            # Ids without an operation are never looked at.
            raise NotWritten(error.store, error.detail) from error

    async def _count(self, request: BulkRequest, session: Any) -> tuple[int, int]:
        wanted = job_filter(request.conditions)
        options = {"session": session, "maxTimeMS": self._timeout_ms}
        matched = await self._jobs.count_documents(wanted, **options)
        changeable = await self._jobs.count_documents({"$and": [wanted, steerable(request.action)]}, **options)
        return matched, changeable

    async def _gather(self, request: BulkRequest, operation_id: str, session: Any, now: datetime) -> int:
        """Store the ids before the operation itself: one that was acknowledged has them all."""
        matched = 0
        cursor = self._jobs.find(
            job_filter(request.conditions), {"_id": 1}, session=session, batch_size=_BATCH, max_time_ms=self._timeout_ms
        )
        while found := await cursor.to_list(_BATCH):
            ids = [document["_id"] for document in found]
            batch = {"_id": f"{operation_id}:{matched}", "operation_id": operation_id, "created_at": now, "ids": ids}
            async with within(WRITE_SECONDS):
                await self._batches.insert_one(batch)
            matched += len(ids)
        return matched

    async def _next_ids(self, operation: BulkOperation) -> list[str]:
        """Some of the jobs that were not looked at yet; none when the operation was stopped meanwhile."""
        first = operation.position // _BATCH * _BATCH
        with mongodb_errors():
            batch = await self._batches.find_one({"_id": f"{operation.id}:{first}"})
        return [] if batch is None else batch["ids"][operation.position - first :][:STEP]

    async def _still_unseen(self, operation: BulkOperation) -> list[str]:
        """The same ids once more, if the operation itself is there as it is known; raises JobgateError where these are gone."""
        if await self._operations.find(EVERYWHERE, operation.id) != operation:
            return []
        ids = await self._next_ids(operation)
        if not ids:
            raise JobgateError(f"the jobs that {operation.id} has not looked at yet are not known any more")
        return ids

    async def _step(self, operation: BulkOperation, ids: Sequence[str], now: datetime) -> BulkOperation:
        async def write(session: Any) -> BulkOperation:
            try:
                changed = await self._change(session, operation, ids, now)
                return await self._book(session, operation, len(ids), changed)
            except PyMongoError as error:
                # Wrapped, so that the driver does not begin again with the very same jobs.
                raise _StepFailed(error) from error

        try:
            with mongodb_errors():
                return await self._transact(operation, write)
        except _StepFailed as failure:
            # A full disk is not the fault of any of these jobs, so none is left out for it.
            if isinstance(failure.error, OperationFailure) and failure.error.code != OUT_OF_DISK_SPACE:
                raise
            with mongodb_errors():
                raise failure.error from None

    async def _skip(self, operation: BulkOperation) -> BulkOperation:
        with mongodb_errors():
            return await self._transact(operation, lambda session: self._book(session, operation, 1, 0))

    async def _transact(
        self, operation: BulkOperation, write: Callable[[Any], Awaitable[BulkOperation]]
    ) -> BulkOperation:
        async with open_session(self._database) as session:
            if not await self._operations.announce(operation, session.session_id["id"]):
                raise _Taken
            return await transaction(session, write)

    async def _book(self, session: Any, operation: BulkOperation, looked_at: int, changed: int) -> BulkOperation:
        booked = await self._operations.book(session, operation, looked_at, changed)
        if booked is None:
            raise _Taken
        if booked.position % _BATCH == 0 or booked.status is BulkStatus.COMPLETED:
            first = operation.position // _BATCH * _BATCH
            await self._batches.delete_one({"_id": f"{operation.id}:{first}"}, session=session)
        return booked

    async def _change(self, session: Any, operation: BulkOperation, ids: Sequence[str], now: datetime) -> int:
        """How many of the jobs were changed. Each write is fenced by the status that the job has, not the one it had."""
        wanted: Document = {"_id": {"$in": list(ids)}, **steerable(operation.action)}
        update = _update_of(operation)
        if update is not None:
            result = await self._jobs.update_many(wanted, [*update, in_bulk()], session=session, hint="_id_")
            return int(result.modified_count)
        documents = await self._jobs.find(wanted, UNREAD, session=session).to_list(len(ids))
        writes = list(_decided(operation, documents, now))
        if not writes:
            return 0
        written = await self._jobs.bulk_write(writes, ordered=False, session=session)
        return int(written.modified_count)


class _Taken(JobgateError):
    """The operation is no longer this process's to run: nothing of the step takes place."""


class _StepFailed(JobgateError):
    """A step was refused as a whole, and nothing of it took place."""

    def __init__(self, error: PyMongoError) -> None:
        self.error = error
        self.passing = error.has_error_label(_TRANSIENT)
        """Whether it was another write to the same jobs that was in the way."""
        super().__init__(str(error))


def _update_of(operation: BulkOperation) -> Pipeline | None:
    """What the action writes, where that is the same for all jobs."""
    actor, reason, origin = operation.actor, operation.reason, operation.origin
    match operation.action:
        case Action.CANCEL:
            return cancel_update(actor, reason, origin)
        case Action.PAUSE:
            return pause_update(actor, reason, origin)
        case Action.DELETE:
            return delete_update(actor, origin=origin)
        case _:
            return None


def _decided(operation: BulkOperation, documents: Sequence[Document], now: datetime) -> Iterator[UpdateOne]:
    for document in documents:
        job = job_from_document(document)
        try:
            change = change_of(operation, job, now)
        except CronError as error:
            logger.error(
                "%s leaves out job %s: its schedule can no longer be followed: %s", operation.id, job.id, error
            )
            continue
        update = [*change_update(change, operation.actor, operation.origin), in_bulk()]
        yield UpdateOne(unchanged_since(job, change.action), update)
