from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.dispatch import RetrySpec, TaskTerms, dispatch_events, new_job, request_hash
from jobs.errors import InvalidInput
from jobs.events import EventType
from jobs.lifecycle import JobStatus
from jobs.schedule import ScheduleSpec
from tests.factories import NOW, SECOND, every, make_job, make_request

PLAIN = TaskTerms()


def issues_of(terms: TaskTerms | None = PLAIN, **changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        new_job(make_request(**changes), terms, job_id="job_1", now=NOW, path=("input",))
    return {".".join(issue.path): issue.message for issue in refused.value.issues}


def test_a_job_without_a_schedule_is_due_at_once() -> None:
    job = make_job()
    assert job.status is JobStatus.QUEUED
    assert job.scheduled_at == NOW
    assert job.next_run_at is None
    assert job.run is not None
    assert (job.run.number, job.run.attempt, job.run.scheduled_for) == (1, 1, NOW)
    assert dispatch_events(job) == (EventType.JOB_SCHEDULED, EventType.JOB_QUEUED)


def test_a_future_job_is_scheduled() -> None:
    job = make_job(schedule=ScheduleSpec(start_at=NOW + SECOND))
    assert job.status is JobStatus.SCHEDULED
    assert job.next_run_at == job.scheduled_at == NOW + SECOND
    assert job.run is None
    assert dispatch_events(job) == (EventType.JOB_SCHEDULED,)


def test_a_start_in_the_past_is_now() -> None:
    job = make_job(schedule=ScheduleSpec(start_at=NOW - timedelta(days=1)))
    assert job.status is JobStatus.QUEUED
    assert job.scheduled_at == NOW


def test_an_interval_that_begins_now_takes_its_first_occurrence_at_once() -> None:
    job = make_job(schedule=every(30, limit=3))
    assert job.status is JobStatus.QUEUED
    assert job.run is not None
    assert job.run.scheduled_for == NOW
    assert job.next_run_at == NOW + 30 * SECOND


def test_the_task_may_ask_for_more_retries_and_lend_its_timeout() -> None:
    terms = TaskTerms(retries=3, timeout=timedelta(seconds=5))
    assert (make_job(terms=terms).retries, make_job(terms=terms).timeout) == (3, timedelta(seconds=5))
    asked = make_job(terms=terms, retries=7, timeout_ms=1500)
    assert (asked.retries, asked.timeout) == (7, timedelta(seconds=1.5))


def test_tags_are_kept_once_and_in_order() -> None:
    assert make_job(tags=("b", "a", "b")).tags == ("b", "a")


@pytest.mark.parametrize(
    ("changes", "path", "part"),
    [
        ({"product": ""}, "input.product", "1 to 128 characters"),
        ({"env": "a\nb"}, "input.env", "control character"),
        ({"tags": ("ok", "")}, "input.tags.1", "1 to 128 characters"),
        ({"tags": ("t",) * 51}, "input.tags", "51 tags"),
        ({"priority": 1001}, "input.priority", "between -1000 and 1000, not 1001"),
        ({"retries": -1}, "input.retries", "between 0 and 1000, not -1"),
        ({"timeout_ms": 0}, "input.timeout", "between 1 and"),
        ({"timeout_ms": 2592000001}, "input.timeout", "between 1 and 2592000000"),
        ({"idempotency_key": ""}, "input.idempotencyKey", "1 to 255 characters"),
        ({"input": {"n": 2**53 + 1}}, "input.input", "integer beyond 2^53 at n"),
        ({"input": "x" * 262_145}, "input.input", "262147 bytes of JSON"),
        ({"retry": RetrySpec(initial_delay_ms=-1)}, "input.retryConfig.initialDelay", "between 0"),
        ({"retry": RetrySpec(max_delay_ms=999)}, "input.retryConfig.maxDelay", "not be less than initialDelay"),
        ({"retry": RetrySpec(backoff_multiplier=0.5)}, "input.retryConfig.backoffMultiplier", "between 1.0"),
        ({"retry": RetrySpec(backoff_multiplier=float("nan"))}, "input.retryConfig.backoffMultiplier", "not nan"),
        ({"retry": RetrySpec(jitter=1.01)}, "input.retryConfig.jitter", "between 0.0 and 1.0"),
        ({"retry": RetrySpec(retryable_errors=("",))}, "input.retryConfig.retryableErrors", "a code must be"),
        ({"retry": RetrySpec(retryable_errors=("x",) * 101)}, "input.retryConfig.retryableErrors", "101 codes"),
        (
            {"retry": RetrySpec(retryable_errors=("A", "B"), non_retryable_errors=("B",))},
            "input.retryConfig.nonRetryableErrors",
            "'B' is among the retryableErrors as well",
        ),
        ({"schedule": ScheduleSpec(cron="61 * * * *")}, "input.schedule.cron", "61"),
        ({"schedule": ScheduleSpec(cron="* * * * *", tz="Mars/Base")}, "input.schedule.tz", "Mars/Base"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], path: str, part: str) -> None:
    issues = issues_of(**changes)
    assert list(issues) == [path]
    assert part in issues[path]


def test_an_unknown_task_is_named() -> None:
    assert issues_of(None) == {"input.task": "no worker has ever offered the task 'demo.echo'"}


def test_everything_that_is_wrong_is_told_at_once() -> None:
    both = ScheduleSpec(cron="* * * * *", every_ms=5000)
    assert set(issues_of(None, retries=-1, schedule=both)) == {
        "input.task",
        "input.retries",
        "input.schedule.cron",
        "input.schedule.every",
    }


def test_an_idempotency_key_remembers_its_request() -> None:
    request = make_request(idempotency_key="k", input={"a": 1, "b": {"c": 2, "d": 3}})
    job = new_job(request, TaskTerms(), job_id="job_1", now=NOW, path=())
    assert job.idempotency is not None
    assert job.idempotency.key == "k"
    reordered = replace(request, input={"b": {"d": 3, "c": 2}, "a": 1})
    assert job.idempotency.request_hash == request_hash(reordered)
    for other in ({"retries": 1}, {"input": {"a": 2}}, {"schedule": every(5)}, {"tags": ("t",)}):
        assert request_hash(replace(request, **other)) != job.idempotency.request_hash
