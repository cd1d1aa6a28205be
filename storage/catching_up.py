"""Jobs that make up for runs that were missed, product by product: which wait, and how many are at it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from jobs.job import Job
from jobs.lifecycle import JobStatus
from storage.client import Collection, Database, aggregate
from storage.documents import Document, job_from_document, now_of
from storage.errors import mongodb_errors
from storage.jobs import IS_DUE

_WAITING: Final[Document] = {"status": JobStatus.SCHEDULED.value, "paced": True}
_UNDER_WAY: Final[Document] = {
    "run.paced": True,
    "status": {"$in": [JobStatus.QUEUED.value, JobStatus.RUNNING.value]},
}


class CatchingUp:
    """The part of the collection ``jobs`` whose occurrences are taken up at the pace of their product.

    Tasks are (namespace, name) pairs. What nobody can run neither is taken up nor counts: it would be in the way for ever.
    """

    def __init__(self, database: Database, tasks: Sequence[tuple[str, str]]) -> None:
        self._jobs: Collection = database["jobs"]
        self._tasks = [{"namespace": namespace, "task": task} for namespace, task in tasks]

    async def next_behind(self, product: str, limit: int) -> tuple[datetime | None, list[Job]]:
        """Up to ``limit`` waiting jobs of the first product behind this one by name, oldest occurrence first, and the time.

        The time is the database's. No jobs: behind ``product`` there are no more that wait.
        """
        if not self._tasks:
            return None, []
        wanted = {**_WAITING, "product": {"$gt": product}, **IS_DUE}
        stages: list[Document] = [
            # One range of the index a task, merged in this order.
            {"$match": {"$or": [{**task, **wanted} for task in self._tasks]}},
            {"$sort": {"product": 1, "next_run_at": 1}},
            {"$limit": limit},
            {"$unset": ["outbox", "marks"]},
            {"$set": {"now": "$$NOW"}},
        ]
        with mongodb_errors():
            documents = await (await aggregate(self._jobs, stages)).to_list(limit)
        jobs = [job_from_document(document) for document in documents]
        now = now_of(documents[0]) if documents else None
        return now, [job for job in jobs if job.product == jobs[0].product]

    async def under_way(self, product: str, limit: int) -> int:
        """How many runs of this product that make up for missed ones are queued or running, counted up to ``limit``."""
        wanted = {**_UNDER_WAY, "product": {"$eq": product}, "$or": self._tasks}
        with mongodb_errors():
            return int(await self._jobs.count_documents(wanted, limit=limit, hint="under_way"))
