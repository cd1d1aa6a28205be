"""Keys for callers, in the store as the command makes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from jobs.access import EVERYWHERE, Reach, Scope
from jobs.api_keys import ApiKey, new_key
from storage.api_keys import ApiKeys
from storage.client import Database
from tests.factories import NOW

LAPSED: Final = {
    "message": "the key or token that was shown is no longer valid: connect again with another one",
    "extensions": {"code": "UNAUTHENTICATED"},
}

REFUSED: Final = {
    "message": "say who is calling, by a valid key or token in `Authorization: Bearer …`",
    "extensions": {"code": "UNAUTHENTICATED"},
}


async def key_in(
    database: Database,
    *,
    name: str = "shop",
    scopes: frozenset[Scope] = frozenset(Scope),
    reach: Reach = EVERYWHERE,
    expires_at: datetime | None = None,
    revoked_at: datetime | None = None,
) -> str:
    """The text of a new key."""
    text, presented = new_key()
    key = ApiKey(presented.id, name, presented.digest, scopes, reach, NOW, expires_at, revoked_at)
    await ApiKeys(database).insert(key)
    return text


def id_of(text: str) -> str:
    return text.split("_")[1]


def wrong_secret(text: str) -> str:
    """A key with the same id."""
    return text[:-2] + ("AA" if text[-2:] != "AA" else "BB")


def bearer(text: str) -> dict[str, Any]:
    return {"authorization": f"Bearer {text}"}
