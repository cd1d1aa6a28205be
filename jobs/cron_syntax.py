"""Reading a cron expression: what is accepted, and what is said about the rest (``mission/semantics.md`` §3).

croniter expands the fields, but it is given only what was checked here. On its own it takes six fields, ``@daily``,
``R`` and ``*/90``, and reads ``5-5`` as every minute.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from croniter import croniter

from jobs.cron_calendar import LAST, CronFields, DayRule
from jobs.errors import JobgateError

MAX_LENGTH = 128

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS_IN_FULL = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_NUMBERS_IN_WORDS = {0: "none", 1: "one", 2: "two", 3: "three", 4: "four", 6: "six", 7: "seven"}
_ITEM = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\w+))?")
_PLACEHOLDERS = {"h": "H (hashed)", "r": "R (random)", "?": "?"}


class CronError(JobgateError):
    """A schedule that cannot be computed; the message tells a person what is wrong with it."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    cycle_end: int | None = None
    """The last value of ``*``, where that is not ``high``: the day of week 7 is Sunday again."""

    @property
    def last_of_cycle(self) -> int:
        return self.high if self.cycle_end is None else self.cycle_end


_MINUTE = _Field("minute", 0, 59)
_HOUR = _Field("hour", 0, 23)
_DAY = _Field("day of month", 1, 31)
_MONTH = _Field("month", 1, 12, _MONTHS)
_WEEKDAY = _Field("day of week", 0, 7, _WEEKDAYS, cycle_end=6)
_FIELDS = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)


def parse_cron(expression: object) -> CronFields:
    """Check ``expression`` and expand it. Raises ``CronError`` for what is not accepted, and for what never fires."""
    if not isinstance(expression, str):
        raise CronError("a cron is a text of five fields")
    return _parsed(expression)


# Cached apart from the zone: the same expression in a hundred zones is parsed, and kept, once.
@lru_cache(maxsize=2048)
def _parsed(expression: str) -> CronFields:
    texts = _split(expression)
    checked = [_checked(field, text) for field, text in zip(_FIELDS, texts, strict=True)]
    # A start time is given so that croniter does not read the clock; it plays no part in the expansion.
    parsed = croniter(" ".join(checked), 0)
    fields = _fields(parsed, texts)
    _refuse_what_never_comes(fields.days)
    return fields


def _split(expression: str) -> list[str]:
    """The five fields, in lower case."""
    if len(expression) > MAX_LENGTH:
        raise CronError(f"a cron has at most {MAX_LENGTH} characters, this has {len(expression)}")
    if not (expression.isascii() and expression.isprintable()):
        raise CronError("a cron has only letters, digits, spaces and the signs * , - / # of ASCII")
    texts = expression.lower().split()
    if texts and texts[0].startswith("@"):
        raise CronError(f"aliases such as {texts[0]} are not accepted: write five fields, such as 0 0 * * *")
    if len(texts) != len(_FIELDS):
        count = _NUMBERS_IN_WORDS.get(len(texts), str(len(texts)))
        raise CronError(f"a cron has exactly five fields, this has {count}")
    return texts


def _checked(field: _Field, text: str) -> str:
    """The field as croniter is to read it."""
    items = text.split(",")
    for item in items:
        _refuse_placeholders(field, item)
    if field is _DAY:
        return ",".join(_checked_day(item, alone=len(items) == 1) for item in items)
    if field is _WEEKDAY:
        return _checked_weekdays(items)
    return ",".join(_checked_item(field, item) for item in items)


def _refuse_placeholders(field: _Field, item: str) -> None:
    if not item:
        raise CronError(f"the {field.name} field has an empty entry")
    for sign, spoken in _PLACEHOLDERS.items():
        if sign in item and (sign == "?" or re.match(rf"{sign}(?![a-z])", item)):
            raise CronError(f"{spoken} is not accepted in the {field.name} field: give the value itself")


def _checked_day(item: str, *, alone: bool) -> str:
    if item == "l":
        return item
    if not item.endswith("w"):
        return _checked_item(_DAY, item)
    if not item[:-1].isdecimal():
        raise CronError(f"{item.upper()!r} is not understood: the weekday nearest to the 15th is written 15W")
    if not alone:
        raise CronError(f"{item.upper()} must stand alone in the day of month field")
    return f"{_value(_DAY, item[:-1])}w"


def _checked_weekdays(items: Sequence[str]) -> str:
    checked = [_checked_weekday(item) for item in items]
    special = [item for item in checked if "#" in item or item.startswith("l")]
    if special and len(special) < len(checked):
        raise CronError("the day of week field cannot mix plain days with 1#2 or L5")
    return ",".join(checked)


