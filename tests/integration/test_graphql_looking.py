"""Looking around through GraphQL: nodes, the log, what is to come, workers, and pages by number."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.events import EventType
from tests.factories import SECOND
from tests.gateway import Answer, LiveGateway, inputs, serving
from worker.context import TaskContext

LATER: Final = "2099-01-01T00:00:00.000Z"

EVENTS: Final = """
    query ($filter: JobEventFilter, $first: Int! = 50, $after: String) {
        events(filter: $filter, first: $first, after: $after) {
            nodes { jobId seq type cursor job { id } }
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        }
    }
"""

PREVIEW: Final = """
    query ($schedule: ScheduleInput!, $count: Int! = 5) {
        schedulePreview(schedule: $schedule, count: $count) {
            __typename ... on SchedulePreview { runs } ... on InvalidInput { issues { path message } }
        }
    }
"""


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        yield gateway


async def echo(_: TaskContext, value: Any) -> Any:
    return value


async def events(gateway: LiveGateway, **arguments: object) -> Answer:
    answer: Answer = (await gateway.data(EVENTS, **arguments))["events"]
    return answer


async def told(gateway: LiveGateway, count: int) -> list[str]:
    """Have so many jobs dispatched, and all of it told."""
    ids = [await gateway.dispatched(input=number, schedule={"startAt": LATER}) for number in range(count)]
    for job_id in ids:
        await gateway.told(job_id, EventType.JOB_SCHEDULED)
    return ids


async def test_a_node_is_what_has_the_id(gateway: LiveGateway) -> None:
    job_id = await gateway.dispatched()
    document = "query ($id: ID!) { node(id: $id) { __typename id ... on Job { task } } }"
    found = await gateway.data(document, id=job_id)
    assert found["node"] == {"__typename": "Job", "id": job_id, "task": "echo"}
    assert await gateway.data(document, id="job_0") == {"node": None}


async def test_the_log_is_read_page_by_page(gateway: LiveGateway) -> None:
    ids = await told(gateway, 5)
    seen: list[str] = []
    after = None
    for size, more in ((2, True), (2, True), (2, False)):
        page = await events(gateway, first=size, after=after)
        seen += [event["jobId"] for event in page["nodes"]]
        assert page["pageInfo"]["hasNextPage"] is more
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        assert page["pageInfo"]["startCursor"] == page["nodes"][0]["cursor"]
        after = page["pageInfo"]["endCursor"]
    assert seen == ids
    # The end of the log is a cursor to come back with.
    empty = await events(gateway, after=after)
    assert (empty["nodes"], empty["pageInfo"]["hasNextPage"], empty["pageInfo"]["endCursor"]) == ([], False, after)
    [new] = await told(gateway, 1)
    assert [event["jobId"] for event in (await events(gateway, after=after))["nodes"]] == [new]


async def test_the_log_is_filtered_as_a_subscription_is(gateway: LiveGateway) -> None:
    ids = await told(gateway, 3)
    page = await events(gateway, filter={"types": ["JOB_SCHEDULED"], "jobs": {"ids": [ids[1]]}})
    assert [(event["jobId"], event["job"]["id"]) for event in page["nodes"]] == [(ids[1], ids[1])]
    assert (await events(gateway, filter={"types": ["JOB_FAILED"]}))["nodes"] == []
    nothing = await events(gateway, first=0)
    assert (nothing["nodes"], nothing["pageInfo"]["hasNextPage"]) == ([], True)
    assert len((await events(gateway, after=nothing["pageInfo"]["endCursor"]))["nodes"]) == 3


async def test_what_is_wrong_with_a_page_of_the_log_is_named(gateway: LiveGateway) -> None:
    for arguments, code in (({"first": 201}, "BAD_USER_INPUT"), ({"after": "nonsense"}, "BAD_CURSOR")):
        answer = await gateway.ask(EVENTS, **arguments)
        [error] = answer["errors"]
        assert error["extensions"]["code"] == code
        assert error["extensions"]["issues"][0]["path"] == list(arguments)


async def test_a_job_tells_what_has_happened_to_it(gateway: LiveGateway) -> None:
    async with gateway.worker({"demo.echo": echo}):
        job_id = await gateway.dispatched()
        await gateway.told(job_id, EventType.JOB_COMPLETED)
    document = """
        query ($id: ID!, $first: Int!, $after: String) {
            job(id: $id) { events(first: $first, after: $after) { nodes { seq type } pageInfo { hasNextPage endCursor } } }
        }
    """
    first = (await gateway.data(document, id=job_id, first=3))["job"]["events"]
    assert [event["type"] for event in first["nodes"]] == ["JOB_SCHEDULED", "JOB_QUEUED", "JOB_STARTED"]
    assert first["pageInfo"]["hasNextPage"] is True
    rest = (await gateway.data(document, id=job_id, first=3, after=first["pageInfo"]["endCursor"]))["job"]["events"]
    assert rest["nodes"] == [{"seq": 4, "type": "JOB_COMPLETED"}]
    assert rest["pageInfo"]["hasNextPage"] is False


async def test_what_belongs_to_the_jobs_of_a_list_is_read_together(
    gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]], database_name: str
) -> None:
    ids = await told(gateway, 20)
    database = mongodb[database_name]
    document = """{
        jobs { nodes {
            id
            history { totalExecutions }
            more: history(first: 1) { totalExecutions }
            events { nodes { jobId } }
        } }
    }"""
    database.command("profile", 2)
    nodes = (await gateway.data(document))["jobs"]["nodes"]
    database.command("profile", 0)
    assert {node["events"]["nodes"][0]["jobId"] for node in nodes} == set(ids)
    reads = database["system.profile"].find({"command.aggregate": "jobs"})
    # The sweeper's look at leases asks for no job by its id.
    asked = [read for read in reads if "_id" in read["command"]["pipeline"][0].get("$match", {})]
    # Two pages of history that differ in their size, and one of events: not sixty reads.
    assert len(asked) == 3


async def test_a_page_that_is_asked_for_wrongly_is_an_error_of_its_own(gateway: LiveGateway) -> None:
    job_id = await gateway.dispatched()
    document = "query ($id: ID!) { job(id: $id) { id history(first: 201) { jobId } } }"
    answer = await gateway.ask(document, id=job_id)
    [error] = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["job", "history"], "BAD_USER_INPUT")


async def test_the_next_runs_of_a_job(gateway: LiveGateway) -> None:
    recurring = await gateway.dispatched(schedule={"cron": "0 8 * * *", "tz": "Europe/Paris", "startAt": LATER})
    document = "query ($id: ID!, $count: Int! = 5) { job(id: $id) { upcomingRuns(count: $count) } }"
    answer = await gateway.data(document, id=recurring, count=2)
    assert answer["job"]["upcomingRuns"] == ["2099-01-01T07:00:00.000Z", "2099-01-02T07:00:00.000Z"]
    once = await gateway.dispatched(schedule={"startAt": LATER})
    assert (await gateway.data(document, id=once))["job"]["upcomingRuns"] == []
    refused = await gateway.ask(document, id=recurring, count=101)
    assert refused["errors"][0]["extensions"]["issues"][0]["path"] == ["count"]


async def test_a_schedule_is_tried_without_dispatching_anything(gateway: LiveGateway) -> None:
    schedule = {"cron": "30 1 * * *", "tz": "America/New_York", "startAt": "2099-11-01T00:00:00Z", "limit": 2}
    preview = (await gateway.data(PREVIEW, schedule=schedule))["schedulePreview"]
    # The clocks go back in that night: half past one comes twice, and counts once.
    assert preview["runs"] == ["2099-11-01T05:30:00.000Z", "2099-11-02T06:30:00.000Z"]
    once = (await gateway.data(PREVIEW, schedule={"startAt": LATER}))["schedulePreview"]
    assert once["runs"] == [LATER]
    assert (await gateway.list())["nodes"] == []


async def test_a_schedule_without_anything_runs_now(gateway: LiveGateway) -> None:
    before = gateway.services.clock.now()
    [run] = (await gateway.data(PREVIEW, schedule={}))["schedulePreview"]["runs"]
    # The clock may be set meanwhile, and a little back.
    assert -SECOND <= datetime.fromisoformat(run) - before < timedelta(seconds=20)


@pytest.mark.parametrize(
    ("schedule", "count", "path"),
    [
        ({"cron": "60 * * * *"}, 5, ["schedule", "cron"]),
        ({"cron": "0 0 30 2 *"}, 5, ["schedule", "cron"]),
        ({"every": 1000, "tz": "UTC"}, 5, ["schedule", "tz"]),
        ({"every": 1000}, 0, ["count"]),
        ({"every": 1000}, 101, ["count"]),
    ],
)
async def test_what_is_wrong_with_a_schedule_is_named(
    gateway: LiveGateway, schedule: Any, count: int, path: list[str]
) -> None:
    preview = (await gateway.data(PREVIEW, schedule=schedule, count=count))["schedulePreview"]
    assert preview["__typename"] == "InvalidInput"
    assert preview["issues"][0]["path"] == path


async def test_workers_are_shown_while_they_live(gateway: LiveGateway) -> None:
    document = "{ workers { id startedAt heartbeatAt running concurrency host } }"
    assert await gateway.data(document) == {"workers": []}
    async with gateway.worker({"demo.echo": echo}):
        [worker] = (await gateway.data(document))["workers"]
        assert worker["id"].startswith(f"{worker['host']}:")
        assert (worker["running"], worker["concurrency"]) == (0, 20)
        assert worker["startedAt"] <= worker["heartbeatAt"]


async def test_pages_by_number(gateway: LiveGateway) -> None:
    for name in "abcde":
        await gateway.dispatched(input=name)
    document = """
        query ($offset: Int, $last: Int) {
            jobs(first: 2, offset: $offset, last: $last) { nodes { input } pageInfo { hasNextPage hasPreviousPage } }
        }
    """
    for offset, expected, more in ((0, "ed", True), (2, "cb", True), (4, "a", False), (6, "", False)):
        page = (await gateway.data(document, offset=offset))["jobs"]
        assert inputs(page) == expected
        assert page["pageInfo"] == {"hasNextPage": more, "hasPreviousPage": offset > 0}


@pytest.mark.parametrize("arguments", ["offset: -1", "offset: 10001", 'offset: 1, after: "x"', "offset: 1, last: 2"])
async def test_an_offset_out_of_bounds_or_beside_a_cursor_is_refused(gateway: LiveGateway, arguments: str) -> None:
    answer = await gateway.ask(f"{{ jobs({arguments}) {{ nodes {{ id }} }} }}")
    [error] = answer["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["issues"][0]["path"] == ["offset"]
