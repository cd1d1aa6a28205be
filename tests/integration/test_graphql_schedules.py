"""What actions make of schedules, through GraphQL: what is told of occurrences, and what is remembered of a change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient
from pymongo.collection import Collection

from gateway.devstack import Servers
from jobs.events import EventType
from jobs.job import Job
from jobs.lifecycle import JobStatus
from storage.documents import job_to_document
from tests.factories import every, make_job, make_running
from tests.gateway import LiveGateway, serving_for_all

HOUR: Final = timedelta(hours=1)

TOLD: Final = """
    query ($id: ID!) {
        job(id: $id) { events(first: 50) { nodes { type scheduledAt passedOver { cause count first last } } } }
    }
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb) as gateway:
        yield gateway


@pytest.fixture
def jobs(mongodb: MongoClient[dict[str, Any]], gateway: LiveGateway) -> Collection[dict[str, Any]]:
    """What is stored."""
    return mongodb[gateway.gateway.database.name]["jobs"]


pytestmark = pytest.mark.asyncio(loop_scope="module")


def hourly(job_id: str) -> Job:
    """A job whose first run waits for a worker."""
    return make_job(job_id=job_id, now=datetime.now(UTC).replace(microsecond=0), schedule=every(3600))


async def test_a_pause_that_is_over_tells_what_came_due_meanwhile(
    gateway: LiveGateway, jobs: Collection[dict[str, Any]]
) -> None:
    schedule = {"every": 3_600_000, "startAt": (datetime.now(UTC) + HOUR).isoformat()}
    job_id = await gateway.dispatched(schedule=schedule)
    await gateway.data("mutation ($id: ID!) { pause(id: $id) { __typename } }", id=job_id)
    stored = jobs.find_one({"_id": job_id})
    assert stored is not None
    # Three hours pass: what is stored is so much older.
    ago = {"recurrence.anchor": stored["recurrence"]["anchor"] - 4 * HOUR, "recurrence.start_at": None}
    jobs.update_one({"_id": job_id}, {"$set": {**ago, "decided_until": stored["decided_until"] - 4 * HOUR}})
    await gateway.data("mutation ($id: ID!) { resume(id: $id) { __typename } }", id=job_id)

    await gateway.told(job_id, EventType.JOB_RESUMED)
    event = (await gateway.data(TOLD, id=job_id))["job"]["events"]["nodes"][-1]
    assert (event["passedOver"]["cause"], event["passedOver"]["count"]) == ("PAUSED", 4)
    last = datetime.fromisoformat(event["passedOver"]["last"])
    assert last - datetime.fromisoformat(event["passedOver"]["first"]) == 3 * HOUR
    assert datetime.fromisoformat(event["scheduledAt"]) == last + HOUR


async def test_a_job_whose_zone_is_gone_cannot_go_on_and_says_why(
    gateway: LiveGateway, jobs: Collection[dict[str, Any]]
) -> None:
    job_id = await gateway.dispatched(schedule={"cron": "0 0 1 1 *"})
    await gateway.data("mutation ($id: ID!) { pause(id: $id) { __typename } }", id=job_id)
    jobs.update_one({"_id": job_id}, {"$set": {"recurrence.tz": "Mars/Base"}})
    resume = "mutation ($id: ID!) { resume(id: $id) { __typename ... on Problem { code message } } }"
    refused = (await gateway.data(resume, id=job_id))["resume"]
    assert refused["__typename"] == "TransitionRefused"
    assert refused["message"].endswith("its schedule can no longer be followed: unknown time zone 'Mars/Base'")


async def test_a_pause_does_not_take_a_run_that_a_caller_asked_for_for_an_occurrence(
    gateway: LiveGateway, jobs: Collection[dict[str, Any]]
) -> None:
    job = failed_for_good()
    jobs.insert_one({**job_to_document(job), "outbox": [], "event_seq": 0})
    await gateway.data("mutation ($id: ID!) { retry(id: $id, delay: 3600000) { __typename } }", id=job.id)
    await gateway.data("mutation ($id: ID!) { pause(id: $id) { __typename } }", id=job.id)
    stored = jobs.find_one({"_id": job.id})
    assert stored is not None
    assert stored["status"] == "paused"
    assert stored["decided_until"] <= stored["updated_at"]
    told = [*stored["outbox"], *jobs.database["events"].find({"job_id": job.id})]
    assert [event.get("passed_over") for event in told] == [None] * len(told)


async def test_a_change_of_the_schedule_is_remembered_by_the_run_that_goes_on(
    gateway: LiveGateway, jobs: Collection[dict[str, Any]]
) -> None:
    job, _ = make_running(hourly("going_on"))
    jobs.insert_one({**job_to_document(job), "outbox": [], "event_seq": 0})
    change = "mutation ($id: ID!) { reschedule(id: $id, schedule: { every: 7200000 }) { __typename } }"
    assert (await gateway.data(change, id=job.id))["reschedule"]["__typename"] == "Job"
    stored = jobs.find_one({"_id": job.id})
    assert stored is not None
    # The gateway knows the database's clock by a round trip or so.
    assert timedelta(seconds=-1) < stored["updated_at"] - stored["decided_until"] < timedelta(seconds=30)


def failed_for_good() -> Job:
    """A recurring job of whose runs the last one has failed."""
    job = hourly("failed")
    assert job.recurrence is not None
    limited = replace(job.recurrence, max_executions=1)
    ended: dict[str, Any] = {"run": None, "next_run_at": None, "completed_at": job.created_at}
    return replace(job, status=JobStatus.FAILED, recurrence=limited, execution_count=1, **ended)
