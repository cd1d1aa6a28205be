"""What a client takes for an answer, by the ``Accept`` headers of its request (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

JSON: Final = "application/json"
RESPONSE: Final = "application/graphql-response+json"
"""That of the specification "GraphQL over HTTP", which has the status tell whether anything was carried out."""

STREAM: Final = "text/event-stream"
_WEIGHT: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_NOT_STREAMS: Final = {JSON, RESPONSE, "application/*", "*/*"}


class Accepted:
    """What may be answered with. Who says nothing, or takes nothing of all this, gets JSON."""

    def __init__(self, headers: Iterable[str]) -> None:
        ranges = dict(_media_range(part) for header in headers for part in header.split(","))
        wanted = {name for name, quality in ranges.items() if quality > 0}
        self.stream = STREAM in wanted
        """An answer may be a stream."""
        self.only_stream = self.stream and not wanted & _NOT_STREAMS
        """It must be one. Whoever takes JSON as well, as urql does in every request, gets a stream of subscriptions only."""
        plain = ranges.get(JSON, ranges.get("application/*", ranges.get("*/*", 0)))
        self.json = RESPONSE if RESPONSE in wanted and ranges[RESPONSE] >= plain else JSON
        """The media type of an answer that is none."""


def _media_range(part: str) -> tuple[str, float]:
    """One media type, and how much it is wanted: 0 is not at all. What makes no sense of that counts as 1."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weights = [parameter.removeprefix("q=") for parameter in parameters if parameter.startswith("q=")]
    return name, float(weights[0]) if weights and _WEIGHT.fullmatch(weights[0]) else 1.0
