"""A gateway that is asked for what it has to refuse: it has a job for every action, and none of them may change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.lifecycle import JobStatus
from tests.gateway import LiveGateway, serving_for_all
from tests.integration.test_graphql_steering import job_in, stored

JOBS: Final[dict[str, JobStatus]] = {
    "once": JobStatus.SCHEDULED,
    "hourly": JobStatus.SCHEDULED,
    "resting": JobStatus.PAUSED,
    "broken": JobStatus.FAILED,
}
"""The jobs, by their ids."""

RECURRING: Final = frozenset({"hourly", "resting"})

LISTS: Final = ("ids", "product", "env", "namespace", "task", "tags", "errorCode")
"""The conditions of a filter that take a list of texts."""

YEAR: Final = 31_536_000_000
"""The longest delay, in milliseconds."""


@asynccontextmanager
async def serving_jobs(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    """A gateway for all tests of a module, with those jobs."""
    async with serving_for_all(servers, mongodb) as gateway:
        jobs = mongodb[gateway.gateway.database.name]["jobs"]
        for name, status in JOBS.items():
            jobs.insert_one(stored(job_in(status, recurring=name in RECURRING)) | {"_id": name})
        yield gateway


@contextmanager
def unchanged(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> Iterator[None]:
    """Fails when any of the jobs has changed meanwhile, has gone, or is not the only one any more."""
    jobs = mongodb[gateway.gateway.database.name]["jobs"]
    before = list(jobs.find().sort("_id"))
    assert [job["_id"] for job in before] == sorted(JOBS)
    yield
    assert list(jobs.find().sort("_id")) == before
