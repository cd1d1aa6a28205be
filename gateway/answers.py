"""What is answered for a result, as the specification "GraphQL over HTTP" has it: the response itself, and its status."""

from __future__ import annotations

from typing import Any, cast

from strawberry.http import GraphQLHTTPResponse, process_result
from strawberry.types import ExecutionResult

from schema.faults import INTERNAL, UNAVAILABLE


def answer_of(result: ExecutionResult) -> GraphQLHTTPResponse:
    """The response. It has an entry ``data`` only where something was carried out, though that may have come to nothing."""
    answer = process_result(result)
    if result.data is None and not any(error.path for error in result.errors or ()):
        del answer["data"]
    return answer


def status_of(answer: GraphQLHTTPResponse) -> int:
    """That of an answer of the media type ``application/graphql-response+json``."""
    if "data" in answer:
        return 200
    errors = cast("list[dict[str, Any]]", answer.get("errors") or [])
    codes = {error.get("extensions", {}).get("code", INTERNAL) for error in errors}
    if INTERNAL in codes:
        return 500
    return 503 if UNAVAILABLE in codes else 400
