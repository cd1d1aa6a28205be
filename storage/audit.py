"""The audit as documents: one for each thing that was done or read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from jobs.access import Reach
from jobs.audit import ID_PREFIX, AuditAction, AuditEntry, AuditFilter
from jobs.paging import Page
from jobs.times import EPOCH, to_milliseconds
from storage.client import Collection, Database
from storage.documents import Document
from storage.errors import mongodb_errors, too_slow
from storage.limits import WRITE_SECONDS, within
from storage.operations import names, within_reach_of
from storage.origins import ACTION, SUBJECTS, origin_conditions, origin_to_document, whole_origin

_READ_TIMEOUT_MS: Final = 3_000

_EVERY_ACTION: Final = tuple(action.value for action in AuditAction)

_SKEW: Final = timedelta(hours=1)
"""By so much at most, it is assumed, do the clocks that ids are made by differ from that of the database."""


class AuditLog:
    """The collection ``audit``. An entry is visible to those who reach all that whoever made it could have reached."""

    def __init__(self, database: Database) -> None:
        self._entries: Collection = database["audit"]

    async def note(self, entry: AuditEntry, reach: Reach) -> None:
        """Store an entry of somebody with this reach; a majority has it then. Raises ``StoreUnavailable``."""
        async with within(WRITE_SECONDS):
            await self._entries.insert_one(_to_document(entry, reach))

    async def page(self, reach: Reach, wanted: AuditFilter, size: int, before: str | None) -> Page[AuditEntry]:
        """The newest entries that match, or those before the one with the id ``before``.

        Raises ``FilterTooSlow``, ``StoreUnavailable``.
        """
        conditions, index = _conditions(wanted)
        asked = {**conditions, **within_reach_of(reach), **_ids(wanted.from_, wanted.to, before)}
        with too_slow(_READ_TIMEOUT_MS), mongodb_errors():
            cursor = self._entries.find(asked, hint=index, max_time_ms=_READ_TIMEOUT_MS).sort([("_id", -1)])
            found = [_from_document(one) for one in await cursor.limit(size + 1).to_list(size + 1)]
        return Page(found[:size], has_next=len(found) > size, has_previous=before is not None)


def _conditions(wanted: AuditFilter) -> tuple[Document, str]:
    """The documents that are wanted, and the index that finds them newest first.

    Never those with an action that a newer version has noted: this one has no name for it. Pages go on behind them.
    """
    conditions, index = ({}, None) if wanted.origin is None else origin_conditions(wanted.origin, "by")
    if wanted.subjects is not None:
        conditions["subjects"], index = _any_of(wanted.subjects), SUBJECTS
    if wanted.actions is not None:
        index = index or ACTION
    actions = _EVERY_ACTION if wanted.actions is None else [action.value for action in wanted.actions]
    conditions["action"] = _any_of(actions)
    bounds = {"$gte": wanted.from_, "$lt": wanted.to}
    between = {operator: instant for operator, instant in bounds.items() if instant is not None}
    return {**conditions, **({"at": between} if between else {})}, index or "_id_"


def _ids(from_: datetime | None, to: datetime | None, before: str | None) -> Document:
    """Between which ids all those are that were noted between two times: an id begins with the time that it was made at."""
    least = None if from_ is None else _first_id(from_, -_SKEW)
    ends = [end for end in (before, None if to is None else _first_id(to, _SKEW)) if end is not None]
    bounds = {"$gte": least, "$lt": min(ends, default=None)}
    between = {operator: bound for operator, bound in bounds.items() if bound is not None}
    return {"_id": between} if between else {}


def _first_id(at: datetime, later: timedelta) -> str:
    """Not behind any id that is made so much later: as UUID 7 has it, the milliseconds since 1970 come first."""
    # Added to what has passed since then: the first and the last year may be asked for, and know of no hour beyond.
    return f"{ID_PREFIX}{max(0, to_milliseconds(at - EPOCH + later)):012x}"


def _any_of(values: Sequence[str]) -> Document:
    return {"$in": [str(value) for value in values]}


def _to_document(entry: AuditEntry, reach: Reach) -> Document:
    return {
        "_id": entry.id,
        "at": entry.at,
        "action": entry.action.value,
        "by": entry.by,
        "origin": origin_to_document(entry.origin),
        "subjects": list(entry.subjects),
        "products": names(reach.products),
        "envs": names(reach.envs),
    }


def _from_document(document: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(
        id=document["_id"],
        at=document["at"],
        action=AuditAction(document["action"]),
        by=document["by"],
        origin=whole_origin(document["origin"]),
        subjects=tuple(document["subjects"]),
    )
