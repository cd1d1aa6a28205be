"""Whom a dispatch concerns: nobody looks in vain while the job is on its way."""

from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.schedule import ScheduleSpec
from storage.signals import Topic
from tests.installation import Installation

LATER = ScheduleSpec(start_at=datetime(2099, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("changes", "outstanding", "woken"),
    [
        ({}, 0, {Topic.OUTBOX}),
        ({}, 200, {Topic.OUTBOX, Topic.BACKLOG}),
        ({"schedule": LATER}, 0, {Topic.OUTBOX, Topic.SCHEDULED}),
    ],
    ids=["nudged", "left to the feeder", "later"],
)
async def test_whom_a_dispatch_concerns_is_woken(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    outstanding: int,
    woken: set[Topic],
) -> None:
    told: set[Topic] = set()
    monkeypatch.setattr(installation.services.signals, "outstanding", outstanding)
    monkeypatch.setattr(installation.services.signals, "wake", lambda *topics: told.update(topics))
    await installation.dispatch(**changes)
    assert told == woken
