"""``stats`` through GraphQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from gateway.doctor import repair
from jobs.events import EventType
from jobs.job import JobError
from jobs.lifecycle import JobStatus
from schema.scalars import write_instant
from storage.documents import error_to_document, job_to_document
from storage.projection import Projection
from storage.statistics import StatisticsReader
from tests.factories import make_job
from tests.gateway import Answer, LiveGateway, serving

STATS: Final = """
    query ($filter: JobFilter, $bucket: StatsBucket! = HOUR) {
        stats(filter: $filter) {
            total scheduled queued running completed failed cancelled paused
            successRate completedFirstTry completedAfterRetry avgRetryCount
            executions {
                total successful failed successRate
                duration { p50 p95 p99 max } wait { p50 p95 p99 max }
                series(bucket: $bucket) { start successful failed duration { p50 max } }
            }
        }
    }
"""
NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STATUSES: Final = ("scheduled", "queued", "running", "completed", "failed", "cancelled", "paused")


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        yield gateway


async def stats(gateway: LiveGateway, bucket: str = "HOUR", **conditions: object) -> Answer:
    answer = await gateway.ask(STATS, filter=conditions or None, bucket=bucket)
    assert "errors" not in answer, answer
    found: Answer = answer["data"]["stats"]
    assert found["total"] == sum(found[status] for status in STATUSES)
    return found


async def store(gateway: LiveGateway) -> None:
    """Ten jobs that ran a minute apart, every other for another product; the last three failed, the last but three twice."""
    database = gateway.gateway.database
    jobs: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for number in range(10):
        at = NOW + timedelta(minutes=number)
        status = JobStatus.FAILED if number >= 7 else JobStatus.COMPLETED
        job = make_job(job_id=f"job_{number}", now=at, product=f"product_{number % 2}", tags=(f"tag_{number % 3}",))
        error = error_to_document(JobError("OOPS", "no")) if number >= 7 else None
        values = {"status": status.value, "retry_count": 2 if number >= 6 else 0, "run": None, "last_error": error}
        told: dict[str, Any] = {"outbox": [], "event_seq": 0, "completed_at": at, "effective_at": at}
        jobs.append(job_to_document(job) | values | told)
        started = at - timedelta(milliseconds=number)
        run: dict[str, Any] = {
            "status": status.value,
            "scheduled_for": at - timedelta(seconds=1),
            "started_at": started,
            "completed_at": at,
        }
        more = {"error": None, "result": None, "worker": None, "recurring": False, "attempts": 1, "number": 1}
        runs.append({"_id": f"{job.id}:1", "job_id": job.id, **run, **more})
    await database["jobs"].insert_many(jobs)
    await database["executions"].insert_many(runs)
    assert (await repair(gateway._settings))[-1].endswith("counters corrected")


async def test_an_empty_installation_has_zeros_and_no_percentiles(gateway: LiveGateway) -> None:
    zeros = {**dict.fromkeys(("total", *STATUSES, "completedFirstTry", "completedAfterRetry"), 0)}
    rates = {"successRate": 0, "avgRetryCount": 0}
    runs: Answer = {
        "total": 0,
        "successful": 0,
        "failed": 0,
        "successRate": 0,
        "duration": None,
        "wait": None,
        "series": [],
    }
    empty = {**zeros, **rates, "executions": runs}
    assert await stats(gateway) == empty
    assert await stats(gateway, product=["shop"], tags=["red"]) == empty
    assert await stats(gateway, **{"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}) == empty


async def test_everything_is_told(gateway: LiveGateway) -> None:
    await store(gateway)
    found = await stats(gateway)
    executions = found.pop("executions")
    assert {name: found[name] for name in ("total", "completed", "failed", "completedFirstTry")} == {
        "total": 10,
        "completed": 7,
        "failed": 3,
        "completedFirstTry": 6,
    }
    assert (found["completedAfterRetry"], found["successRate"], found["avgRetryCount"]) == (1, 70, 0.8)
    assert (executions["total"], executions["successful"], executions["failed"]) == (10, 7, 3)
    assert executions["duration"] == {"p50": 4, "p95": 9, "p99": 9, "max": 9}
    assert executions["wait"]["max"] == 1000
    assert executions["wait"]["p50"] == pytest.approx(1000, rel=1 / 64)
    bucket = await the_only(gateway, "DAY", **{"from": "2026-03-01T00:00:00Z"})
    assert (bucket["start"], bucket["successful"], bucket["failed"]) == ("2026-03-01T00:00:00.000Z", 7, 3)


async def the_only(gateway: LiveGateway, bucket: str, **conditions: object) -> Answer:
    [one] = (await stats(gateway, bucket, **conditions))["executions"]["series"]
    found: Answer = one
    return found


@pytest.mark.parametrize(
    ("conditions", "numbers"),
    [
        ({"product": ["product_1"]}, {1, 3, 5, 7, 9}),
        ({"product": ["product_0", "product_1"], "env": ["prd"]}, set(range(10))),
        ({"namespace": ["demo"], "task": ["echo"]}, set(range(10))),
        ({"task": ["other"]}, set()),
        ({"status": ["FAILED"]}, {7, 8, 9}),
        ({"tags": ["tag_0"]}, {0, 3, 6, 9}),
        ({"recurring": False}, set(range(10))),
        ({"recurring": True}, set()),
        ({"errorCode": ["OOPS"]}, {7, 8, 9}),
        ({"ids": ["job_2", "job_8"]}, {2, 8}),
        ({"from": "2026-03-01T12:02:00Z", "to": "2026-03-01T12:05:00Z"}, {2, 3, 4}),
        ({"from": "2026-03-01T12:01:30Z", "to": "2026-03-01T12:08:00.001Z", "product": ["product_0"]}, {2, 4, 6, 8}),
        ({"to": "2026-03-01T12:02:00Z", "tags": ["tag_0"]}, {0}),
    ],
)
async def test_every_condition_means_the_jobs_that_it_means(
    gateway: LiveGateway, conditions: dict[str, Any], numbers: set[int]
) -> None:
    await store(gateway)
    found = await stats(
        gateway, "MINUTE", **{"from": "2026-03-01T00:00:00Z", "to": "2026-03-01T20:00:00Z"} | conditions
    )
    assert (found["total"], found["failed"]) == (len(numbers), len(numbers & {7, 8, 9}))
    assert found["executions"]["total"] == len(numbers)
    starts = [bucket["start"] for bucket in found["executions"]["series"]]
    assert starts == [write_instant(NOW + timedelta(minutes=number)) for number in sorted(numbers)]
    durations = [bucket["duration"]["max"] for bucket in found["executions"]["series"]]
    assert durations == sorted(numbers)


async def test_what_is_dispatched_is_counted_by_the_gateway_that_relays(gateway: LiveGateway) -> None:
    await gateway.told(await gateway.dispatched(), EventType.JOB_QUEUED)
    # The relay may have come so far or not; whatever is in the log can be folded by anybody.
    while await Projection(gateway.gateway.database).fold():
        pass
    assert (await stats(gateway))["queued"] == 1


async def test_too_long_a_series_is_refused_by_its_argument(gateway: LiveGateway) -> None:
    conditions = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
    [error] = (await gateway.ask(STATS, filter=conditions, bucket="MINUTE"))["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert [issue["path"] for issue in error["extensions"]["issues"]] == [["bucket"]]
    assert (await stats(gateway, "HOUR", **conditions))["total"] == 0


async def test_nothing_is_read_that_is_not_selected(gateway: LiveGateway) -> None:
    await store(gateway)
    database = gateway.gateway.database
    await database.command("profile", 2)
    await gateway.ask("{ stats { total } }")
    await database.command("profile", 0)
    assert await database["system.profile"].count_documents({"command.aggregate": "statistics"}) == 1


async def test_a_question_that_takes_too_long_has_a_code(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = gateway.services.statistics
    slow = StatisticsReader(gateway.gateway.database, timeout_ms=1)
    monkeypatch.setattr(reader, "_timeout_ms", slow._timeout_ms)
    await gateway.gateway.database["jobs"].insert_many(
        [{"deleted_at": None, "status": "queued", "retry_count": 0, "created_at": NOW} for _ in range(20_000)]
    )
    [error] = (await gateway.ask(STATS, filter={"recurring": False}))["errors"]
    assert error["extensions"] == {"code": "STATS_TIMEOUT"}


@pytest.mark.parametrize(
    "conditions", [{"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, {"ids": ["x"] * 1001}]
)
async def test_a_filter_that_no_list_takes_is_refused_here_too(
    gateway: LiveGateway, conditions: dict[str, Any]
) -> None:
    [error] = (await gateway.ask(STATS, filter=conditions))["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