def _checked_weekday(item: str) -> str:
    if re.fullmatch(r"\w*l|l[a-z]+", item):
        raise CronError(f"{item.upper()!r} is not understood in the day of week field: the last Friday is written L5")
    if item.startswith("l"):
        return f"l{_value(_WEEKDAY, item[1:])}"
    if "#" not in item:
        return _checked_item(_WEEKDAY, item)
    day, nth = item.split("#", 1)
    if nth not in {"1", "2", "3", "4", "5"}:
        raise CronError(f"{item!r} is not understood: the second Monday is written 1#2, up to 1#5")
    return f"{_value(_WEEKDAY, day)}#{nth}"


def _checked_item(field: _Field, item: str) -> str:
    """``*``, a value, a range, or one of these with a step."""
    match = _ITEM.fullmatch(item)
    if match is None:
        raise CronError(f"{item!r} is not understood in the {field.name} field")
    first, last = _bounds(field, item, match["first"], match["last"])
    if match["step"] is not None:
        _check_step(field, match["step"], first, last if match["last"] else field.last_of_cycle)
        return item
    # croniter takes a range from a value to itself for the whole cycle.
    return str(first) if first == last else item


def _bounds(field: _Field, item: str, first: str, last: str | None) -> tuple[int, int]:
    if first == "*":
        if last is not None:
            raise CronError(f"{item!r} is not understood in the {field.name} field")
        return field.low, field.last_of_cycle
    start = _value(field, first)
    end = start if last is None else _value(field, last)
    if end < start:
        hint = ", and Sunday at the end of a range is 7" if field is _WEEKDAY and end == 0 else ""
        raise CronError(f"the {field.name} range {first}-{last} runs backwards: ranges do not wrap around{hint}")
    return start, end


def _value(field: _Field, text: str) -> int:
    if text in field.names:
        return field.low + field.names.index(text)
    if not text.isdecimal():
        raise CronError(f"{text!r} is not a {field.name}")
    value = int(text)
    if not field.low <= value <= field.high:
        raise CronError(f"{field.name} {value} is out of range {field.low}–{field.high}")
    return value


def _check_step(field: _Field, text: str, first: int, last: int) -> None:
    """A step has to lead somewhere: ``*/90`` would mean "hourly" to croniter, and surely meant something else."""
    if not text.isdecimal():
        raise CronError(f"the {field.name} step {text!r} is not a number")
    step = int(text)
    if step == 0:
        raise CronError(f"the {field.name} step must be at least 1")
    if first + step > last:
        raise CronError(f"the {field.name} step {step} leads out of its range {first}–{last}")


def _fields(parsed: croniter, texts: Sequence[str]) -> CronFields:
    minutes, hours, days, months, weekdays = (
        _values(field, found) for field, found in zip(_FIELDS, parsed.expanded, strict=True)
    )
    nearest = min(parsed.nearest_weekday, default=None)
    nth = {(weekday, LAST if n == "l" else n) for weekday, ns in parsed.nth_weekday_of_month.items() for n in ns}
    rule = DayRule(
        months=months,
        days=days if nearest is None else frozenset(),
        last_day="l" in parsed.expanded[2],
        nearest_weekday=nearest,
        weekdays=frozenset() if nth else weekdays,
        nth_weekdays=frozenset(nth),
        either=_is_restricted(texts[2]) and _is_restricted(texts[4]),
    )
    times = array("H", (hour * 60 + minute for hour in sorted(hours) for minute in sorted(minutes)))
    return CronFields(rule, times, follows_wall_clock=texts[1].startswith("*"))


def _values(field: _Field, expanded: Sequence[int | str]) -> frozenset[int]:
    if "*" in expanded:
        return frozenset(range(field.low, field.last_of_cycle + 1))
    return frozenset(value for value in expanded if isinstance(value, int))


def _is_restricted(text: str) -> bool:
    """Whether a day field says anything. As in croniter, ``*/2`` does; to Vixie cron it does not."""
    return "*" not in text.split(",")


def _refuse_what_never_comes(rule: DayRule) -> None:
    """Look through the 400 years after which the calendar repeats itself, weekdays included."""
    first = rule.first_from(date(2000, 1, 1))
    if first is None or first.year >= 2400:
        days = _either([str(day) for day in sorted(rule.days)])
        months = _either([_MONTHS_IN_FULL[month - 1] for month in sorted(rule.months)])
        raise CronError(f"{days} {months} never comes")


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
