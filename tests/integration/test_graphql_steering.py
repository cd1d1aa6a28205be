"""Every action in every status, through GraphQL: the table of ``mission/semantics.md`` §1, and the documents behind it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient
from pymongo.collection import Collection

from gateway.devstack import Servers
from jobs.job import Job, JobError, Note
from jobs.lifecycle import TERMINAL, JobStatus
from jobs.schedule import ScheduleSpec
from storage.documents import job_to_document, run_to_document
from tests.factories import every, make_job, make_running
from tests.gateway import Answer, LiveGateway, serving_for_all
from tests.unit.test_lifecycle import CELLS

ARGUMENTS: Final = {
    "cancel": 'reason: "why"',
    "pause": 'reason: "why"',
    "resume": "",
    "reschedule": 'schedule: {startAt: "2099-01-01T00:00:00Z"}',
    "retry": "delay: 60000",
    "delete": "",
}
NUMBERS: Final = itertools.count(1)
HOUR: Final = timedelta(hours=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb) as gateway:
        yield gateway


@pytest.fixture
def jobs(mongodb: MongoClient[dict[str, Any]], gateway: LiveGateway) -> Collection[dict[str, Any]]:
    """What is stored."""
    return mongodb[gateway.gateway.database.name]["jobs"]


pytestmark = pytest.mark.asyncio(loop_scope="module")


def job_in(status: JobStatus, *, recurring: bool) -> Job:
    """A job as it would be in this status."""
    now = datetime.now(UTC).replace(microsecond=0)
    start = now + HOUR if status in (JobStatus.SCHEDULED, JobStatus.PAUSED) else now
    schedule = every(3600, start_at=start) if recurring else ScheduleSpec(start_at=start)
    job = make_job(job_id=f"job_{next(NUMBERS)}", now=now, schedule=schedule)
    if status in (JobStatus.SCHEDULED, JobStatus.QUEUED):
        assert job.status is status
        return job
    if status is JobStatus.PAUSED:
        return replace(job, status=status, next_run_at=None, paused=Note(now, "ann", "rest"))
    running, run = make_running(job, now=now)
    if status is JobStatus.RUNNING:
        # No sweeper is about to take it away.
        return replace(running, run=replace(run, lease_until=now + HOUR))
    error = JobError("BUSY", "no") if status is JobStatus.FAILED else None
    return replace(running, status=status, run=None, next_run_at=None, completed_at=now, last_error=error)


def stored(job: Job) -> dict[str, Any]:
    document = job_to_document(job) | {"outbox": [], "event_seq": 4}
    if job.paused is not None:
        document["paused"] = {"at": job.paused.at, "by": job.paused.by, "reason": job.paused.reason}
    if job.run is not None:
        document["run"] = run_to_document(job.run)
    return document


async def act(gateway: LiveGateway, action: str, job_id: str) -> Answer:
    given = f", {ARGUMENTS[action]}" if ARGUMENTS[action] else ""
    fragments = "... on DeletedJob { id }" if action == "delete" else "... on Job { id status allowedActions revision }"
    document = f"""
        mutation ($id: ID!) {{
            {action}(id: $id{given}) {{
                __typename
                {fragments}
                ... on TransitionRefused {{ action status job {{ id status }} code }}
            }}
        }}
    """
    answer: Answer = (await gateway.data(document, id=job_id))[action]
    return answer


TARGETS: Final = {
    ("cancel", "scheduled"): "cancelled",
    ("cancel", "queued"): "cancelled",
    ("cancel", "running"): "cancelled",
    ("cancel", "paused"): "cancelled",
    ("pause", "scheduled"): "paused",
    ("pause", "queued"): "paused",
    ("pause", "running"): "running",
    ("resume", "paused"): "scheduled",
    ("reschedule", "scheduled"): "scheduled",
    ("reschedule", "queued"): "scheduled",
    ("reschedule", "running"): "running",
    ("reschedule", "paused"): "paused",
    ("retry", "failed"): "scheduled",
}


@pytest.mark.parametrize(("action", "recurring", "status", "cell"), CELLS)
async def test_every_cell_of_the_table(
    gateway: LiveGateway, jobs: Collection[dict[str, Any]], action: str, recurring: bool, status: str, cell: str
) -> None:
    job = job_in(JobStatus(status), recurring=recurring)
    jobs.insert_one(stored(job))
    before = jobs.find_one({"_id": job.id})
    answer = await act(gateway, action, job.id)
    after = jobs.find_one({"_id": job.id})
    if cell == "no":
        assert answer == {
            "__typename": "TransitionRefused",
            "code": "TRANSITION_REFUSED",
            "action": action.upper(),
            "status": status.upper(),
            "job": {"id": job.id, "status": status.upper()},
        }
        assert after == before
    elif cell == "same":
        assert (answer["__typename"], answer["status"]) == ("Job", status.upper())
        assert after == before
    elif action == "delete":
        assert answer == {"__typename": "DeletedJob", "id": job.id}
        assert await gateway.job(job.id) is None
    else:
        assert (answer["__typename"], answer["status"]) == ("Job", TARGETS[action, status].upper())
        assert answer["revision"] == job.revision + 1


@pytest.mark.parametrize(("recurring", "status"), sorted({(recurring, status) for _, recurring, status, _ in CELLS}))
async def test_the_actions_that_a_job_allows_are_those_that_are_not_refused(
    gateway: LiveGateway, jobs: Collection[dict[str, Any]], recurring: bool, status: str
) -> None:
    job = job_in(JobStatus(status), recurring=recurring)
    jobs.insert_one(stored(job))
    answer = await gateway.data("query ($id: ID!) { job(id: $id) { allowedActions } }", id=job.id)
    allowed = {action.lower() for action in answer["job"]["allowedActions"]}
    assert allowed == {
        action
        for action, repeats, cell_status, cell in CELLS
        if (repeats, cell_status, cell) == (recurring, status, "ok")
    }


async def test_an_unknown_job_is_not_found_by_any_action(gateway: LiveGateway) -> None:
    for action in ARGUMENTS:
        assert (await act(gateway, action, "job_0"))["__typename"] == "NotFound"


RESCHEDULE: Final = """
    mutation ($id: ID!, $schedule: RescheduleInput!) {
        reschedule(id: $id, schedule: $schedule) {
            __typename
            ... on InvalidInput { issues { path message } }
            ... on Job { cron tz every startAt endDate limit nextRunAt executionCount }
        }
    }
