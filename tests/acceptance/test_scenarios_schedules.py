"""Scenarios A to D and J of ``mission/semantics.md`` §8 that nobody can wait for: crons, intervals, moved runs.

``test_examples`` has those of A, C and D that come due while it waits, and E.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.events import EventType
from tests.gateway import Answer, LiveGateway, serving
from tests.passing import Past, instant, told_times, written
from worker.context import TaskContext
from worker.tasks import TaskError

NEW_YORK: Final = "America/New_York"
HOUR: Final = timedelta(hours=1)
WEEK: Final = timedelta(days=7)

RUNS: Final = "query ($id: ID!, $count: Int!) { job(id: $id) { nextRunAt upcomingRuns(count: $count) } }"

HISTORY: Final = """
    query ($id: ID!) { history(jobId: $id) { executions { number scheduledFor status errorCode result } } }
"""

RESCHEDULE: Final = """
    mutation ($id: ID!, $schedule: RescheduleInput!) {
        reschedule(id: $id, schedule: $schedule) { __typename ... on Job { status nextRunAt cron tz every startAt } }
    }
"""


async def echo(context: TaskContext, value: Any) -> Any:
    if value == "fail":
        raise TaskError("BROKEN", "as it was asked to")
    return context.execution if value == "number" else value


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway, gateway.worker({"demo.echo": echo}):
        yield gateway


@pytest.fixture
def past(gateway: LiveGateway, mongodb: MongoClient[dict[str, Any]]) -> Past:
    return Past(gateway, mongodb)


async def upcoming(gateway: LiveGateway, job_id: str, count: int) -> list[datetime]:
    """The next runs of a job, the first of which is its next one."""
    job = (await gateway.data(RUNS, id=job_id, count=count))["job"]
    runs = [instant(run) for run in job["upcomingRuns"]]
    assert written(runs[0]) == job["nextRunAt"]
    return runs


async def executions(gateway: LiveGateway, job_id: str) -> list[Answer]:
    """The runs of a job, the oldest first."""
    history = (await gateway.data(HISTORY, id=job_id))["history"]
    return list(reversed(history["executions"]))


# A


async def test_a_welcome_series_is_sent_over_a_week(gateway: LiveGateway, past: Past) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    later = [now + timedelta(hours=24), now + timedelta(days=3), now + timedelta(days=7)]
    first = await gateway.dispatched(input="welcome", retries=3)
    others = [
        await gateway.dispatched(input=n, retries=3, schedule={"startAt": written(at)}) for n, at in enumerate(later)
    ]
    await gateway.told(first, EventType.JOB_COMPLETED)
    for number, (job_id, at) in enumerate(zip(others, later, strict=True)):
        job = await gateway.job(job_id)
        assert (job["status"], job["nextRunAt"], job["executionCount"]) == ("SCHEDULED", written(at), 0)
        past.come_due(job_id)
        await gateway.told(job_id, EventType.JOB_COMPLETED)
        job = await gateway.job(job_id)
        assert (job["result"], job["nextRunAt"], job["executionCount"]) == (number, None, 1)


async def test_of_two_reminders_the_one_whose_time_is_past_is_sent_at_once(gateway: LiveGateway) -> None:
    meeting = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=5)
    day, hour = [
        await gateway.dispatched(schedule={"startAt": written(meeting - before)}) for before in (24 * HOUR, HOUR)
    ]
    await gateway.told(day, EventType.JOB_COMPLETED)
    job = await gateway.job(hour)
    assert (job["status"], job["nextRunAt"]) == ("SCHEDULED", written(meeting - HOUR))


async def test_a_sale_starts_and_ends(gateway: LiveGateway, past: Past) -> None:
    midnight = datetime(2099, 11, 27, tzinfo=UTC)
    start = await gateway.dispatched(input="prices down", schedule={"startAt": written(midnight)})
    end = await gateway.dispatched(input="prices up", schedule={"startAt": written(midnight + timedelta(days=4))})
    past.come_due(start)
    await gateway.told(start, EventType.JOB_COMPLETED)
    assert (await gateway.job(end))["status"] == "SCHEDULED"
    past.come_due(end)
    await gateway.told(end, EventType.JOB_COMPLETED)
    assert [(await gateway.job(job_id))["result"] for job_id in (start, end)] == ["prices down", "prices up"]


# B. In 2099 the clocks change on 8 March and 1 November in America, on 29 March in Europe, on 5 April in Australia.

CRONS: Final = [
    ("0 8 * * *", "Europe/Berlin", "2099-03-27T12:00", "2099-03-28T07:00 2099-03-29T06:00 2099-03-30T06:00"),
    ("0 8 * * *", "Asia/Kolkata", "2099-03-27T12:00", "2099-03-28T02:30 2099-03-29T02:30 2099-03-30T02:30"),
    ("0 8 * * *", "Australia/Sydney", "2099-04-03T12:00", "2099-04-03T21:00 2099-04-04T22:00 2099-04-05T22:00"),
    ("0 6 * * 1-5", NEW_YORK, "2099-03-05T12:00", "2099-03-06T11:00 2099-03-09T10:00 2099-03-10T10:00"),
    ("0 9 * * 1", NEW_YORK, "2099-02-25T12:00", "2099-03-02T14:00 2099-03-09T13:00 2099-03-16T13:00"),
    ("0 10 * * *", NEW_YORK, "2099-03-06T12:00", "2099-03-06T15:00 2099-03-07T15:00 2099-03-08T14:00"),
    (
        *("0 9,17 * * *", NEW_YORK, "2099-03-06T15:00"),
        "2099-03-06T22:00 2099-03-07T14:00 2099-03-07T22:00 2099-03-08T13:00 2099-03-08T21:00",
    ),
    (
        *("*/30 9-17 * * 1-5", NEW_YORK, "2099-03-06T21:45"),
        "2099-03-06T22:00 2099-03-06T22:30 2099-03-09T13:00 2099-03-09T13:30",
    ),
    ("0 2 * * *", "UTC", "2099-02-27T12:00", "2099-02-28T02:00 2099-03-01T02:00 2099-03-02T02:00"),
    ("0 3 1 * *", "UTC", "2099-02-27T12:00", "2099-03-01T03:00 2099-04-01T03:00 2099-05-01T03:00"),
    ("30 4 * * *", "UTC", "2099-02-27T12:00", "2099-02-28T04:30 2099-03-01T04:30 2099-03-02T04:30"),
    ("0 3 * * 0", "UTC", "2099-02-27T12:00", "2099-03-01T03:00 2099-03-08T03:00 2099-03-15T03:00"),
    ("0 4 * * *", "UTC", "2099-02-27T12:00", "2099-02-28T04:00 2099-03-01T04:00 2099-03-02T04:00"),
    ("0 1 * * *", "America/Los_Angeles", "2099-10-30T12:00", "2099-10-31T08:00 2099-11-01T08:00 2099-11-02T09:00"),
    (
        *("0 0 1 1,4,7,10 *", NEW_YORK, "2099-02-25T12:00"),
        "2099-04-01T04:00 2099-07-01T04:00 2099-10-01T04:00 2100-01-01T05:00",
    ),
    (
        *("0 23 L * *", NEW_YORK, "2099-12-25T12:00"),
        "2100-01-01T04:00 2100-02-01T04:00 2100-03-01T04:00 2100-04-01T03:00",
    ),
    ("0 9 * * 1#1", NEW_YORK, "2099-02-25T12:00", "2099-03-02T14:00 2099-04-06T13:00 2099-05-04T13:00"),
    (
        *("0 0 15W * *", NEW_YORK, "2099-02-25T12:00"),
        "2099-03-16T04:00 2099-04-15T04:00 2099-05-15T04:00 2099-06-15T04:00 2099-07-15T04:00 2099-08-14T04:00",
    ),
]


async def test_crons_with_a_zone_run_at_these_instants(gateway: LiveGateway) -> None:
    for cron, zone, start, expected in CRONS:
        wanted = [instant(text) for text in expected.split()]
        job_id = await gateway.dispatched(schedule={"cron": cron, "tz": zone, "startAt": start})
        assert await upcoming(gateway, job_id, len(wanted)) == wanted, (cron, zone)


# C


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 * * * *", "2099-02-28T19:00 2099-02-28T20:00"),
        ("0 */6 * * *", "2099-03-01T00:00 2099-03-01T06:00"),
        ("5 * * * *", "2099-02-28T19:05 2099-02-28T20:05"),
        ("*/5 * * * *", "2099-02-28T18:35 2099-02-28T18:40"),
        ("* * * * *", "2099-02-28T18:31 2099-02-28T18:32"),
    ],
)
async def test_crons_without_a_zone_run_in_utc(gateway: LiveGateway, cron: str, expected: str) -> None:
    job_id = await gateway.dispatched(schedule={"cron": cron, "startAt": "2099-02-28T18:30:01Z"})
    assert await upcoming(gateway, job_id, 2) == [instant(text) for text in expected.split()]


async def test_a_cron_survives_a_run_that_fails(gateway: LiveGateway, past: Past) -> None:
    # Half an hour from now, so that it comes due when it is made to and never else.
    last = (datetime.now(UTC) - timedelta(minutes=30)).replace(second=0, microsecond=0)
    job_id = await gateway.dispatched(input="fail", retries=0, schedule={"cron": f"{last.minute} * * * *"})
    first = past.come_due(job_id, last)
    await gateway.told(job_id, EventType.JOB_FAILED)
    job = await gateway.job(job_id)
    assert (job["status"], job["errorCode"], job["executionCount"]) == ("SCHEDULED", "BROKEN", 1)
    following = instant(job["nextRunAt"])
    assert following == first + timedelta(hours=1)
    past.come_due(job_id)
    await told_times(gateway, job_id, EventType.JOB_FAILED, 2)
    runs = await executions(gateway, job_id)
    assert [(run["number"], run["status"], run["errorCode"]) for run in runs] == [
        (1, "FAILED", "BROKEN"),
        (2, "FAILED", "BROKEN"),
    ]


# D


async def test_intervals_keep_their_grid_and_their_end(gateway: LiveGateway) -> None:
    start, year_end = datetime(2099, 12, 29, 18, tzinfo=UTC), datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC)
    intervals: list[tuple[dict[str, object], timedelta, int]] = [
        ({"every": 30_000}, timedelta(seconds=30), 20),
        ({"every": 3_600_000, "endDate": written(start + 5 * HOUR)}, HOUR, 6),
        ({"every": 604_800_000, "limit": 4}, WEEK, 4),
        ({"every": 86_400_000, "endDate": written(year_end)}, timedelta(days=1), 3),
    ]
    for schedule, step, count in intervals:
        job_id = await gateway.dispatched(schedule={"startAt": written(start), **schedule})
        assert await upcoming(gateway, job_id, 20) == [start + n * step for n in range(count)]


async def test_a_weekly_course_of_four_lessons_is_over_after_four_weeks(gateway: LiveGateway, past: Past) -> None:
    job_id = await gateway.dispatched(input="number", schedule={"every": 604_800_000, "limit": 4})
    begun = instant((await gateway.job(job_id))["createdAt"])
    for number in (1, 2, 3):
        await told_times(gateway, job_id, EventType.JOB_COMPLETED, number)
        job = await gateway.job(job_id)
        assert (job["status"], job["nextRunAt"], job["executionCount"]) == ("SCHEDULED", written(begun + WEEK), number)
        past.come_due(job_id)
    await told_times(gateway, job_id, EventType.JOB_COMPLETED, 4)
    job = await gateway.job(job_id)
    assert (job["status"], job["nextRunAt"], job["executionCount"]) == ("COMPLETED", None, 4)
    assert [run["result"] for run in await executions(gateway, job_id)] == [1, 2, 3, 4]


# J


async def test_a_job_is_put_off_by_two_hours(gateway: LiveGateway, past: Past) -> None:
    due = datetime.now(UTC).replace(microsecond=0) + HOUR
    job_id = await gateway.dispatched(schedule={"startAt": written(due)})
    later = written(due + 2 * HOUR)
    answer = (await gateway.data(RESCHEDULE, id=job_id, schedule={"startAt": later}))["reschedule"]
    assert (answer["__typename"], answer["status"], answer["nextRunAt"]) == ("Job", "SCHEDULED", later)
    await gateway.told(job_id, EventType.JOB_RESCHEDULED)
    past.come_due(job_id)
    await gateway.told(job_id, EventType.JOB_COMPLETED)
    assert (await gateway.job(job_id))["executionCount"] == 1


async def test_a_cron_moves_to_ten_in_new_york(gateway: LiveGateway) -> None:
    schedule = {"cron": "0 8 * * *", "startAt": "2099-03-07T00:00:00Z"}
    job_id = await gateway.dispatched(schedule=schedule)
    moved = {"cron": "0 10 * * *", "tz": NEW_YORK}
    answer = (await gateway.data(RESCHEDULE, id=job_id, schedule=moved))["reschedule"]
    assert {name: answer[name] for name in moved} == moved
    wanted = [instant(text) for text in ("2099-03-07T15:00", "2099-03-08T14:00")]
    assert await upcoming(gateway, job_id, 2) == wanted


async def test_an_interval_becomes_two_hours(gateway: LiveGateway) -> None:
    start = datetime(2099, 3, 7, tzinfo=UTC)
    job_id = await gateway.dispatched(schedule={"every": 3_600_000, "startAt": written(start)})
    answer = (await gateway.data(RESCHEDULE, id=job_id, schedule={"every": 7_200_000}))["reschedule"]
    assert (answer["status"], answer["every"]) == ("SCHEDULED", 7_200_000)
    assert await upcoming(gateway, job_id, 3) == [start, start + 2 * HOUR, start + 4 * HOUR]
