"""Which events a webhook is told of, in which words, and what becomes of a delivery: ``mission/semantics.md`` §7."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.events import EventType
from jobs.feed import JobEvent, Snapshot
from jobs.filters import JobFilter
from jobs.job import JobError
from jobs.lifecycle import JobStatus
from jobs.webhooks import RETRIES, DeliveryStatus, Try, Verdict, Webhook, body_of, judge, told_as
from resolvers.webhooks import WebhookRequest, WebhookSet
from schema.webhooks import SetWebhookInput
from schema.webhooks import WebhookSet as ShownWebhookSet
from storage.webhooks import NewWebhook
from tests.factories import NOW, SECOND

OF_THE_PAGE = tuple(
    EventType(f"job.{name}")
    for name in ("scheduled", "started", "completed", "failed", "cancelled", "paused", "resumed")
)


def webhook(*events: EventType, **changes: Any) -> Webhook:
    plain = Webhook("wh_1", "https://example.com", events or OF_THE_PAGE, JobFilter(), None, None, 0, NOW)
    return replace(plain, **changes)


def event(type_: EventType, *, number: int = 1, begins_run: bool = True, **changes: Any) -> JobEvent:
    job = Snapshot(
        status=JobStatus.SCHEDULED,
        recurring=True,
        namespace="demo",
        task="echo",
        product="shop",
        env="prd",
        tags=(),
        scheduled_at=NOW + SECOND,
        effective_at=NOW,
        execution_count=3,
        error=None,
        idempotency_key=None,
    )
    return JobEvent(number, "job_1", 1, type_, NOW, None, None, replace(job, **changes), None, begins_run)


@pytest.mark.parametrize(
    ("happened", "told"),
    [
        (EventType.JOB_SCHEDULED, EventType.JOB_SCHEDULED),
        (EventType.JOB_RETRYING, EventType.JOB_SCHEDULED),
        (EventType.JOB_RESCHEDULED, EventType.JOB_SCHEDULED),
        (EventType.JOB_STARTED, EventType.JOB_STARTED),
        (EventType.JOB_COMPLETED, EventType.JOB_COMPLETED),
        (EventType.JOB_FAILED, EventType.JOB_FAILED),
        (EventType.JOB_CANCELLED, EventType.JOB_CANCELLED),
        (EventType.JOB_PAUSED, EventType.JOB_PAUSED),
        (EventType.JOB_RESUMED, EventType.JOB_RESUMED),
        (EventType.JOB_QUEUED, None),
        (EventType.JOB_PROGRESS, None),
        (EventType.JOB_DELETED, None),
    ],
)
def test_what_the_events_of_the_page_are(happened: EventType, told: EventType | None) -> None:
    assert told_as(webhook(), event(happened)) is told


def test_a_webhook_may_ask_for_the_events_of_the_log_by_their_own_names() -> None:
    asked = webhook(EventType.JOB_RETRYING, EventType.JOB_SCHEDULED, EventType.JOB_QUEUED)
    assert told_as(asked, event(EventType.JOB_RETRYING)) is EventType.JOB_RETRYING
    assert told_as(asked, event(EventType.JOB_QUEUED)) is EventType.JOB_QUEUED


def test_a_start_is_told_once_a_run() -> None:
    assert told_as(webhook(), event(EventType.JOB_STARTED, begins_run=False)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"since": 1},
        {"product": "other"},
        {"env": "stg"},
        {"filter": JobFilter(status=(JobStatus.FAILED,))},
        {"filter": JobFilter(ids=("job_2",))},
        {"filter": JobFilter(tags=("a",))},
    ],
)
def test_it_is_told_of_nothing_else_than_it_asked_for(changes: dict[str, Any]) -> None:
    assert told_as(webhook(**changes), event(EventType.JOB_COMPLETED)) is None


def test_what_matches_all_that_is_asked_is_told() -> None:
    asked = webhook(product="shop", env="prd", filter=JobFilter(namespace=("demo",)))
    assert told_as(asked, event(EventType.JOB_COMPLETED)) is EventType.JOB_COMPLETED


def test_the_body_is_that_of_the_page() -> None:
    body = json.loads(body_of(EventType.JOB_COMPLETED, event(EventType.JOB_COMPLETED), payloads=True))
    milliseconds = int(NOW.timestamp() * 1000)
    assert body == {
        "event": "job.completed",
        "timestamp": milliseconds,
        "job": {
            "id": "job_1",
            # What the event speaks of: the job itself is scheduled again by then.
            "status": "completed",
            "namespace": "demo",
            "task": "echo",
            "product": "shop",
            "env": "prd",
            "scheduled_at": milliseconds + 1000,
            "execution_count": 3,
        },
    }


@pytest.mark.parametrize(("payloads", "message"), [(True, "too slow"), (False, "TIMEOUT: …")])
def test_a_failure_comes_with_its_error_as_far_as_it_may_be_read(payloads: bool, message: str) -> None:
    failed = event(EventType.JOB_FAILED, error=JobError("TIMEOUT", "too slow"))
    told = json.loads(body_of(EventType.JOB_FAILED, failed, payloads=payloads))["job"]
    assert (told["status"], told["error"]) == ("failed", {"code": "TIMEOUT", "message": message})


def test_the_error_of_an_earlier_run_is_not_told_with_another_event() -> None:
    later = event(EventType.JOB_STARTED, error=JobError("TIMEOUT", "too slow"))
    assert "error" not in json.loads(body_of(EventType.JOB_STARTED, later, payloads=True))["job"]


def attempt(status: int | None = None, **changes: Any) -> Try:
    return replace(Try(NOW, SECOND, status, None if status else "no answer"), **changes)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_taken(status: int) -> None:
    assert judge(3, attempt(status), None, draw=0.5) == Verdict(DeliveryStatus.DELIVERED)


@pytest.mark.parametrize("status", [None, 199, 301, 307, 400, 404, 429, 500, 503])
@pytest.mark.parametrize("tries", range(len(RETRIES)))
def test_whatever_else_is_answered_is_tried_again(status: int | None, tries: int) -> None:
    verdict = judge(tries, attempt(status), NOW, draw=0.5)
    assert verdict == Verdict(DeliveryStatus.PENDING, next_attempt_at=NOW + SECOND + RETRIES[tries])


def test_the_waits_are_those_of_standard_webhooks() -> None:
    minutes = [wait / timedelta(minutes=1) for wait in RETRIES]
    assert minutes == [5 / 60, 5, 30, 120, 300, 600, 600]


def test_chance_moves_a_wait_by_a_tenth() -> None:
    waits = [judge(1, attempt(500), NOW, draw=draw).next_attempt_at for draw in (0.0, 1.0)]
    assert waits == [NOW + SECOND + timedelta(minutes=4.5), NOW + SECOND + timedelta(minutes=5.5)]


def test_a_receiver_may_ask_for_more_time_but_not_for_less_nor_for_ever() -> None:
    asked = [timedelta(minutes=1), timedelta(hours=1), timedelta(days=400)]
    waits = [judge(1, attempt(503, retry_after=one), NOW, draw=0.5).next_attempt_at for one in asked]
    expected = [timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)]
    assert waits == [NOW + SECOND + wait for wait in expected]


def test_after_the_last_retry_it_is_dead_and_says_why() -> None:
    verdict = judge(len(RETRIES), attempt(500), NOW, draw=0.5)
    assert verdict == Verdict(DeliveryStatus.DEAD, reason="failed 8 times, last: it answered 500")
    assert judge(len(RETRIES), attempt(), NOW, draw=0.5).reason == "failed 8 times, last: no answer"


def test_a_receiver_that_is_gone_is_not_asked_again() -> None:
    verdict = judge(0, attempt(410), NOW, draw=0.5)
    assert (verdict.status, verdict.disables) == (DeliveryStatus.DEAD, "it answered 410 Gone")
    # Whatever else it has answered.
    assert verdict.failing_since is None


@pytest.mark.parametrize(("failing", "disables"), [(timedelta(days=5), True), (timedelta(days=5) - SECOND, False)])
def test_five_days_of_nothing_but_failure_switch_a_webhook_off(failing: timedelta, disables: bool) -> None:
    verdict = judge(0, attempt(500), NOW - failing, draw=0.5)
    assert (verdict.disables is not None, verdict.status is DeliveryStatus.DEAD) == (disables, disables)
    # Whoever switches it off asks once more whether that is still so.
    assert verdict.failing_since == (NOW - failing if disables else None)


def test_a_secret_is_not_told_where_an_object_is_printed() -> None:
    request = WebhookRequest("https://example.com", OF_THE_PAGE, secret="tell nobody")
    given = SetWebhookInput(url="https://example.com", events=[], secret="tell nobody")
    new = NewWebhook("https://example.com", OF_THE_PAGE, JobFilter(), None, None, 0, b"tell nobody", NOW, payloads=True)
    answer = WebhookSet(webhook(), "tell nobody")
    for one in (request, given, new, answer, ShownWebhookSet.from_domain(answer)):
        assert "tell nobody" not in repr(one)
        assert "https://example.com" in repr(one)
