"""Deliveries as documents, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from jobs.events import EventType
from jobs.paging import Page
from jobs.webhooks import Delivery, DeliveryStatus, Try
from storage.documents import Document

UNSAID: Final = {"body": 0}
"""For whoever looks at deliveries but sends none: most of what is stored is what they say."""


def delivery_number(delivery_id: str) -> int:
    """The feed number of the event that a delivery tells of."""
    return int(delivery_id.rpartition("_")[2])


def delivery_from_document(document: Mapping[str, Any]) -> Delivery:
    return Delivery(
        id=document["_id"],
        webhook_id=document["webhook_id"],
        event=EventType(document["event"]),
        job_id=document["job_id"],
        status=DeliveryStatus(document["status"]),
        tries=document["tries"],
        attempts=tuple(map(_try_from_document, document["attempts"])),
        next_attempt_at=document["due_at"],
        created_at=document["created_at"],
        reason=document["reason"],
    )


def page_from_documents(documents: Sequence[Document], size: int, before: int | None) -> Page[Delivery]:
    """A page of ``size``, of as many documents and one more where there are more."""
    found = [delivery_from_document(one) for one in documents]
    return Page(found[:size], has_next=len(found) > size, has_previous=before is not None)


def death(reason: str) -> Document:
    """The update by which nothing more is tried."""
    dead = {"status": DeliveryStatus.DEAD.value, "reason": reason, "due_at": None, "token": None}
    return {"$set": dead, "$currentDate": {"completed_at": True}}


def try_to_document(one: Try) -> Document:
    return {
        "at": one.at,
        "ms": round(one.duration / timedelta(milliseconds=1)),
        "status": one.status,
        "error": one.error,
    }


def _try_from_document(document: Mapping[str, Any]) -> Try:
    return Try(document["at"], timedelta(milliseconds=document["ms"]), document["status"], document["error"])
