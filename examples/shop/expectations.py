"""What a scenario expects of a job, and what is wrong with the job that it got."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from examples.shop.client import JsonObject


@dataclass(frozen=True, slots=True)
class Expectation:
    """How a job ends."""

    status: str = "COMPLETED"
    runs: int = 1
    retries: int = 0
    failed: int = 0
    """So many of the runs; all others succeed."""
    error_code: str | None = None
    results: tuple[Any, ...] | None = None
    """What the runs answer, from the first on; None when it does not matter."""

    def events(self) -> dict[str, int]:
        """How often each of these events is told of the job."""
        return {
            "JOB_STARTED": self.runs + self.retries,
            "JOB_RETRYING": self.retries,
            "JOB_COMPLETED": self.runs - self.failed,
            "JOB_FAILED": self.failed,
            "JOB_CANCELLED": int(self.status == "CANCELLED"),
        }


def differences(expected: Expectation, record: JsonObject, seen: list[JsonObject]) -> Iterator[str]:
    """Everything in which the job's ``record``, and the events ``seen`` of it, are not what they ought to be."""
    yield from _job_differences(expected, record["job"])
    yield from _history_differences(expected, record["history"])
    yield from _event_differences(expected, seen)


def _job_differences(expected: Expectation, job: JsonObject) -> Iterator[str]:
    yield from _unequal("status", job["status"], expected.status)
    yield from _unequal("executionCount", job["executionCount"], expected.runs)
    yield from _unequal("retryCount", job["retryCount"], expected.retries)
    yield from _unequal("errorCode", job["errorCode"], expected.error_code)


def _history_differences(expected: Expectation, history: JsonObject) -> Iterator[str]:
    yield from _unequal("history total", history["totalExecutions"], expected.runs)
    yield from _unequal("history successful", history["successfulExecutions"], expected.runs - expected.failed)
    yield from _unequal("history failed", history["failedExecutions"], expected.failed)
    numbers = [execution["number"] for execution in history["executions"]]
    yield from _unequal("history numbers", numbers, list(range(expected.runs, 0, -1)))
    if expected.results is not None:
        # The history is newest first.
        results = [execution["result"] for execution in reversed(history["executions"])]
        yield from _unequal("results", results, list(expected.results))


def _event_differences(expected: Expectation, seen: list[JsonObject]) -> Iterator[str]:
    numbers = [event["seq"] for event in seen]
    yield from _unequal("seq of the events seen", numbers, list(range(1, len(seen) + 1)))
    told = Counter(event["type"] for event in seen)
    for kind, count in expected.events().items():
        yield from _unequal(kind, told[kind], count)


def _unequal(name: str, actual: object, expected: object) -> Iterator[str]:
    if actual != expected:
        yield f"{name} {actual}, expected {expected}"
