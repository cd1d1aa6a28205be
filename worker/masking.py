"""Answers without the secrets that were sent: masked in whatever spelling a server quotes them, and where it was cut off."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from jobs.json_values import JsonValue
from jobs.secret_inputs import MASK
from worker.guarded_http import Answer

_SHORT_ESCAPES: Final = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r", '"': '"', "/": "/", "\\": "\\"}


def without_secrets(answer: Answer, secrets: Sequence[str]) -> Answer:
    """The answer with :data:`jobs.secret_inputs.MASK` where it quotes one of them, as servers do that show what they got.

    Where it was cut, its end goes as well as far as that may be the beginning of one.
    """
    headers = {name: _masked(value, secrets) for name, value in answer.headers.items()}
    # Byte for character: what is no secret stays what it was.
    body = answer.body.decode("latin-1")
    if answer.is_truncated:
        body = _without_beginning(body, secrets)
    return replace(answer, headers=headers, body=_masked(body, secrets).encode("latin-1"))


def hidden(value: JsonValue, secrets: Sequence[str]) -> JsonValue:
    """A JSON value with the mask where any text in it quotes one of them, however that was encoded in what was parsed."""
    if isinstance(value, str):
        return _masked(value, secrets)
    if isinstance(value, list):
        return [hidden(item, secrets) for item in value]
    if isinstance(value, dict):
        return {_masked(name, secrets): hidden(child, secrets) for name, child in value.items()}
    return value


def _masked(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = _pattern(secret).sub(MASK, text)
    return text


@lru_cache(maxsize=1024)
def _pattern(secret: str) -> re.Pattern[str]:
    """Any spelling of a secret: each of its characters is escaped or not by itself, as encoders choose."""
    return re.compile("".join(f"(?:{'|'.join(map(re.escape, _spellings(character)))})" for character in secret))


@lru_cache(maxsize=1024)
def _spellings(character: str) -> tuple[str, ...]:
    """As itself, as UTF-8 that is read byte for character, and as JSON may escape it; the longest first."""
    units = character.encode("utf-16-be").hex()
    escaped = "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
    upper = "".join(f"\\u{units[start : start + 4].upper()}" for start in range(0, len(units), 4))
    known = {character, character.encode().decode("latin-1"), escaped, upper}
    if character in _SHORT_ESCAPES:
        known.add(f"\\{_SHORT_ESCAPES[character]}")
    return tuple(sorted(known, key=lambda one: (-len(one), one)))


def _without_beginning(text: str, secrets: Sequence[str]) -> str:
    """The text without what at its end may be the beginning of a secret."""
    # Once for each, and not without end: what is taken away as the beginning of one may be the end of another.
    for _ in range(1 + len(secrets)):
        text = text[: _cut(text, secrets)]
    return text


def _cut(text: str, secrets: Sequence[str]) -> int:
    """Where the longest end of the text begins that may be the beginning of a secret."""
    longest = max((_longest(secret) for secret in secrets), default=0)
    # Most places are none to look at closely, and there are many where a secret is long.
    first = {spelling[0] for secret in secrets for spelling in _spellings(secret[0])}
    places = (place for place in range(max(0, len(text) - longest), len(text)) if text[place] in first)
    return next((place for place in places if any(_may_begin(text, place, one) for one in secrets)), len(text))


def _longest(secret: str) -> int:
    return sum(len(_spellings(character)[0]) for character in secret)


def _may_begin(text: str, place: int, secret: str) -> bool:
    """Whether the text from a place on is the beginning of some spelling of a secret."""
    # More than one where a spelling is the beginning of another, as with backslashes.
    reached = {place}
    for character in secret:
        spellings = _spellings(character)
        if any(_ends_within(text, at, spelling) for at in reached for spelling in spellings):
            return True
        reached = {at + len(spelling) for at in reached for spelling in spellings if text.startswith(spelling, at)}
        if not reached:
            return False
    return False


def _ends_within(text: str, place: int, spelling: str) -> bool:
    return len(text) - place <= len(spelling) and spelling.startswith(text[place:])
