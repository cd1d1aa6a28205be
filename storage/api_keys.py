"""API keys as documents: the id, what it opens, and the hash of the secret."""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from jobs.access import Reach, Scope
from jobs.api_keys import NOTED_EVERY, ApiKey, NoSuchKey
from storage.client import Collection, Database
from storage.documents import Document
from storage.errors import mongodb_errors

_KNOWN_SCOPES: Final = frozenset(Scope)


class ApiKeys:
    """The collection ``api_keys``, one document a key. Nothing in it lets anybody in. All raise ``StoreUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._keys: Collection = database["api_keys"]

    async def insert(self, key: ApiKey) -> None:
        with mongodb_errors():
            await self._keys.insert_one(_to_document(key))

    async def find(self, key_id: str) -> ApiKey | None:
        with mongodb_errors():
            document = await self._keys.find_one({"_id": {"$eq": key_id}})
        return None if document is None else _from_document(document)

    async def find_all(self, key_ids: Ids[str]) -> Mapping[str, ApiKey]:
        """Those of them that there are, by id."""
        if not key_ids:
            return {}
        with mongodb_errors():
            found = self._keys.find({"_id": {"$in": list(key_ids)}})
            return {one["_id"]: _from_document(one) async for one in found}

    async def list_all(self) -> list[ApiKey]:
        """All there are, the oldest first."""
        with mongodb_errors():
            keys = [_from_document(one) async for one in self._keys.find({})]
        # Here and not by an index: there are few, and only somebody at a terminal asks.
        return sorted(keys, key=lambda key: (key.created_at, key.id))

    async def revoke(self, key_id: str, now: datetime) -> bool:
        """Have a key open nothing any more; False when it was revoked before. Raises :class:`NoSuchKey`."""
        with mongodb_errors():
            revoked = await self._keys.update_one(
                {"_id": {"$eq": key_id}, "revoked_at": None}, {"$set": {"revoked_at": now}}
            )
            if revoked.matched_count == 0 and await self._keys.find_one({"_id": {"$eq": key_id}}, {"_id": 1}) is None:
                raise NoSuchKey(key_id)
        return bool(revoked.matched_count)

    async def note_use(self, key_id: str, at: datetime) -> None:
        """Remember that a key was used, unless that was noted less than a minute before, perhaps by another gateway."""
        long_ago = {"$not": {"$gt": at - NOTED_EVERY}}
        with mongodb_errors():
            await self._keys.update_one(
                {"_id": {"$eq": key_id}, "last_used_at": long_ago}, {"$set": {"last_used_at": at}}
            )


def _to_document(key: ApiKey) -> Document:
    return {
        "_id": key.id,
        "name": key.name,
        "hash": key.digest,
        "scopes": sorted(key.scopes),
        "products": _listed(key.reach.products),
        "envs": _listed(key.reach.envs),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }


def _from_document(document: Mapping[str, Any]) -> ApiKey:
    return ApiKey(
        id=document["_id"],
        name=document["name"],
        digest=document["hash"],
        # One that only a newer release knows gives nothing here.
        scopes=frozenset(Scope(scope) for scope in document["scopes"] if scope in _KNOWN_SCOPES),
        reach=Reach(_set(document["products"]), _set(document["envs"])),
        created_at=document["created_at"],
        expires_at=document["expires_at"],
        revoked_at=document["revoked_at"],
        last_used_at=document["last_used_at"],
    )


def _listed(values: frozenset[str] | None) -> list[str] | None:
    return None if values is None else sorted(values)


def _set(values: list[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)
