"""The interface of everything that can be read again by its id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, TypeVar

import strawberry

from jobs.paging import Page

Item = TypeVar("Item")


@strawberry.interface(description="Something with an id of its own.")
class Node:
    id: strawberry.ID = strawberry.field(description="Unique among all nodes.")


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether more follows.")
    has_previous_page: bool = strawberry.field(description="Whether something comes before.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first item; null on an empty page.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last item; null on an empty page.")

    @classmethod
    def of(cls, page: Page[Item], cursor: Callable[[Item], str]) -> Self:
        """That of a page, whose items have these cursors."""
        items = page.items
        return cls(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=cursor(items[0]) if items else None,
            end_cursor=cursor(items[-1]) if items else None,
        )
