"""A client for event streams: what they say, event by event and as it is written."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

import httpx

from tests.costs import costless

DEADLINE: Final = 20.0


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream; a comment has neither name nor data."""

    name: str | None
    id: str | None
    data: Any


class Stream:
    """The body of an answer, cut where an event ends."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._texts = response.aiter_text()
        self._rest = ""

    async def written(self) -> str | None:
        """The next event or comment as it is written, without the empty line that ends it; None at the end."""
        async with asyncio.timeout(DEADLINE):
            while "\n\n" not in self._rest:
                text = await anext(self._texts, None)
                if text is None:
                    assert self._rest == "", f"cut in the middle: {self._rest!r}"
                    return None
                self._rest += text
        event, _, self._rest = self._rest.partition("\n\n")
        return event

    async def event(self) -> Event | None:
        """The next event, but for what it tells of its cost; None at the end. Comments are passed over."""
        while (written := await self.written()) is not None:
            fields = dict(line.split(": ", 1) for line in written.split("\n"))
            if "" not in fields:
                data = fields.get("data")
                return Event(fields.get("event"), fields.get("id"), costless(json.loads(data)) if data else None)
        return None

    async def told(self, field: str) -> Any:
        """What the next event says of ``field``: it has to be a ``next`` without errors."""
        event = await self.event()
        assert event is not None, "the stream has ended"
        assert (event.name, list(event.data)) == ("next", ["data"]), event
        return event.data["data"][field]

    async def rest(self) -> list[Event]:
        """All that is left."""
        events = []
        while (event := await self.event()) is not None:
            events.append(event)
        return events
