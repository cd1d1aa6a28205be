"""API keys: what they look like, and when one opens the door. The text of a key is shown once, and stored nowhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from jobs.access import Principal, Reach, Scope
from jobs.errors import JobgateError
from jobs.origins import CredentialKind, Origin

LONGEST_NAME: Final = 200

NOTED_EVERY: Final = timedelta(minutes=1)
"""How long after a use that was noted another one is worth a write."""

_ID_CHARS: Final = 8
_SECRET_BYTES: Final = 32
_NAMED: Final = len("jg_") + _ID_CHARS + len("_")
# Letters and digits alone: on a command line, an id that began with a dash would be taken for an option.
_ALPHABET: Final = string.ascii_letters + string.digits
_KEY: Final = re.compile(r"jg_([A-Za-z0-9]{8})_[A-Za-z0-9_-]{43}")
_BEGINNING: Final = re.compile(r"jg_([A-Za-z0-9]{8})(_.*)?", re.DOTALL)


class NoSuchKey(JobgateError):
    """There is no key of this id."""

    def __init__(self, key_id: str) -> None:
        # No longer than an id with what stands around it in a key: somebody may have given the whole of one.
        super().__init__(f"there is no key {key_id[:_NAMED]!r}; `jobgate keys list` shows those that there are")


class KeyState(StrEnum):
    """Whether a key opens anything."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key that somebody has shown, without what would let anybody else show it."""

    id: str
    digest: bytes = field(repr=False)
    """SHA-256 of the whole text. Nobody guesses 32 random bytes, so nothing slower is needed."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored. ``name`` is what events remember as the actor."""

    id: str
    name: str
    digest: bytes = field(repr=False)
    scopes: frozenset[Scope]
    reach: Reach
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def state(self, now: datetime) -> KeyState:
        """What the key is at an instant of the database's clock; one that was revoked stays that when it expires."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        return KeyState.ACTIVE if self.expires_at is None or now < self.expires_at else KeyState.EXPIRED

    def is_meant(self, presented: PresentedKey) -> bool:
        """Whether what was shown is this very key, compared in a time that tells nothing of where the two differ."""
        return hmac.compare_digest(self.digest, presented.digest)

    @property
    def principal(self) -> Principal:
        """Who asks with this key."""
        origin = Origin(CredentialKind.KEY, self.id)
        return Principal(self.name, self.scopes, self.reach, f"key:{self.id}", origin)

    def is_use_worth_noting(self, now: datetime) -> bool:
        """Whether the last use that was noted is long enough ago."""
        return self.last_used_at is None or now - self.last_used_at >= NOTED_EVERY


def new_key() -> tuple[str, PresentedKey]:
    """The text of a key that nobody can guess – ``jg_``, its id, and its secret – and what it presents."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARS))
    secret = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()
    text = f"jg_{key_id}_{secret}"
    return text, _presented(key_id, text)


def present(text: str) -> PresentedKey | None:
    """What is shown by the text of a key; None when it is not one."""
    match = _KEY.fullmatch(text)
    return None if match is None else _presented(match[1], text)


def meant(text: str) -> str:
    """The id of the key that somebody names by its id, or by the text of the key, whole or from ``jg_`` to its id at least."""
    match = _BEGINNING.fullmatch(text)
    return text if match is None else match[1]


def _presented(key_id: str, text: str) -> PresentedKey:
    return PresentedKey(key_id, hashlib.sha256(text.encode()).digest())
