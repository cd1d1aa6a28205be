"""From where and with what somebody asked for something, and the audit of what no event of a job tells of."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry

from jobs.audit import AuditEntry as DomainEntry
from jobs.audit import AuditFilter as DomainFilter
from jobs.origins import Origin as DomainOrigin
from jobs.origins import OriginFilter as DomainOriginFilter
from jobs.paging import Page
from resolvers.audit import audit_cursor
from schema.enums import AuditAction, CredentialKind
from schema.node import PageInfo


@strawberry.type(description="From where and with what somebody asked for something. Nothing in it lets anybody in.")
class Origin:
    address: str | None = strawberry.field(
        description="The address of the client, or the machine on which a command was given; null where it is not known."
    )
    credential_kind: CredentialKind = strawberry.field(description="What was shown.")
    credential: str | None = strawberry.field(
        description="The id of the key, as `jobgate keys list` has it, or the jti of the token; null where there is none."
    )
    issuer: str | None = strawberry.field(description="Who signed the token.")

    @classmethod
    def from_domain(cls, origin: DomainOrigin) -> Self:
        return cls(
            address=origin.address,
            credential_kind=origin.kind,
            credential=origin.credential,
            issuer=origin.issuer,
        )


@strawberry.input(description="Who asked, with what and from where. One condition at least, 50 values in each at most.")
class OriginFilter:
    by: list[str] | None = strawberry.field(
        default=None, description="One of these names of keys or subjects of tokens."
    )
    credential: list[str] | None = strawberry.field(
        default=None, description="With one of these keys, by id, or tokens, by jti."
    )
    address: list[str] | None = strawberry.field(default=None, description="From one of these addresses.")

    def to_domain(self) -> DomainOriginFilter:
        return DomainOriginFilter(_values(self.by), _values(self.credential), _values(self.address))


@strawberry.input(
    description="Which entries of the audit. Conditions combine with AND, the values of one list with OR."
)
class AuditFilter:
    actions: list[AuditAction] | None = strawberry.field(default=None, description="One of these things was done.")
    subjects: list[strawberry.ID] | None = strawberry.field(
        default=None, description="To one of these jobs, webhooks, deliveries, operations or keys; 50 at most."
    )
    origin: OriginFilter | None = strawberry.field(default=None, description="By whom, with what and from where.")
    from_: datetime | None = strawberry.field(name="from", default=None, description="Not before this instant.")
    to: datetime | None = strawberry.field(default=None, description="Before this instant.")

    def to_domain(self) -> DomainFilter:
        return DomainFilter(
            actions=None if self.actions is None else tuple(dict.fromkeys(self.actions)),
            subjects=_values(self.subjects),
            origin=self.origin.to_domain() if self.origin else None,
            from_=self.from_,
            to=self.to,
        )


@strawberry.type(description="Something that was done or read, noted before it was.")
class AuditEntry:
    id: strawberry.ID = strawberry.field(description="Its own.")
    at: datetime = strawberry.field(description="When it was noted.")
    action: AuditAction = strawberry.field(description="What was done.")
    by: str = strawberry.field(description="The name of the key, the subject of the token, or the user of a command.")
    origin: Origin = strawberry.field(description="From where and with what.")
    subjects: list[strawberry.ID] = strawberry.field(description="The ids of what it was done to.")

    @classmethod
    def from_domain(cls, entry: DomainEntry) -> Self:
        return cls(
            id=strawberry.ID(entry.id),
            at=entry.at,
            action=entry.action,
            by=entry.by,
            origin=Origin.from_domain(entry.origin),
            subjects=[strawberry.ID(subject) for subject in entry.subjects],
        )


@strawberry.type(description="A page of the audit, newest first.")
class AuditConnection:
    nodes: list[AuditEntry] = strawberry.field(description="The entries of this page.")
    page_info: PageInfo = strawberry.field(description="Where the page stands.")

    @classmethod
    def from_domain(cls, page: Page[DomainEntry]) -> Self:
        return cls(
            nodes=[AuditEntry.from_domain(entry) for entry in page.items], page_info=PageInfo.of(page, audit_cursor)
        )


def _values(given: list[str] | list[strawberry.ID] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(dict.fromkeys(map(str, given)))