"""


@pytest.mark.parametrize(
    ("schedule", "path", "message"),
    [
        ({}, ["schedule"], "give at least one of startAt, cron, tz, every, limit and endDate"),
        ({"cron": "60 * * * *"}, ["schedule", "cron"], None),
        ({"cron": "0 0 30 2 *"}, ["schedule", "cron"], None),
        ({"tz": "Mars/Olympus"}, ["schedule", "tz"], None),
        ({"cron": "0 * * * *", "every": 1000}, ["schedule", "cron"], "give cron or every, not both"),
        ({"every": 999}, ["schedule", "every"], None),
        ({"limit": 0}, ["schedule", "limit"], None),
        ({"endDate": "2000-01-01"}, ["schedule", "endDate"], "no run would be due any more"),
    ],
)
async def test_a_schedule_that_makes_no_sense_changes_nothing(
    gateway: LiveGateway, jobs: Collection[dict[str, Any]], schedule: Any, path: list[str], message: str | None
) -> None:
    job = job_in(JobStatus.SCHEDULED, recurring=True)
    jobs.insert_one(stored(job))
    before = jobs.find_one({"_id": job.id})
    answer = (await gateway.data(RESCHEDULE, id=job.id, schedule=schedule))["reschedule"]
    assert answer["__typename"] == "InvalidInput"
    assert answer["issues"][0]["path"] == path
    assert message in (None, answer["issues"][0]["message"])
    assert jobs.find_one({"_id": job.id}) == before


async def test_what_a_reschedule_leaves_out_stays(gateway: LiveGateway, jobs: Collection[dict[str, Any]]) -> None:
    schedule = ScheduleSpec(cron="0 9 * * *", tz="America/New_York", limit=9, start_at=datetime(2099, 1, 1, tzinfo=UTC))
    job = make_job(job_id=f"job_{next(NUMBERS)}", schedule=schedule)
    jobs.insert_one(stored(job))
    answer = (await gateway.data(RESCHEDULE, id=job.id, schedule={"cron": "0 10 * * *"}))["reschedule"]
    assert answer == {
        "__typename": "Job",
        "cron": "0 10 * * *",
        "tz": "America/New_York",
        "every": None,
        "startAt": "2099-01-01T00:00:00.000Z",
        "endDate": None,
        "limit": 9,
        "nextRunAt": "2099-01-01T15:00:00.000Z",
        "executionCount": 0,
    }


async def test_a_delay_out_of_bounds_is_refused(gateway: LiveGateway, jobs: Collection[dict[str, Any]]) -> None:
    job = job_in(JobStatus.FAILED, recurring=False)
    jobs.insert_one(stored(job))
    document = """
        mutation ($id: ID!) { retry(id: $id, delay: 31536000001) {
            __typename ... on InvalidInput { issues { path } } } }
    """
    answer = (await gateway.data(document, id=job.id))["retry"]
    assert answer == {"__typename": "InvalidInput", "issues": [{"path": ["delay"]}]}


async def test_pausing_with_too_long_a_reason_is_an_error(gateway: LiveGateway) -> None:
    document = 'mutation ($reason: String) { pause(id: "job_0", reason: $reason) { __typename } }'
    answer = await gateway.ask(document, reason="r" * 1001)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]


async def test_the_table_leaves_no_target_out() -> None:
    changing = {(action, status) for action, _, status, cell in CELLS if cell == "ok" and action != "delete"}
    assert changing == set(TARGETS)
    assert {status for action, _, status, cell in CELLS if (action, cell) == ("delete", "ok")} == set(TERMINAL)
