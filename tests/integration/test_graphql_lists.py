"""Reading lists of jobs and their history through GraphQL, page by page."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from gateway.devstack import Servers
from jobs.events import EventType
from tests.gateway import Answer, LiveGateway, inputs, serving
from worker.context import TaskContext

HISTORY: Final = """
    query ($id: ID!, $first: Int! = 20, $after: String) {
        history(jobId: $id, first: $first, after: $after) {
            jobId totalExecutions successfulExecutions failedExecutions
            executions { number status }
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        }
    }
"""

NOON: Final = datetime(2099, 1, 1, 12, tzinfo=UTC)
Jobs = Collection[dict[str, Any]]


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        yield gateway


@pytest.fixture
def jobs(mongodb: MongoClient[dict[str, Any]], database_name: str) -> Jobs:
    """What is stored."""
    return mongodb[database_name]["jobs"]


def after_noon(hours: int) -> str:
    return (NOON + timedelta(hours=hours)).isoformat()


def page_info(answer: Answer, *, next_: bool, previous: bool) -> Answer:
    """What should be told of a page that is not empty."""
    cursors = [edge["cursor"] for edge in answer["edges"]]
    edges = {"startCursor": cursors[0], "endCursor": cursors[-1]}
    return {"hasNextPage": next_, "hasPreviousPage": previous, **edges}


async def test_pages_lead_forward_and_back_again(gateway: LiveGateway) -> None:
    for name in "abcde":
        await gateway.dispatched(input=name)
    first = await gateway.list(first=2)
    assert (inputs(first), first["totalCount"]) == ("ed", {"value": 5, "exact": True})
    assert first["pageInfo"] == page_info(first, next_=True, previous=False)
    second = await gateway.list(first=2, after=first["pageInfo"]["endCursor"])
    assert (inputs(second), second["totalCount"]) == ("cb", {"value": 5, "exact": True})
    assert second["pageInfo"] == page_info(second, next_=True, previous=True)
    third = await gateway.list(first=2, after=second["pageInfo"]["endCursor"])
    assert inputs(third) == "a"
    assert third["pageInfo"] == page_info(third, next_=False, previous=True)
    back = await gateway.list(last=2, before=third["pageInfo"]["startCursor"])
    assert back["edges"] == second["edges"]
    assert back["pageInfo"] == page_info(back, next_=True, previous=True)
    last = await gateway.list(last=2)
    assert inputs(last) == "ba"
    assert last["pageInfo"] == page_info(last, next_=False, previous=True)
    within = await gateway.list(after=first["edges"][0]["cursor"], before=third["edges"][0]["cursor"])
    assert inputs(within) == "dcb"


async def test_jobs_that_arrive_meanwhile_do_not_shift_the_pages(gateway: LiveGateway) -> None:
    for name in "abc":
        await gateway.dispatched(input=name)
    first = await gateway.list(first=1)
    await gateway.dispatched(input="d")
    assert inputs(await gateway.list(first=2, after=first["pageInfo"]["endCursor"])) == "ba"


async def test_an_empty_page_has_no_cursors(gateway: LiveGateway) -> None:
    await gateway.dispatched(input="a")
    empty = await gateway.list(first=0)
    nothing = {"hasNextPage": True, "hasPreviousPage": False, "startCursor": None, "endCursor": None}
    assert (empty["nodes"], empty["pageInfo"]) == ([], nothing)


async def test_a_page_has_fifty_jobs_unless_asked_otherwise(gateway: LiveGateway) -> None:
    await asyncio.gather(*(gateway.dispatched(input="x") for _ in range(51)))
    answer = await gateway.list()
    assert (len(answer["nodes"]), answer["pageInfo"]["hasNextPage"]) == (50, True)
    assert len((await gateway.list(first=200))["nodes"]) == 51


# ---------------------------------------------------------------- history


async def echo(_: TaskContext, value: Any) -> Any:
    return value


async def test_the_run_of_a_job_is_read_in_its_history(gateway: LiveGateway) -> None:
    async with gateway.worker({"demo.echo": echo}):
        job_id = await gateway.dispatched(input={"n": 1})
        await gateway.told(job_id, EventType.JOB_COMPLETED)
    document = """
        query ($id: ID!) {
            job(id: $id) {
                status result startedAt completedAt scheduledAt executionCount
                history {
                    totalExecutions successfulExecutions failedExecutions
                    executions {
                        number scheduledFor startedAt completedAt durationMs status attempts error errorCode result
                    }
                }
            }
        }
    """
    job = (await gateway.data(document, id=job_id))["job"]
    started, completed = (datetime.fromisoformat(job[name]) for name in ("startedAt", "completedAt"))
    run = {
        "number": 1,
        "scheduledFor": job["scheduledAt"],
        "startedAt": job["startedAt"],
        "completedAt": job["completedAt"],
        "durationMs": (completed - started) // timedelta(milliseconds=1),
        "status": "COMPLETED",
        "attempts": 1,
        "error": None,
        "errorCode": None,
        "result": {"n": 1},
    }
    assert (job["status"], job["result"], job["executionCount"]) == ("COMPLETED", {"n": 1}, 1)
    assert job["history"] == {
        "totalExecutions": 1,
        "successfulExecutions": 1,
        "failedExecutions": 0,
        "executions": [run],
    }


async def dispatch_with_runs(gateway: LiveGateway, jobs: Jobs) -> str:
    """A recurring job that has run five times: the second run failed, the fourth was cancelled."""
    job_id = await gateway.dispatched(schedule={"every": 1000, "startAt": after_noon(0)})
    statuses = {1: "completed", 2: "failed", 3: "completed", 4: "cancelled", 5: "completed"}
    times = dict.fromkeys(["started_at", "completed_at"], NOON) | {"recurring": True}
    rest: dict[str, Any] = {"attempts": 1, "error": None, "result": None, "worker": "w"}
    jobs.database["executions"].insert_many(
        {"_id": f"{job_id}:{number}", "job_id": job_id, "number": number, "status": status}
        | {"scheduled_for": NOON + timedelta(seconds=number), **times, **rest}
        for number, status in statuses.items()
    )
    tally = {"completed": 3, "failed": 1, "cancelled": 1}
    jobs.update_one({"_id": job_id}, {"$set": {"tally": tally, "execution_count": 5}})
    return job_id


async def test_a_history_is_read_page_by_page_newest_first(gateway: LiveGateway, jobs: Jobs) -> None:
    job_id = await dispatch_with_runs(gateway, jobs)
    pages: list[list[tuple[int, str]]] = []
    after, more = None, True
    while more:
        history = (await gateway.data(HISTORY, id=job_id, first=2, after=after))["history"]
        totals = [history[f"{kind}Executions"] for kind in ("total", "successful", "failed")]
        assert (history["jobId"], totals) == (job_id, [5, 3, 1])
        assert history["pageInfo"]["hasPreviousPage"] is bool(pages)
        pages.append([(run["number"], run["status"]) for run in history["executions"]])
        after, more = history["pageInfo"]["endCursor"], history["pageInfo"]["hasNextPage"]
    assert pages == [[(5, "COMPLETED"), (4, "CANCELLED")], [(3, "COMPLETED"), (2, "FAILED")], [(1, "COMPLETED")]]


@pytest.mark.parametrize(
    ("arguments", "code", "path"),
    [
        ({"first": 201}, "BAD_USER_INPUT", "first"),
        ({"first": -1}, "BAD_USER_INPUT", "first"),
        ({"after": "nonsense"}, "BAD_CURSOR", "after"),
    ],
)
async def test_a_page_of_a_history_that_makes_no_sense_is_refused(
    gateway: LiveGateway, arguments: dict[str, Any], code: str, path: str
) -> None:
    answer = await gateway.ask(HISTORY, id=await gateway.dispatched(), **arguments)
    [error] = answer["errors"]
    assert answer["data"] == {"history": None}
    assert (error["extensions"]["code"], error["extensions"]["issues"][0]["path"]) == (code, [path])


async def test_a_list_shows_the_history_of_each_job(gateway: LiveGateway, jobs: Jobs) -> None:
    ran, new = await dispatch_with_runs(gateway, jobs), await gateway.dispatched()
    document = "{ jobs { nodes { id history(first: 1) { totalExecutions executions { number } } } } }"
    assert (await gateway.data(document))["jobs"]["nodes"] == [
        {"id": new, "history": {"totalExecutions": 0, "executions": []}},
        {"id": ran, "history": {"totalExecutions": 5, "executions": [{"number": 5}]}},
    ]
