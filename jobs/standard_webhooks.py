"""Standard Webhooks: how a message is signed, and what its secrets look like. The rules are those of standardwebhooks.com."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

PREFIX: Final = "whsec_"
LEAST_BYTES: Final = 24
MOST_BYTES: Final = 64
_NEW_BYTES: Final = 32


class BadSecret(ValueError):
    """The text is not a secret of Standard Webhooks; the message says what one looks like."""

    def __init__(self) -> None:
        super().__init__(f"must be {PREFIX} and {LEAST_BYTES} to {MOST_BYTES} bytes in base64")


def new_secret() -> bytes:
    """A secret that nobody can guess."""
    return secrets.token_bytes(_NEW_BYTES)


def secret_from_text(text: str) -> bytes:
    """The secret that receivers write as ``whsec_…``. Raises :class:`BadSecret`."""
    if not text.startswith(PREFIX):
        raise BadSecret
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret from None
    if not LEAST_BYTES <= len(secret) <= MOST_BYTES:
        raise BadSecret
    return secret


def secret_to_text(secret: bytes) -> str:
    return PREFIX + base64.b64encode(secret).decode()


def signed_headers(message_id: str, at: datetime, body: bytes, with_secrets: Sequence[bytes]) -> Mapping[str, str]:
    """The three headers of a message that is sent ``at`` this instant: a signature for each secret, the newest first.

    Several, while receivers change from one secret to the next: either of them is enough to accept the message.
    """
    timestamp = int(at.timestamp())
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in with_secrets),
    }


def _signature(secret: bytes, signed: bytes) -> str:
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
