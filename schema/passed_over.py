"""Occurrences that are not run, as events tell of them."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry

from jobs.occurrences import PassedOver as DomainPassedOver
from schema.enums import PassedOverCause


@strawberry.type(description="Occurrences of a recurring job that came due one after the other, and are not run.")
class PassedOver:
    cause: PassedOverCause = strawberry.field(description="Why they are not run.")
    count: int = strawberry.field(description="How many they are; a million stands for more as well.")
    first: datetime = strawberry.field(description="The first of them.")
    last: datetime = strawberry.field(description="The last of them.")

    @classmethod
    def from_domain(cls, passed: DomainPassedOver) -> Self:
        return cls(cause=passed.cause, count=passed.count, first=passed.first, last=passed.last)
