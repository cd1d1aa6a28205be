"""The audit: what was done and read that no event of a job tells of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from jobs.origins import Origin, OriginFilter

ID_PREFIX: Final = "aud_"


class AuditAction(StrEnum):
    """What somebody has done, or was about to do: it is noted before."""

    READ_PAYLOADS = "payloads.read"
    SET_WEBHOOK = "webhook.set"
    DELETE_WEBHOOK = "webhook.deleted"
    REDELIVER = "delivery.redelivered"
    STOP_BULK_OPERATION = "operation.stopped"
    CREATE_KEY = "key.created"
    REVOKE_KEY = "key.revoked"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did, and the ids of what it was done to."""

    id: str
    at: datetime
    action: AuditAction
    by: str
    origin: Origin
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted. Conditions combine with AND, the values of one with OR; None: no condition."""

    actions: tuple[AuditAction, ...] | None = None
    subjects: tuple[str, ...] | None = None
    """About one of these."""
    origin: OriginFilter | None = None
    from_: datetime | None = None
    """Half-open [from_, to): when it was done."""
    to: datetime | None = None
