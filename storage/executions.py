"""The history of jobs: the runs that ended, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobs.access import Reach
from jobs.history import History
from jobs.job import Tally
from jobs.paging import Page
from storage.client import Collection, Database, aggregate
from storage.documents import Document, execution_from_document
from storage.errors import mongodb_errors
from storage.filters import LIVING, within_reach


class ExecutionReader:
    """The collection ``executions``, together with the runs that the relay has not brought there yet."""

    def __init__(self, database: Database) -> None:
        self._jobs: Collection = database["jobs"]

    async def histories(
        self, reach: Reach, job_ids: Sequence[str], size: int, before: int | None
    ) -> Mapping[str, History]:
        """Of each job that exists within reach, by id: the newest ``size`` runs whose number is below ``before``. One query."""
        below = {} if before is None else {"number": {"$lt": before}}
        stages: list[Document] = [
            {"$match": {"_id": {"$in": list(job_ids)}, **LIVING, **within_reach(reach)}},
            # The job first: a run that leaves its outbox meanwhile is in the other collection by then.
            {"$project": {"tally": 1, "outbox.execution": 1}},
            {
                "$lookup": {
                    "from": "executions",
                    "localField": "_id",
                    "foreignField": "job_id",
                    "pipeline": [{"$match": below}, {"$sort": {"number": -1}}, {"$limit": size + 1}],
                    "as": "stored",
                }
            },
        ]
        with mongodb_errors():
            documents = await (await aggregate(self._jobs, stages)).to_list(len(job_ids))
        return {document["_id"]: _history(document, size, before) for document in documents}


def _history(job: Document, size: int, before: int | None) -> History:
    waiting = [entry["execution"] for entry in job["outbox"] if entry["execution"]]
    pending = [run for run in waiting if before is None or run["number"] < before]
    known = {run["number"]: run for run in [*pending, *job["stored"]]}
    newest = [execution_from_document(job["_id"], known[number]) for number in sorted(known, reverse=True)]
    tally = job["tally"]
    return History(
        job["_id"],
        Tally(tally["completed"], tally["failed"], tally["cancelled"]),
        Page(newest[:size], has_next=len(newest) > size, has_previous=before is not None),
    )
