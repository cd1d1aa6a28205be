"""Secrets at rest: AES-GCM under keys that only the processes know, each bound to the document that it stands in."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from jobs.errors import JobgateError
from storage.documents import Document

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class NotSealed(JobgateError):
    """There is no key to seal a secret with."""


class CannotOpen(JobgateError):
    """None of the keys opens the secret, or it was sealed for another document."""


class Sealer:
    """Seals with the first key and opens with any, so that a new key can be put before the old ones."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_name(key): AESGCM(key) for key in keys}

    @property
    def can_seal(self) -> bool:
        return bool(self._ciphers)

    def seal(self, secret: bytes, owner: str) -> Document:
        """The secret as a document that is of use only within the document ``owner``. Raises :class:`NotSealed`."""
        if not self._ciphers:
            raise NotSealed("there is no key: set JOBGATE_SECRET_KEYS")
        name, cipher = next(iter(self._ciphers.items()))
        nonce = os.urandom(_NONCE_BYTES)
        return {"key": name, "nonce": nonce, "sealed": cipher.encrypt(nonce, secret, owner.encode())}

    def is_newest(self, sealed: Mapping[str, Any]) -> bool:
        """Whether the first key has sealed it."""
        return bool(sealed["key"] == next(iter(self._ciphers), None))

    def open(self, sealed: Mapping[str, Any], owner: str) -> bytes:
        """Raises :class:`CannotOpen`."""
        cipher = self._ciphers.get(sealed["key"])
        if cipher is None:
            raise CannotOpen(f"there is no key {sealed['key']} among JOBGATE_SECRET_KEYS")
        try:
            return cipher.decrypt(sealed["nonce"], sealed["sealed"], owner.encode())
        except InvalidTag:
            raise CannotOpen("the secret was altered, or sealed for something else") from None


NO_KEYS: Final = Sealer(())
"""Keeps no secrets."""


def _name(key: bytes) -> str:
    """Tells keys apart without telling anything of them."""
    return hashlib.sha256(b"jobgate secret key " + key).hexdigest()[:12]
