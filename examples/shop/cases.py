"""The scenarios as data: which jobs are dispatched, what is done to them on the way, and how they must end."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias

from examples.shop.client import Gateway, JsonObject
from examples.shop.expectations import Expectation

Act: TypeAlias = Callable[[Gateway, JsonObject], Awaitable[list[str]]]
"""Does something to a job that has just been dispatched; answers what did not go as it should."""

_ADA: Final = "ada@example.com"
_LESSONS: Final = ("knives", "stocks", "sauces", "bread")
_CANCELLED: Final = Expectation("CANCELLED", runs=0)


@dataclass(frozen=True, slots=True)
class Case:
    """One job of a scenario."""

    scenario: str
    what: str
    task: str
    """``namespace.task``"""
    input: JsonObject
    expected: Expectation = field(default_factory=Expectation)
    options: JsonObject = field(default_factory=dict)
    """What else the dispatch says: schedule, retries …"""
    act: Act | None = None

    def request(self, tag: str) -> JsonObject:
        """The argument of the mutation ``dispatch``."""
        namespace, _, task = self.task.partition(".")
        origin = {"product": "shop", "env": "example", "tags": [tag]}
        return {"namespace": namespace, "task": task, "input": self.input, **origin, **self.options}


def all_cases(*, quick: bool) -> list[Case]:
    """Scenarios A, C, D, E and I, with seconds where a shop would have days. ``quick``: none waits for a full minute."""
    return [
        *_welcome_series(),
        *_reminders(),
        *_crons(quick=quick),
        *_intervals(),
        *_billing(),
        *_cancellations(),
    ]


def _welcome_series() -> list[Case]:
    letters = {"welcome": 0, "first-order": 1, "favourites": 2, "come-back": 3}
    return [
        Case(
            "A",
            f"welcome series, +{seconds} s" if seconds else "welcome series, now",
            "notifications.send_email",
            {"to": _ADA, "letter": letter},
            options={"retries": 3, **(_once(seconds) if seconds else {})},
        )
        for letter, seconds in letters.items()
    ]


def _reminders() -> list[Case]:
    remind = partial(Case, "A", task="reminders.notify", input={"to": _ADA, "about": "the dentist"})
    poll = {"initialDelay": 200, "backoffMultiplier": 1, "retryableErrors": ["PENDING"]}
    return [
        remind("reminder, its time already past", options=_once(-3600)),
        remind("reminder, +2 s", options=_once(2)),
        remind(
            "reminder no longer needed",
            expected=_CANCELLED,
            options=_once(3600),
            act=_cancel("the task is done"),
        ),
        Case(
            "A",
            "payment polled to its end",
            "billing.poll_payment",
            {"payment": "p-1", "settlesAfter": 4},
            Expectation(retries=3, results=({"payment": "p-1", "settled": True, "polls": 4},)),
            {"retries": 5, "retryConfig": poll},
        ),
    ]


def _crons(*, quick: bool) -> list[Case]:
    hourly = Case(
        "C",
        "0 * * * *, cancelled",
        "reports.daily_sales",
        {},
        _CANCELLED,
        {"schedule": {"cron": "0 * * * *"}},
        _check_next_run(timedelta(hours=1)),
    )
    minutely = Case(
        "C",
        "* * * * *, limit 1",
        "reports.daily_sales",
        {},
        options={"retries": 0, "schedule": {"cron": "* * * * *", "limit": 1}},
    )
    six_hourly = Case(
        "C",
        "0 */6 * * *, two errors retried",
        "feeds.refresh",
        {"url": "https://supplier.example/prices"},
        _CANCELLED,
        {
            "retries": 3,
            "retryConfig": {"retryableErrors": ["TIMEOUT", "RATE_LIMITED"]},
            "schedule": {"cron": "0 */6 * * *"},
        },
        _check_next_run(timedelta(hours=6)),
    )
    return [hourly if quick else minutely, six_hourly]


def _intervals() -> list[Case]:
    given = tuple({"number": number, "lesson": name} for number, name in enumerate(_LESSONS, 1))
    return [
        Case(
            "D",
            "every 1 s, limit 3",
            "notifications.send_email",
            {"to": _ADA, "letter": "favourites"},
            Expectation(runs=3),
            {"schedule": {"every": 1000, "limit": 3}},
        ),
        Case(
            "D",
            "every 2 s until an end date",
            "reports.daily_sales",
            {"day": "2026-08-31"},
            Expectation(runs=3),
            # 0, 2 and 4 s from its own start, which leaves time to dispatch it; a run that takes long costs no other.
            {"schedule": {"every": 2000, "startAt": _after(6), "endDate": _after(11), "overlap": "QUEUE_ONE"}},
        ),
        Case(
            "D",
            "every 1 s, limit 4, by number",
            "series.lesson",
            {"lessons": list(_LESSONS)},
            Expectation(runs=4, results=given),
            {"schedule": {"every": 1000, "limit": 4}},
        ),
    ]


def _billing() -> list[Case]:
    final = ["CARD_DECLINED", "SUBSCRIPTION_CANCELLED"]
    options = {"retries": 5, "retryConfig": {"initialDelay": 200, "nonRetryableErrors": final}}
    charge = partial(Case, "E", task="billing.charge", options=options)
    failed = partial(Expectation, "FAILED", failed=1)
    return [
        charge("card declined, not retried", input=_charge("declined"), expected=failed(error_code=final[0])),
        charge("customer gone, not retried", input=_charge("no-subscription"), expected=failed(error_code=final[1])),
        charge("gateway busy, then charged", input=_charge("busy-once"), expected=Expectation(retries=1)),
    ]


def _cancellations() -> list[Case]:
    remind = partial(Case, "I", task="reminders.notify", input={"to": _ADA, "about": "the shoes"})
    cancelled = partial(remind, expected=_CANCELLED, options=_once(3600))
    return [
        cancelled("cancelled with a reason", act=_cancel("bought elsewhere")),
        cancelled("cancelled twice", act=_cancel_twice),
    ]


def _charge(card: str) -> JsonObject:
    return {"amount": 1990, "card": card}


def _once(seconds: float) -> JsonObject:
    return {"schedule": {"startAt": _after(seconds)}}


def _after(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def _cancel(reason: str) -> Act:
    async def act(gateway: Gateway, job: JsonObject) -> list[str]:
        answer = await gateway.cancel(job["id"], reason)
        return _unless(answer["cancelReason"] == reason, f"cancelReason {answer['cancelReason']!r}")

    return act


async def _cancel_twice(gateway: Gateway, job: JsonObject) -> list[str]:
    first = await gateway.cancel(job["id"], "ordered by mistake")
    second = await gateway.cancel(job["id"], "ordered by mistake, as I said")
    return _unless(second == first, f"the second cancel answered {second}, the first {first}")


def _check_next_run(step: timedelta) -> Act:
    """Its next run must be at the next whole ``step`` of the UTC day; then it is cancelled, for that is too long to wait."""

    async def act(gateway: Gateway, job: JsonObject) -> list[str]:
        created, planned = _instant(job["createdAt"]), _instant(job["nextRunAt"])
        due = datetime.fromtimestamp(math.ceil(created.timestamp() / step.total_seconds()) * step.total_seconds(), UTC)
        await gateway.cancel(job["id"], "seen")
        return _unless(planned == due, f"nextRunAt {planned}, expected {due}")

    return act


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _unless(condition: Any, complaint: str) -> list[str]:
    return [] if condition else [complaint]
