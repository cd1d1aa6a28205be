"""What callers show to say who they are, and what is known of them by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from jobs.access import Principal, Reach
from jobs.api_keys import PresentedKey
from jobs.errors import JobgateError
from jobs.origins import told

LONGEST: Final = 16 * 1024
"""Characters of what is shown. Nothing longer is looked at: no key is, and no token that fits into the usual headers."""

_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE | re.ASCII)


class Unauthenticated(JobgateError):
    """It is not known who asks. Callers are all told the same; ``shown`` and ``why`` are for the log, and hold no secret."""

    def __init__(self, shown: str, why: str) -> None:
        self.shown = shown
        self.why = why
        super().__init__("say who is calling, by a valid key or token in `Authorization: Bearer …`")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and for how long that is known: until an instant, and as long as the key is good, where there is one."""

    principal: Principal
    expires_at: datetime | None = None
    key: PresentedKey | None = None

    @property
    def may_lapse(self) -> bool:
        """Whether what is known can end."""
        return self.expires_at is not None or self.key is not None


NOBODY: Final = Principal("nobody", frozenset(), Reach(frozenset(), frozenset()))
"""Who has not said yet who they are: may do nothing."""


def located(principal: Principal, host: str | None) -> Principal:
    """Whoever asks, from this address: what the connection comes from, or what a trusted proxy says of it."""
    return replace(principal, origin=replace(principal.origin, address=told(host)))


def bearer(headers: Sequence[str]) -> str:
    """What the ``Authorization`` headers of a request show; there must be just one. Raises :class:`Unauthenticated`."""
    if not headers:
        raise Unauthenticated("a caller who shows nothing", "no authorization")
    match = _BEARER.fullmatch(headers[0].strip()) if len(headers) == 1 and len(headers[0]) <= LONGEST else None
    if match is None:
        raise Unauthenticated("an authorization that is no bearer's", "several, too long, or of another form")
    return match[1]
