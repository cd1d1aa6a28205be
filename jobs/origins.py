"""From where, and by what, somebody has asked for something: what an audit wants to know beside the name and the reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LONGEST_TOLD: Final = 255
"""Characters of what others say of themselves, an issuer or a proxy: what is longer is cut."""


class CredentialKind(StrEnum):
    """What somebody has shown to say who they are."""

    NONE = "none"
    KEY = "key"
    TOKEN = "token"  # noqa: S105  # it is a kind
    COMMAND = "command"
    """Nothing: they can reach the database, and have used a command of the product."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, and what it showed. Nothing in it lets anybody in."""

    kind: CredentialKind = CredentialKind.NONE
    credential: str | None = None
    """The id of the key, or that of the token (``jti``) if it has one."""
    issuer: str | None = None
    """Who signed the token."""
    address: str | None = None
    """The address of the client, as far as it is known; the machine on which a command was given."""


UNKNOWN: Final = Origin()
"""From nobody knows where."""


@dataclass(frozen=True, slots=True)
class OriginFilter:
    """What was asked for by somebody, with something, from somewhere. None: by anybody, with anything, from anywhere."""

    by: tuple[str, ...] | None = None
    """Names of keys, subjects of tokens."""
    credential: tuple[str, ...] | None = None
    address: tuple[str, ...] | None = None

    def matches(self, by: str | None, origin: Origin | None) -> bool:
        """Whether something was asked for by whom is meant; what nobody asked for was asked for by none of them."""
        return (
            origin is not None
            and _among(self.by, by)
            and _among(self.credential, origin.credential)
            and _among(self.address, origin.address)
        )


def told(text: object) -> str | None:
    """What somebody says of themselves, as it may be kept; None for what is no text, or cannot be shown."""
    if not isinstance(text, str) or not text or not text.isprintable():
        return None
    return text[:LONGEST_TOLD]


def _among(wanted: tuple[str, ...] | None, value: str | None) -> bool:
    return wanted is None or value in wanted
