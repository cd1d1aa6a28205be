"""From what a caller shows to who it is."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from gateway.credentials import Caller, Unauthenticated, bearer
from gateway.known_keys import KnownKeys
from gateway.setting_values import AUTH_JWT, AUTH_KEYS
from gateway.settings import Settings, auth_ways
from gateway.signing_keys import SigningKeys
from gateway.tokens import Tokens, TokenTerms
from jobs.access import ANYBODY
from jobs.api_keys import present
from jobs.token_claims import ReachClaims
from storage.api_keys import ApiKeys
from storage.client import Database
from storage.clock import DatabaseClock
from worker.loops import Loop

logger = logging.getLogger("jobgate.callers")

_NOT_ASKED: Final = Caller(ANYBODY)


class Callers:
    """Finds out who asks. Without keys and tokens nobody is asked, and everybody is anybody."""

    def __init__(self, keys: KnownKeys | None, tokens: Tokens | None) -> None:
        self.keys = keys
        self._tokens = tokens

    async def who(self, authorization: Sequence[str]) -> Caller:
        """Who asks, by the ``Authorization`` headers. Raises :class:`Unauthenticated`, ``StoreUnavailable``."""
        if self.keys is None and self._tokens is None:
            return _NOT_ASKED
        try:
            return await self._identified(bearer(authorization))
        except Unauthenticated as refused:
            logger.info("refused %s", refused.shown)
            logger.debug("refused %s: %s", refused.shown, refused.why)
            raise

    async def _identified(self, shown: str) -> Caller:
        key = present(shown)
        if key is not None and self.keys is not None:
            return await self.keys.caller(key)
        if key is None and self._tokens is not None:
            return await self._tokens.caller(shown)
        raise Unauthenticated("an authorization of a kind that is not accepted", "a key, or something that is none")


@asynccontextmanager
async def open_callers(settings: Settings, database: Database, clock: DatabaseClock) -> AsyncIterator[Callers]:
    """As the settings have it. Raises ``SettingsError``."""
    ways = auth_ways(settings)
    keys = KnownKeys(ApiKeys(database), clock) if AUTH_KEYS in ways else None
    if AUTH_JWT not in ways:
        yield Callers(keys, None)
        return
    signing = SigningKeys(settings.jwt_jwks)
    await signing.start()
    freshening = Loop("signing keys", signing.keep_fresh)
    freshening.start()
    try:
        yield Callers(keys, Tokens(_terms(settings), signing, clock))
    finally:
        await freshening.stop()


def _terms(settings: Settings) -> TokenTerms:
    return TokenTerms(
        settings.jwt_issuer,
        settings.jwt_audience,
        settings.algorithms,
        ReachClaims(settings.jwt_products_claim, settings.jwt_envs_claim),
    )
