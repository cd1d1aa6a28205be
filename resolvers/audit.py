"""Noting what no event of a job tells of, and reading that again."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.access import Principal
from jobs.audit import ID_PREFIX, AuditAction, AuditEntry, AuditFilter
from jobs.cursors import decode_cursor, encode_cursor
from jobs.errors import InvalidInput, Issue
from jobs.paging import Page, page_size
from resolvers.reading import MAX_ORIGINS, check_origin, check_times
from resolvers.services import Services


async def note(services: Services, principal: Principal, action: AuditAction, subjects: Sequence[str]) -> None:
    """Note what the caller is about to do to ``subjects``. Raises ``StoreUnavailable``: then it must not be done."""
    entry = AuditEntry(
        id=f"{ID_PREFIX}{services.new_id()}",
        at=services.clock.now(),
        action=action,
        by=principal.name,
        origin=principal.origin,
        subjects=tuple(dict.fromkeys(subjects)),
    )
    await services.audit.note(entry, principal.reach)


async def list_audit(
    services: Services, principal: Principal, wanted: AuditFilter, first: int, after: str | None
) -> Page[AuditEntry]:
    """The entries that match, the newest first.

    Raises ``InvalidInput``, ``BadCursor``, ``FilterTooSlow``, ``StoreUnavailable``.
    """
    check_times(wanted.from_, wanted.to, ("filter",))
    if wanted.origin is not None:
        check_origin(wanted.origin, ("filter", "origin"))
    if wanted.subjects is not None and len(wanted.subjects) > MAX_ORIGINS:
        message = f"{len(wanted.subjects)} values, more than the {MAX_ORIGINS} allowed"
        raise InvalidInput([Issue(("filter", "subjects"), message)])
    size, before = page_size(first, "first"), None if after is None else decode_cursor(after, "audit", _id)
    return await services.audit.page(principal.reach, wanted, size, before)


def audit_cursor(entry: AuditEntry) -> str:
    """The cursor that leads behind an entry."""
    return encode_cursor(["audit", entry.id])


def _id(parts: Sequence[object]) -> str | None:
    match parts:
        case [str(entry_id)] if entry_id.startswith(ID_PREFIX):
            return entry_id
    return None
