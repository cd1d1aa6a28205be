"""How long a run waited for its turn, and how long after that: what chaos decides I13 by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.chaos.caller_checks import StartWait, in_turn, start_waits


def test_a_wait_is_from_queued_to_started() -> None:
    told = [_event("job.scheduled", 1), _event("job.queued", 2), _event("job.started", 5), _event("job.completed", 6)]

    assert list(start_waits(told)) == [StartWait("job_1", 2.0, 5.0)]


def test_each_attempt_of_a_job_waits() -> None:
    told = [_event("job.queued", 2), _event("job.started", 3), _event("job.queued", 7), _event("job.started", 8.5)]

    assert [wait.seconds for wait in start_waits(told)] == [1.0, 1.5]


@pytest.mark.parametrize(
    ("waits", "turns"),
    [
        pytest.param([(0, 3)], [3], id="alone"),
        pytest.param([(0, 10), (1, 11), (2, 12)], [10, 1, 1], id="one after the other: a queue on a slow machine"),
        pytest.param([(0, 30), (1, 2), (2, 3)], [30, 1, 1], id="the first was forgotten"),
        pytest.param([(0, 1), (1, 31), (2, 3), (3, 4)], [1, 30, 1, 1], id="one in the midst was forgotten"),
        pytest.param([(0, 40), (1, 41), (2, 42)], [40, 1, 1], id="all were forgotten, and found one after the other"),
        pytest.param([(5, 6), (0, 1)], [1, 1], id="in any order"),
    ],
)
def test_a_run_waits_from_the_last_start_of_an_earlier_one(
    waits: list[tuple[float, float]], turns: list[float]
) -> None:
    found = in_turn(StartWait(f"job_{place}", *wait) for place, wait in enumerate(waits))

    assert [turn for _, turn in found] == turns


def _event(kind: str, at: float) -> dict[str, Any]:
    return {"type": kind, "at": datetime.fromtimestamp(at, UTC), "job_id": "job_1"}
