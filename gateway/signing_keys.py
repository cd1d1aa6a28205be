"""The keys that an issuer signs tokens with: a JSON Web Key Set, read at the start and now and then."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import jwt

from gateway.settings import SettingsError

logger = logging.getLogger("jobgate.callers")

AT_MOST_EVERY: Final = timedelta(minutes=1)
"""How long after a read keys that are not known are looked for again: anybody can make up the name of one."""

READ_EVERY: Final = timedelta(minutes=10)
"""How often the set is read without being asked: a key that the issuer has withdrawn must not be good for ever."""

_WITHIN: Final = timedelta(seconds=5)
_KINDS: Final = ("RSA", "EC", "OKP")


class SigningKeys:
    """The public keys of one issuer, by their id (``kid``); those that have none are found by None."""

    def __init__(
        self, source: str, monotonic: Callable[[], float] = time.monotonic, within: timedelta = _WITHIN
    ) -> None:
        self._source = source
        self._monotonic = monotonic
        self._within = within
        self._keys: Mapping[str | None, Any] = {}
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def start(self) -> None:
        """Read them for the first time. Raises ``SettingsError`` when there is nothing to be read."""
        try:
            await self._read()
        except _FAILURES as error:
            raise SettingsError(f"JOBGATE_JWT_JWKS cannot be read: {_told(error)}") from None

    async def find(self, key_id: str | None) -> Any:
        """The public key of this id, or None. One that is not known is looked for anew, unless that was just done."""
        if key_id not in self._keys:
            async with self._reading:
                if self._monotonic() - self._read_at >= AT_MOST_EVERY.total_seconds():
                    await self._read_again()
        return self._keys.get(key_id)

    async def keep_fresh(self) -> float:
        """Read them again, for a loop; answers after how many seconds to do so once more."""
        async with self._reading:
            if self._monotonic() - self._read_at >= READ_EVERY.total_seconds():
                await self._read_again()
        return AT_MOST_EVERY.total_seconds()

    async def _read_again(self) -> None:
        try:
            await self._read()
        except _FAILURES as error:
            # Those that are known stay good: an issuer that is away has not withdrawn them.
            logger.warning("the keys that tokens are signed with cannot be read: %s", _told(error))

    async def _read(self) -> None:
        # Also when it fails: what is away is not asked all the time.
        self._read_at = self._monotonic()
        async with asyncio.timeout(self._within.total_seconds()):
            text = await (self._fetch() if "://" in self._source else asyncio.to_thread(Path(self._source).read_bytes))
        self._keys = _usable(text)

    async def _fetch(self) -> bytes:
        # Without redirects: where the keys come from is decided by who runs this.
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(self._source)).raise_for_status().content


def _usable(text: bytes) -> Mapping[str | None, Any]:
    """The public keys for signatures. Secret ones are none, whatever the set says. Raises ``ValueError``, ``PyJWTError``."""
    found = jwt.PyJWKSet.from_dict(json.loads(text)).keys
    usable = [key for key in found if key.key_type in _KINDS and key.public_key_use in (None, "sig")]
    if not usable:
        raise ValueError("there is no public key for signatures in it")
    return {key.key_id: key.key for key in usable}


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


_FAILURES: Final = (OSError, ValueError, TypeError, AttributeError, TimeoutError, httpx.HTTPError, jwt.PyJWTError)
"""What can be wrong with a file, a server, and what they say."""
