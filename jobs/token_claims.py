"""What the claims of a token say of who asks, once it is known that they are true."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from jobs.access import Principal, Reach, Scope
from jobs.origins import CredentialKind, Origin, told

LONGEST_SUBJECT: Final = 255
"""Characters of ``sub``, as OpenID Connect has it; events carry it."""

_EVERYTHING: Final = "*"
_KNOWN_SCOPES: Final = frozenset(Scope)


class BadClaims(ValueError):
    """A claim is missing that is needed, or is not what it has to be; the message names it."""


@dataclass(frozen=True, slots=True)
class ReachClaims:
    """The names of the claims that say which products and envs are reached."""

    products: str
    envs: str


def principal_of(claims: Mapping[str, Any], reaching: ReachClaims) -> Principal:
    """Who asks. Scopes that are not known give nothing, a claim that is missing reaches nothing. Raises :class:`BadClaims`."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise BadClaims(f"sub is not 1 to {LONGEST_SUBJECT} printable characters")
    reach = Reach(_reached(claims.get(reaching.products)), _reached(claims.get(reaching.envs)))
    origin = Origin(CredentialKind.TOKEN, told(claims.get("jti")), told(claims.get("iss")))
    return Principal(subject, _scopes(claims.get("scope")), reach, f"token:{subject}", origin)


def expiry_of(claims: Mapping[str, Any]) -> datetime:
    """When the token expires; of one beyond all calendars, the last instant that they have. Raises :class:`BadClaims`."""
    seconds = claims.get("exp")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise BadClaims("exp is not a number of seconds")
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)


def _scopes(claim: object) -> frozenset[Scope]:
    """As OAuth writes them, with spaces in between, or as a list."""
    given = claim.split() if isinstance(claim, str) else claim
    return frozenset(Scope(name) for name in _texts(given) if name in _KNOWN_SCOPES)


def _reached(claim: object) -> frozenset[str] | None:
    if claim == _EVERYTHING:
        return None
    # In a list, the same is a name like others: only one who asks for everything in so many words is given it.
    return frozenset([claim]) if isinstance(claim, str) else _texts(claim)


def _texts(given: object) -> frozenset[str]:
    return frozenset(one for one in given if isinstance(one, str)) if isinstance(given, list) else frozenset()
