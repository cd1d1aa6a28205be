"""When a cron expression fires on the clocks of a time zone. The rules are those of ``mission/semantics.md`` §3.

What happens when clocks change is the convention of Vixie cron:

- An expression whose hour field begins with ``*`` follows the wall clock. It does not fire in the gap of a change, and
  fires both times in a repeated hour.
- Any other has fixed hours, and fires once for each of them: think of the highest reading the clock has shown so far;
  an occurrence is at the instant at which that reaches the reading it names. Hence what falls into a gap runs at the
  first instant after it, several such together run once, and a repeated hour brings nothing new.

croniter's own stepping fires fixed hours twice, moves ``0 */2`` out of the gap, and loses occurrences where clocks
change by half an hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from jobs.cron_calendar import MINUTE, CronFields, ceil_to_minute, floor_to_minute
from jobs.cron_syntax import CronError, parse_cron
from jobs.cron_zone import change_between, offset_at, time_zone
from jobs.times import EPOCH

__all__ = ["HORIZON", "CronError", "CronSchedule", "cron_schedule", "parse_cron", "time_zone"]

HORIZON = datetime(9998, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
"""No schedule has an occurrence after this, or before ``EPOCH``."""

_TICK = timedelta(microseconds=1)
_DAY = timedelta(days=1)
"""No zone has changed its clocks twice within a day since 1970, nor set them back by as much: equal offsets at both
ends of a day mean that there was no change."""


@lru_cache(maxsize=2048)
def cron_schedule(expression: str, tz: str) -> CronSchedule:
    """The schedule of ``expression`` in the IANA time zone ``tz``. Raises ``CronError`` when either is not accepted."""
    return CronSchedule(parse_cron(expression), time_zone(tz))


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """The instants at which a cron expression fires in a time zone. Instants are taken aware and answered in UTC."""

    fields: CronFields
    zone: ZoneInfo

    def next_after(self, instant: datetime) -> datetime | None:
        """The first occurrence strictly after ``instant``; None when there is none up to ``HORIZON``."""
        if instant >= HORIZON:
            return None
        instant = max(instant, EPOCH - _TICK).astimezone(UTC)
        found = self._next_on_wall(instant) if self.fields.follows_wall_clock else self._next_fixed(instant)
        return None if found is None or found > HORIZON else found

    def latest_at_or_before(self, instant: datetime) -> datetime | None:
        """The last occurrence at or before ``instant``; None when there is none since ``EPOCH``."""
        if instant < EPOCH:
            return None
        instant = min(instant, HORIZON).astimezone(UTC)
        found = self._latest_on_wall(instant) if self.fields.follows_wall_clock else self._latest_fixed(instant)
        return None if found is None or found < EPOCH else found

    def count(self, after: datetime, until: datetime, cap: int) -> int:
        """How many occurrences are in (after, until], at most ``cap``.

        Costs a step for each day with occurrences, and a step for each occurrence on days of a clock change.
        """
        total, found = 0, self.next_after(after)
        while found is not None and found <= until and total < cap:
            total += 1
            day_later = min(until.astimezone(UTC), found + _DAY)
            offset = offset_at(self.zone, found)
            if offset_at(self.zone, day_later) == offset:
                total += self.fields.count(found + offset, day_later + offset)
                found = self.next_after(day_later)
            else:
                found = self.next_after(found)
        return min(total, cap)

    def _next_fixed(self, instant: datetime) -> datetime | None:
        reading = self.fields.first_from(self._first_unreached(instant))
        return None if reading is None else self._reached_at(reading)

    def _latest_fixed(self, instant: datetime) -> datetime | None:
        reading = self.fields.last_until(self._first_unreached(instant) - MINUTE)
        return None if reading is None else self._reached_at(reading)

    def _first_unreached(self, instant: datetime) -> datetime:
        """The first full minute that the clock has not shown by ``instant``."""
        local = instant.astimezone(self.zone)
        if not local.fold:
            return floor_to_minute(local.replace(tzinfo=UTC)) + MINUTE
        # In the repeated hour: the clock has already shown what it was set back from.
        changed = change_between(self.zone, instant - _DAY, instant)
        return ceil_to_minute(changed + offset_at(self.zone, changed - _TICK))

    def _reached_at(self, reading: datetime) -> datetime:
        """The instant at which the clock first shows ``reading`` or, when it skips it, a later one."""
        instant = reading.replace(tzinfo=self.zone).astimezone(UTC)
        if instant + offset_at(self.zone, instant) == reading:
            return instant
        # In a gap, either fold counts with the offset of the other side: the change is between the two.
        before_change = reading.replace(tzinfo=self.zone, fold=1).astimezone(UTC)
        return change_between(self.zone, before_change, instant)

    def _next_on_wall(self, instant: datetime) -> datetime | None:
        """The first instant after ``instant`` at which the clock shows a named reading, going from change to change."""
        offset = offset_at(self.zone, instant)
        reading = self.fields.first_from(floor_to_minute(instant + offset) + MINUTE)
        while reading is not None:
            found = reading - offset
            ahead = min(found, instant + _DAY)
            if offset_at(self.zone, ahead) == offset:
                if ahead == found:
                    return found
                # Nothing is named for days, so they are skipped, up to where changes on the way no longer matter.
                instant = max(ahead, found - 2 * _DAY)
                offset = offset_at(self.zone, instant)
                continue
            instant = change_between(self.zone, instant, ahead)
            offset = offset_at(self.zone, instant)
            reading = self.fields.first_from(instant + offset)
        return None

    def _latest_on_wall(self, instant: datetime) -> datetime | None:
        """The last instant up to ``instant`` at which the clock shows a named reading, going back in the same way."""
        offset = offset_at(self.zone, instant)
        reading = self.fields.last_until(instant + offset)
        while reading is not None:
            found = reading - offset
            back = max(found, instant - _DAY)
            if offset_at(self.zone, back) == offset:
                if back == found:
                    return found
                instant = min(back, found + 2 * _DAY)
                offset = offset_at(self.zone, instant)
                continue
            changed = change_between(self.zone, back, instant)
            instant = changed - _TICK
            offset = offset_at(self.zone, instant)
            reading = self.fields.last_until(instant + offset)
        return None
