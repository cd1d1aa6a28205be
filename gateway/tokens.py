"""Who asks with a token that an issuer has signed (JWT)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import jwt

from gateway.credentials import Caller, Unauthenticated
from gateway.signing_keys import SigningKeys
from jobs.token_claims import BadClaims, ReachClaims, expiry_of, principal_of
from storage.clock import DatabaseClock

LEEWAY: Final = timedelta(seconds=5)
"""By so much the clocks of the issuer and of this machine may differ. Little, since it also lengthens what has expired."""

_REQUIRED: Final = ["exp", "iss", "aud", "sub"]
_SHOWN: Final = "a token"


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """Which tokens are accepted."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    """Fixed here: what a token says of itself does not choose how it is checked."""
    reaching: ReachClaims


class Tokens:
    """The tokens of one issuer."""

    def __init__(self, terms: TokenTerms, keys: SigningKeys, clock: DatabaseClock) -> None:
        self._terms = terms
        self._keys = keys
        self._clock = clock

    async def caller(self, token: str) -> Caller:
        """Who asks. Raises :class:`Unauthenticated`, whatever is wrong with the token."""
        try:
            key = await self._keys.find(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise Unauthenticated(_SHOWN, "unknown kid")
            claims = self._checked(token, key)
            caller = Caller(principal_of(claims, self._terms.reaching), expiry_of(claims))
        except _WRONG as error:
            # By its kind alone: what the message of a library holds of the token, nobody knows.
            raise Unauthenticated(_SHOWN, type(error).__name__) from None
        if has_lapsed(caller, self._clock):
            raise Unauthenticated(_SHOWN, "expired by the clock of the database")
        return caller

    def _checked(self, token: str, key: Any) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=list(self._terms.algorithms),
            issuer=self._terms.issuer,
            audience=self._terms.audience,
            leeway=LEEWAY,
            options={"require": _REQUIRED, "enforce_minimum_key_length": True},
        )


def has_lapsed(caller: Caller, clock: DatabaseClock) -> bool:
    """Whether the time of what somebody has shown is over; that of a key is its own, that of a token has some leeway."""
    if caller.expires_at is None:
        return False
    leeway = timedelta() if caller.key is not None else LEEWAY
    return clock.now() - leeway >= caller.expires_at


_WRONG: Final = (jwt.PyJWTError, BadClaims, TypeError)
"""PyJWT's own, what it says of a key that is of another kind than the algorithm, and what we find wrong with claims."""
