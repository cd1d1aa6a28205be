"""The occurrences of a cron that ``jobs.cron`` finds strictly between two instants, in each of the ways to go."""

from __future__ import annotations

from datetime import datetime, timedelta

from jobs.cron import cron_schedule

_SECOND = timedelta(seconds=1)


def forwards(expression: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    schedule, found = cron_schedule(expression, zone), []
    instant = schedule.next_after(start)
    while instant is not None and instant < end:
        found.append(instant)
        instant = schedule.next_after(instant)
    return found


def backwards(expression: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """The last one first."""
    schedule, found = cron_schedule(expression, zone), []
    instant = schedule.latest_at_or_before(end - _SECOND)
    while instant is not None and instant > start:
        found.append(instant)
        instant = schedule.latest_at_or_before(instant - _SECOND)
    return found


def counted(expression: str, zone: str, start: datetime, end: datetime) -> int:
    return cron_schedule(expression, zone).count(start, end - _SECOND, 10_000)
