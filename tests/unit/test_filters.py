from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.events import EventType
from jobs.feed import JobEvent, Snapshot, feed_cursor
from jobs.filters import EventFilter, JobFilter, matches
from jobs.job import JobError
from jobs.lifecycle import JobStatus
from jobs.origins import CredentialKind, Origin, OriginFilter
from tests.factories import NOW, SECOND

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
EVENT = JobEvent(7, "job_1", 1, EventType.JOB_FAILED, NOW, None, None, SNAPSHOT)


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
    assert wanted.matches(EVENT)
    assert not wanted.matches(replace(EVENT, type=EventType.JOB_STARTED))
    assert not wanted.matches(replace(EVENT, snapshot=replace(SNAPSHOT, product="other")))
    assert EventFilter().matches(replace(EVENT, type=EventType.JOB_STARTED))


def test_event_filters_ask_for_a_time_from_its_first_instant_up_to_its_end() -> None:
    wanted = EventFilter(from_=NOW, to=NOW + SECOND)
    assert wanted.matches(EVENT)
    assert not wanted.matches(replace(EVENT, at=NOW - SECOND))
    assert not wanted.matches(replace(EVENT, at=NOW + SECOND))


def test_event_filters_ask_for_who_asked() -> None:
    asked = replace(EVENT, actor="ann", origin=Origin(CredentialKind.KEY, "k1", None, "192.0.2.1"))
    for origin, is_meant in (
        (OriginFilter(by=("bob", "ann")), True),
        (OriginFilter(by=("bob",)), False),
        (OriginFilter(credential=("k1",)), True),
        (OriginFilter(credential=("k2",)), False),
        (OriginFilter(address=("192.0.2.1",)), True),
        (OriginFilter(address=("192.0.2.2",)), False),
        (OriginFilter(by=("ann",), address=("192.0.2.2",)), False),
        (OriginFilter(by=()), False),
    ):
        assert EventFilter(origin=origin).matches(asked) is is_meant
        # The name alone proves nothing: what the machine does by itself has one at times.
        assert not EventFilter(origin=origin).matches(replace(asked, origin=None))


def test_the_cursor_of_an_event_leads_behind_it() -> None:
    assert EVENT.cursor == feed_cursor(7)
