from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.events import EventType
from jobs.feed import JobEvent, Snapshot, feed_cursor
from jobs.filters import EventFilter, JobFilter, matches
from jobs.job import JobError
from jobs.lifecycle import JobStatus
from tests.factories import NOW

SNAPSHOT = Snapshot(
    status=JobStatus.FAILED,
    recurring=True,
    namespace="billing",
    task="charge",
    product="shop",
    env="prd",
    tags=("a", "b"),
    scheduled_at=NOW,
    effective_at=NOW,
    execution_count=2,
    error=JobError("X", "broken"),
    idempotency_key="k",
)
LATER = NOW + timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, True),
        ({"ids": ("job_0", "job_1")}, True),
        ({"ids": ()}, False),
        ({"ids": ("job_2",)}, False),
        ({"status": (JobStatus.FAILED,)}, True),
        ({"status": (JobStatus.QUEUED,)}, False),
        ({"recurring": True}, True),
        ({"recurring": False}, False),
        ({"product": ("shop",)}, True),
        ({"product": ("other",)}, False),
        ({"env": ("dev", "prd")}, True),
        ({"env": ("dev",)}, False),
        ({"namespace": ("billing",)}, True),
        ({"namespace": ("feeds",)}, False),
        ({"task": ("charge",)}, True),
        ({"task": ("refund",)}, False),
        ({"tags": ("b", "a")}, True),
        ({"tags": ()}, False),
        ({"tags": ("a", "c")}, False),
        ({"from_": NOW}, True),  # from belongs to the range, to does not
        ({"from_": LATER}, False),
        ({"to": NOW}, False),
        ({"to": LATER}, True),
        ({"error_code": ("X",)}, True),
        ({"error_code": ("Y",)}, False),
        ({"idempotency_key": "k"}, True),
        ({"idempotency_key": "K"}, False),
        ({"product": ("shop",), "env": ("dev",)}, False),
    ],
)
def test_conditions(conditions: dict[str, Any], expected: bool) -> None:
    assert matches(JobFilter(**conditions), "job_1", SNAPSHOT) is expected


def test_a_job_without_an_error_has_no_code() -> None:
    assert not matches(JobFilter(error_code=("X",)), "job_1", replace(SNAPSHOT, error=None))


def test_event_filters_ask_for_the_type_and_the_job() -> None:
    wanted = EventFilter(types=(EventType.JOB_FAILED,), jobs=JobFilter(product=("shop",)))
    assert wanted.matches(EventType.JOB_FAILED, "job_1", SNAPSHOT)
    assert not wanted.matches(EventType.JOB_STARTED, "job_1", SNAPSHOT)
    assert not wanted.matches(EventType.JOB_FAILED, "job_1", replace(SNAPSHOT, product="other"))
    assert EventFilter().matches(EventType.JOB_STARTED, "job_1", SNAPSHOT)


def test_the_cursor_of_an_event_leads_behind_it() -> None:
    event = JobEvent(7, "job_1", 1, EventType.JOB_FAILED, NOW, None, None, SNAPSHOT)
    assert event.cursor == feed_cursor(7)
