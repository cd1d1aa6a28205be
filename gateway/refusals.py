"""HTTP requests that GraphQL has no answer to: a status, and an error in JSON that says why."""

from __future__ import annotations

import math
from typing import Any, Final

from cross_web import HTTPException
from starlette.responses import JSONResponse

from gateway.accepted import STREAM
from jobs.budget import OverBudget
from schema.faults import BAD_REQUEST, UNAVAILABLE, over_budget

ENOUGH: Final = "this gateway serves as many connections as it can: try again later, or another one"
_METHODS: Final = ("GET", "POST")


class StreamOnly(HTTPException):
    """A subscription was asked for by somebody who takes no stream."""

    def __init__(self) -> None:
        super().__init__(406, f"a subscription is answered as a stream: accept {STREAM}, or use a WebSocket")


class TooManyConnections(HTTPException):
    """A stream was asked for, and as many are open as may be."""

    def __init__(self) -> None:
        super().__init__(503, ENOUGH)


class TooManyRequests(HTTPException):
    """A stream was asked for by somebody who has opened too many of late."""

    def __init__(self, error: OverBudget) -> None:
        super().__init__(429, str(error))
        self.error = error


def refused(refusal: HTTPException) -> JSONResponse:
    """The answer."""
    if isinstance(refusal, TooManyRequests):
        error: Any = over_budget(refusal.error).formatted
        return JSONResponse({"errors": [error]}, refusal.status_code, retry_after(refusal.error.retry_after))
    headers = {"Allow": ", ".join(_METHODS)} if refusal.status_code == 405 else None
    code = UNAVAILABLE if refusal.status_code == 503 else BAD_REQUEST
    error = {"message": refusal.reason, "extensions": {"code": code}}
    return JSONResponse({"errors": [error]}, refusal.status_code, headers)


def retry_after(seconds: float) -> dict[str, str]:
    """The header, which has whole seconds."""
    return {"Retry-After": str(math.ceil(seconds))}
