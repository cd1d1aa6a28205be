"""Renewing leases from a thread of its own: a handler that blocks the event loop must not cost its neighbours their leases."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from bson.codec_options import CodecOptions
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from jobs.lifecycle import JobStatus
from jobs.times import to_milliseconds
from storage.client import open_sync_client
from storage.errors import mongodb_errors


class LeaseKeeper:
    """Blocking; to be used from one thread at a time."""

    def __init__(self, url: str, database: str) -> None:
        self._client = open_sync_client(url)
        self._jobs = self._client.get_database(
            database,
            codec_options=CodecOptions(tz_aware=True),
            write_concern=WriteConcern("majority", j=True),
            read_concern=ReadConcern("majority"),
        )["jobs"]

    def renew(self, tokens: Mapping[str, str], lease: timedelta) -> set[str]:
        """Renew the leases of these attempts (token → job id); answer the tokens that still hold their run.

        Raises ``StoreUnavailable``: then nothing is known.
        """
        wanted: dict[str, Any] = {
            "_id": {"$in": list(tokens.values())},
            "status": JobStatus.RUNNING.value,
            "run.token": {"$in": list(tokens)},
        }
        until = {"$add": ["$$NOW", to_milliseconds(lease)]}
        with mongodb_errors():
            renewal = [{"$set": {"run.lease_until": until, "revision": {"$add": ["$revision", 1]}}}]
            matched = self._jobs.update_many(wanted, renewal).matched_count
            if matched == len(tokens):
                return set(tokens)
            return {document["run"]["token"] for document in self._jobs.find(wanted, {"run.token": 1})}

    def close(self) -> None:
        self._client.close()
