"""What is answered, as the specification "GraphQL over HTTP" has it: for a result the response itself, and its status."""

from __future__ import annotations

from typing import Any, cast

from starlette.responses import JSONResponse
from strawberry.http import GraphQLHTTPResponse, process_result
from strawberry.types import ExecutionResult

from gateway.accepted import Accepted
from gateway.credentials import Unauthenticated
from jobs.errors import StoreUnavailable
from schema.faults import DOCUMENT_REQUIRED, INTERNAL, RATE_LIMITED, UNAUTHENTICATED, UNAVAILABLE


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
    for code, status in ((RATE_LIMITED, 429), (DOCUMENT_REQUIRED, 403)):
        if code in codes:
            return status
    return 503 if UNAVAILABLE in codes else 400


def unauthenticated(refusal: Unauthenticated, accepted: Accepted) -> JSONResponse:
    """The answer to a request of nobody who is known. What it asks for was not even read."""
    error = {"message": str(refusal), "extensions": {"code": UNAUTHENTICATED}}
    return JSONResponse({"errors": [error]}, 401, {"WWW-Authenticate": "Bearer"}, accepted.json)


def unavailable(away: StoreUnavailable) -> JSONResponse:
    """The answer while it cannot be found out who asks."""
    error = {"message": str(away), "extensions": {"code": UNAVAILABLE, "retryAfter": away.retry_after}}
    return JSONResponse({"errors": [error]}, 503)
