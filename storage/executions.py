"""The history of a job: the runs that ended, newest first."""

from __future__ import annotations

from jobs.history import History
from jobs.job import Execution, Tally
from jobs.paging import Page
from storage.client import Collection, Database
from storage.documents import execution_from_document
from storage.errors import mongodb_errors
from storage.filters import LIVING


class ExecutionReader:
    """The collection ``executions``, together with the runs that the relay has not brought there yet."""

    def __init__(self, database: Database) -> None:
        self._jobs: Collection = database["jobs"]
        self._executions: Collection = database["executions"]

    async def history(self, job_id: str, size: int, before: int | None) -> History | None:
        """The newest ``size`` runs whose number is below ``before``; None when there is no such job."""
        with mongodb_errors():
            # The job first: a run that leaves its outbox meanwhile is in the collection by then.
            job = await self._jobs.find_one({"_id": {"$eq": job_id}, **LIVING}, {"tally": 1, "outbox.execution": 1})
        if job is None:
            return None
        stored = {run.number: run for run in await self._stored(job_id, size + 1, before)}
        pending = [execution_from_document(job_id, entry["execution"]) for entry in job["outbox"] if entry["execution"]]
        known = {run.number: run for run in pending if before is None or run.number < before} | stored
        newest = sorted(known.values(), key=lambda run: run.number, reverse=True)
        tally = job["tally"]
        return History(
            job_id,
            Tally(tally["completed"], tally["failed"], tally["cancelled"]),
            Page(newest[:size], has_next=len(newest) > size, has_previous=before is not None),
        )

    async def _stored(self, job_id: str, limit: int, before: int | None) -> list[Execution]:
        wanted = {"job_id": {"$eq": job_id}} | ({} if before is None else {"number": {"$lt": before}})
        with mongodb_errors():
            documents = await self._executions.find(wanted).sort([("number", -1)]).limit(limit).to_list(limit)
        return [execution_from_document(job_id, document) for document in documents]
