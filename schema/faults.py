"""Top-level errors: what every client can rely on in them, and nothing that it should not see."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator
from typing import Any, Final

from graphql import DefinitionNode, GraphQLError, GraphQLSyntaxError, OperationDefinitionNode
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import SchemaExtension
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionContext
from strawberry.types.execution import StreamExecutionResult

from jobs.access import Forbidden
from jobs.budget import OverBudget
from jobs.errors import (
    BadCursor,
    CursorExpired,
    FilterTooSlow,
    InvalidInput,
    JobTooLarge,
    StoreUnavailable,
    SubscriberTooSlow,
    TooExpensive,
)

logger = logging.getLogger("jobgate.faults")

BAD_REQUEST: Final = "BAD_REQUEST"
PARSE_FAILED: Final = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED: Final = "GRAPHQL_VALIDATION_FAILED"
DOCUMENT_TOO_LARGE: Final = "DOCUMENT_TOO_LARGE"
BAD_USER_INPUT: Final = "BAD_USER_INPUT"
BAD_CURSOR: Final = "BAD_CURSOR"
CURSOR_EXPIRED: Final = "CURSOR_EXPIRED"
SUBSCRIBER_TOO_SLOW: Final = "SUBSCRIBER_TOO_SLOW"
STATS_TIMEOUT: Final = "STATS_TIMEOUT"
FILTER_TIMEOUT: Final = "FILTER_TIMEOUT"
UNAVAILABLE: Final = "UNAVAILABLE"
UNAUTHENTICATED: Final = "UNAUTHENTICATED"
TOO_MANY_OPERATIONS: Final = "TOO_MANY_OPERATIONS"
JOB_TOO_LARGE: Final = "JOB_TOO_LARGE"
FORBIDDEN: Final = "FORBIDDEN"
RATE_LIMITED: Final = "RATE_LIMITED"
DOCUMENT_NOT_FOUND: Final = "DOCUMENT_NOT_FOUND"
DOCUMENT_REQUIRED: Final = "DOCUMENT_REQUIRED"
INTERNAL: Final = "INTERNAL"

_QUOTED: Final = re.compile(r",? [Ff]ound: ")
_BUSY_SECONDS: Final = 1.0

_CODES: Final[dict[type[Exception], str]] = {
    CursorExpired: CURSOR_EXPIRED,
    FilterTooSlow: FILTER_TIMEOUT,
    JobTooLarge: JOB_TOO_LARGE,
    TooExpensive: STATS_TIMEOUT,
}
"""The codes of errors that there is nothing else to tell about."""


class PublicErrors(SchemaExtension):
    """Gives every error its ``extensions.code``, and masks those that nobody expected."""

    def on_operation(self) -> Iterator[None]:
        yield
        self._publish(self.execution_context.result)

    def on_stream_result(self, result: StreamExecutionResult) -> Iterator[None]:
        self._publish(result)
        yield None

    def _publish(self, result: Any) -> None:
        errors = getattr(result, "errors", None)
        if errors:
            result.errors = [published(error) for error in errors]


def ambiguity(context: ExecutionContext) -> list[GraphQLError]:
    """What is wrong with a request for a document of several operations that does not say which one is meant: the
    specification wants it said, Strawberry would run the first.
    """
    # The public attribute falls back on the first operation's name.
    named = context._provided_operation_name is not None  # noqa: SLF001  # nothing else tells
    definitions = context.graphql_document.definitions if context.graphql_document else ()
    if named or sum(map(_is_operation, definitions)) <= 1:
        return []
    return [GraphQLError("operationName must say which of the document's operations is meant")]


def _is_operation(definition: DefinitionNode) -> bool:
    return isinstance(definition, OperationDefinitionNode)


def too_busy() -> GraphQLError:
    """The fault of an operation that is not begun, since the gateway has as many under way as it may."""
    message = "this gateway has too much to do: nothing was begun, ask again in a moment, or another one"
    return GraphQLError(message, extensions={"code": UNAVAILABLE, "retryAfter": _BUSY_SECONDS})


def lapsed() -> GraphQLError:
    """The fault of an operation whose caller is no longer known: the key or token was revoked, or has expired."""
    message = "the key or token that was shown is no longer valid: connect again with another one"
    return GraphQLError(message, extensions={"code": UNAUTHENTICATED})


def over_budget(error: OverBudget) -> GraphQLError:
    """The fault of an operation that is not begun, since its caller has asked for too much of late."""
    return GraphQLError(str(error), extensions={"code": RATE_LIMITED, "retryAfter": error.retry_after})


def masked(defect: Exception) -> GraphQLError:
    """The fault of an operation that a defect of ours has ended; the log tells what it was."""
    return published(GraphQLError("", original_error=defect))


def published(error: GraphQLError) -> GraphQLError:
    """The error as clients see it. One that has its code already stays as it is."""
    if error.extensions and "code" in error.extensions:
        return error
    cause = error.original_error
    if cause is None:
        message, extensions = _without_value(error.message), {"code": _code_of(error)}
    elif isinstance(cause, GraphQLError) and _is_given(error, cause):
        message, extensions = _without_value(error.message), {"code": BAD_USER_INPUT}
    else:
        message, extensions = _described(cause)
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions,
    )


def _without_value(message: str) -> str:
    """Of an object with a field too many or too few, GraphQL quotes the whole, and with it the input of a job."""
    return _QUOTED.split(message, maxsplit=1)[0]


def _code_of(error: GraphQLError) -> str:
    """What GraphQL itself found: in the text, in the document, or – with no place in it, or a path – in the variables."""
    if isinstance(error, GraphQLSyntaxError):
        return PARSE_FAILED
    if error.message.startswith("Variable "):
        return BAD_USER_INPUT
    return VALIDATION_FAILED


def _is_given(error: GraphQLError, cause: GraphQLError) -> bool:
    """Whether GraphQL complains of a variable or an argument, and not of a value that it was to answer with."""
    return error.path is None or bool(cause.nodes)


def _described(cause: Exception) -> tuple[str, dict[str, Any]]:
    match cause:
        case BadCursor():
            return str(cause), {"code": BAD_CURSOR, "issues": _issues(cause)}
        case InvalidInput():
            return str(cause), {"code": BAD_USER_INPUT, "issues": _issues(cause)}
        case Forbidden():
            return str(cause), {"code": FORBIDDEN, "scope": cause.scope.value}
        case CursorExpired() | FilterTooSlow() | JobTooLarge() | TooExpensive():
            return str(cause), {"code": _CODES[type(cause)]}
        case SubscriberTooSlow():
            return str(cause), {"code": SUBSCRIBER_TOO_SLOW, "cursor": cause.cursor}
        case StoreUnavailable():
            return str(cause), {"code": UNAVAILABLE, "retryAfter": cause.retry_after}
        case MissingQueryError() | CannotGetOperationTypeError() | InvalidOperationTypeError():
            return _complaint(cause), {"code": BAD_REQUEST}
        case _:
            return _masked(cause)


def _complaint(cause: MissingQueryError | CannotGetOperationTypeError | InvalidOperationTypeError) -> str:
    match cause:
        case CannotGetOperationTypeError():
            return cause.as_http_error_reason()
        case InvalidOperationTypeError():
            return f"a {cause.operation_type.value} cannot be asked for in an address"
    return "there is no query in the request"


def _issues(error: InvalidInput) -> list[dict[str, Any]]:
    return [{"path": list(issue.path), "message": issue.message} for issue in error.issues]


def _masked(cause: Exception) -> tuple[str, dict[str, Any]]:
    """Nobody foresaw this: the client gets a number, the log everything else."""
    correlation = secrets.token_hex(6)
    logger.error("unexpected error %s", correlation, exc_info=cause)
    return f"Something went wrong ({correlation}).", {"code": INTERNAL, "correlationId": correlation}
