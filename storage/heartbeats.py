"""Renewing leases from a thread of its own: a handler that blocks the event loop must not cost its neighbours their leases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bson.codec_options import CodecOptions
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from jobs.lifecycle import JobStatus
from jobs.times import to_milliseconds
from storage.client import open_sync_client
from storage.errors import mongodb_errors


@dataclass(frozen=True, slots=True)
class Renewal:
    """What became of the attempts whose leases were to be renewed, by their tokens."""

    held: frozenset[str]
    cancelled: frozenset[str]
    """No longer held, because the job was cancelled; what is in neither set was given to another worker."""


class LeaseKeeper:
    """Blocking; to be used from one thread at a time. Gives up early enough for another try within the lease."""

    def __init__(self, url: str, database: str, lease: timedelta) -> None:
        self._lease_ms = to_milliseconds(lease)
        self._client = open_sync_client(url, self._lease_ms // 4)
        self._jobs = self._client.get_database(
            database,
            codec_options=CodecOptions(tz_aware=True),
            write_concern=WriteConcern("majority", j=True),
            read_concern=ReadConcern("majority"),
        )["jobs"]

    def renew(self, tokens: Mapping[str, str]) -> Renewal:
        """Renew the leases of these attempts (token → job id). Raises ``StoreUnavailable``: then nothing is known."""
        wanted: dict[str, Any] = {
            "_id": {"$in": list(tokens.values())},
            "status": JobStatus.RUNNING.value,
            "run.token": {"$in": list(tokens)},
        }
        until = {"$add": ["$$NOW", self._lease_ms]}
        with mongodb_errors():
            renewal = [{"$set": {"run.lease_until": until, "revision": {"$add": ["$revision", 1]}}}]
            matched = self._jobs.update_many(wanted, renewal).matched_count
            if matched == len(tokens):
                return Renewal(frozenset(tokens), frozenset())
            held = frozenset(document["run"]["token"] for document in self._jobs.find(wanted, {"run.token": 1}))
            return Renewal(held, self._cancelled({token: job for token, job in tokens.items() if token not in held}))

    def _cancelled(self, lost: Mapping[str, str]) -> frozenset[str]:
        wanted: dict[str, Any] = {"_id": {"$in": list(lost.values())}, "status": JobStatus.CANCELLED.value}
        cancelled = {document["_id"] for document in self._jobs.find(wanted, {"_id": 1})}
        return frozenset(token for token, job_id in lost.items() if job_id in cancelled)

    def close(self) -> None:
        self._client.close()
