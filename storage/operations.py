"""Bulk operations as documents: who runs each, how far it is, and the ids of the jobs that it is about.

An operation moves on by transactions: the jobs of one step change together with the position of the operation, or neither
does. So its counts are exact whoever died when, and nothing is ever done twice. Its lease only saves work.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from pymongo import ReturnDocument

from jobs.access import Reach
from jobs.bulk import BulkOperation, BulkStatus
from jobs.lifecycle import Action
from jobs.times import EPOCH, to_milliseconds
from storage.client import Collection, Database, end_session
from storage.documents import Document
from storage.errors import mongodb_errors
from storage.origins import noted, origin_from_document

LEASE: Final = timedelta(seconds=5)
"""How long an operation rests at most when the process that ran it was killed."""

_LEASED: Final[Document] = {"$add": ["$$NOW", to_milliseconds(LEASE)]}
_RUNNING: Final = BulkStatus.RUNNING.value


class Operations:
    """The collection ``operations``, as seen by one process that may run them: its ``owner``."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._operations: Collection = database["operations"]
        self._batches: Collection = database["operation_batches"]
        self._owner = owner

    async def insert(self, operation: BulkOperation, reach: Reach) -> None:
        """Store an operation whose jobs, all within ``reach``, are stored already. It is this owner's to run."""
        with mongodb_errors():
            await self._operations.insert_one(
                {
                    "_id": operation.id,
                    "action": operation.action.value,
                    "status": operation.status.value,
                    "matched": operation.matched,
                    "count": operation.count,
                    "skipped": operation.skipped,
                    "dry_run": operation.dry_run,
                    "reason": operation.reason,
                    "actor": operation.actor,
                    "delay_ms": operation.delay_ms,
                    "created_at": operation.created_at,
                    "completed_at": operation.completed_at,
                    "owner": self._owner,
                    "lease_until": operation.created_at + LEASE,
                    "session": None,
                    "products": names(reach.products),
                    "envs": names(reach.envs),
                    **noted(operation.origin),
                }
            )

    async def find(self, reach: Reach, operation_id: str) -> BulkOperation | None:
        """The operation, if it could change nothing out of reach."""
        with mongodb_errors():
            document = await self._operations.find_one({"_id": {"$eq": operation_id}, **within_reach_of(reach)})
        return None if document is None else operation_from_document(document)

    async def take_over(self) -> BulkOperation | None:
        """Become the owner of an operation that nobody is at: the one that has waited longest.

        The step that its last owner was at is undone first: nobody else could write to those jobs until MongoDB gave it up.
        """
        is_free = {"status": _RUNNING, "$expr": {"$lt": ["$lease_until", "$$NOW"]}}
        with mongodb_errors():
            left = await self._operations.find_one(is_free, {"session": 1}, sort=[("lease_until", 1)])
            if left is None:
                return None
            if left.get("session") is not None:
                await end_session(self._database, left["session"])
            ownership = {"owner": {"$literal": self._owner}, "lease_until": _LEASED, "session": None}
            return await self._update({"_id": left["_id"], **is_free}, ownership)

    async def announce(self, operation: BulkOperation, session_id: Any) -> bool:
        """Note the session that the next step is a transaction of, for whoever takes over in its midst, and renew the lease.

        False when the operation is no longer this owner's to run.
        """
        known = await self._update(self._own(operation), {"session": session_id, "lease_until": _LEASED})
        return known is not None

    async def release(self, operation: BulkOperation) -> None:
        """Let another process go on at once."""
        with mongodb_errors():
            await self._update(self._own(operation), {"lease_until": EPOCH, "session": None})

    async def stop(self, reach: Reach, operation_id: str) -> BulkOperation | None:
        """Have an operation go no further, and answer it; one that is over stays as it is. None for what is not to be found."""
        runs = {"_id": {"$eq": operation_id}, "status": _RUNNING, **within_reach_of(reach)}
        with mongodb_errors():
            stopped = await self._update(runs, {"status": BulkStatus.STOPPED.value, "completed_at": "$$NOW"})
            if stopped is None:
                return await self.find(reach, operation_id)
            await self._batches.delete_many({"operation_id": {"$eq": operation_id}})
        return stopped

    async def book(self, session: Any, operation: BulkOperation, looked_at: int, changed: int) -> BulkOperation | None:
        """Note a step, in the transaction that it is; None when the operation is no longer this owner's to run."""
        is_last = operation.position + looked_at == operation.matched
        ending: Document = {"status": BulkStatus.COMPLETED.value, "completed_at": "$$NOW"} if is_last else {}
        counts = {"count": operation.count + changed, "skipped": operation.skipped + looked_at - changed}
        return await self._update(self._own(operation), {**counts, "lease_until": _LEASED, **ending}, session=session)

    def _own(self, operation: BulkOperation) -> Document:
        """The operation as it is known here: nobody has moved it on, stopped it or taken it over meanwhile."""
        return {
            "_id": operation.id,
            "status": _RUNNING,
            "owner": self._owner,
            "count": operation.count,
            "skipped": operation.skipped,
        }

    async def _update(self, wanted: Document, values: Document, **options: Any) -> BulkOperation | None:
        document = await self._operations.find_one_and_update(
            wanted, [{"$set": values}], return_document=ReturnDocument.AFTER, **options
        )
        return None if document is None else operation_from_document(document)


def names(reached: frozenset[str] | None) -> list[str] | None:
    return None if reached is None else sorted(reached)


def within_reach_of(reach: Reach) -> Document:
    """The operations of those who could reach nothing but what lies within ``reach``."""
    limits = {"products": reach.products, "envs": reach.envs}
    return {
        name: {"$type": "array", "$ne": [], "$not": {"$elemMatch": {"$nin": sorted(reached)}}}
        for name, reached in limits.items()
        if reached is not None
    }


def operation_from_document(document: Mapping[str, Any]) -> BulkOperation:
    return BulkOperation(
        id=document["_id"],
        action=Action(document["action"]),
        status=BulkStatus(document["status"]),
        matched=document["matched"],
        count=document["count"],
        skipped=document["skipped"],
        dry_run=document["dry_run"],
        reason=document["reason"],
        actor=document["actor"],
        delay_ms=document["delay_ms"],
        created_at=document["created_at"],
        completed_at=document["completed_at"],
        origin=origin_from_document(document.get("origin")),
    )
