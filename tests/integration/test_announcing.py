"""Whom a dispatch concerns: nobody looks in vain while the job is on its way."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.schedule import ScheduleSpec
from storage.signals import Signals, Topic
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


async def test_once_it_is_closed_nothing_is_being_sent_any_more(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where Redis does not answer: its pool is closed next, and the pipeline goes back to it before."""
    ended = False

    async def send(*_: object) -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            # As a pipeline takes some time to be given back.
            await asyncio.sleep(0.05)
            ended = True

    signals = Signals(installation.services.signals._redis, "somewhere")
    monkeypatch.setattr(signals, "_send", send)
    signals.wake(Topic.OUTBOX)
    await signals.close()
    assert ended
