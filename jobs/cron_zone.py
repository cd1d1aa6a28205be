"""The clock of a time zone: its offset at an instant, and when it changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from jobs.cron_syntax import CronError

_SECOND = timedelta(seconds=1)
_SHOWN = 64
_NOT_PLACES = {"Factory", "localtime", "posixrules"}
"""Files that lie among the zones on some machines."""


def time_zone(name: object) -> ZoneInfo:
    """The IANA time zone of that name, spelled exactly. Raises ``CronError`` when there is none."""
    # Asked of the list, not of the file system: what 'posix/UTC', 'utc' or '../etc' would do depends on the machine.
    if not isinstance(name, str) or name not in _known_zones():
        raise CronError(f"unknown time zone {_shortened(name)!r}")
    return ZoneInfo(name)


@cache
def _known_zones() -> frozenset[str]:
    return frozenset(available_timezones()) - _NOT_PLACES


def _shortened(name: object) -> object:
    return name[:_SHOWN] + "…" if isinstance(name, str) and len(name) > _SHOWN else name


def offset_at(zone: ZoneInfo, instant: datetime) -> timedelta:
    """How far the clock of ``zone`` is ahead of UTC at ``instant``, which is in UTC."""
    return instant.astimezone(zone).replace(tzinfo=UTC) - instant


def change_between(zone: ZoneInfo, early: datetime, late: datetime) -> datetime:
    """The first instant of the new offset, in (early, late]: two instants in UTC between which the offset changes once.

    Clocks change on whole seconds. It is found by halving, since ``zoneinfo`` does not tell its transitions.
    """
    before = offset_at(zone, early)
    low, high = early.replace(microsecond=0), late.replace(microsecond=0)
    while high - low > _SECOND:
        middle = low + _SECOND * ((high - low) // _SECOND // 2)
        if offset_at(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high
