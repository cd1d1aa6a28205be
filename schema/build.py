"""The schema, put together."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import strawberry
from graphql import (
    GraphQLArgument,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
)
from strawberry.extensions import DisableIntrospection, MaxTokensLimiter
from strawberry.printer import print_schema
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.graphql import OperationType

from schema.admission import MAX_IN_FLIGHT, Admission, InFlight
from schema.document_limits import DocumentLimits
from schema.faults import OneOperation, PublicErrors, published
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.shared_answers import SharingExecutor
from schema.subscription import Subscription

MAX_TOKENS: Final = 2_000

_ANSWERED_ONCE: Final = frozenset({OperationType.QUERY, OperationType.MUTATION})


class Schema(strawberry.Schema):
    """Strawberry's schema, without its null defaults, and without a traceback in the log for all that clients get wrong."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        _forget_null_defaults(self._schema)

    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """Answer once, which is why subscriptions are not among what may be asked for here."""
        allowed = _ANSWERED_ONCE & set(allowed_operation_types or _ANSWERED_ONCE)
        result = await super().execute(
            query, variable_values, context_value, root_value, operation_name, allowed, operation_extensions
        )
        # What ends an operation before its extensions come to it again: a defect in one of them.
        result.errors = [published(error) for error in result.errors] if result.errors else result.errors
        return result

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Unexpected errors are logged where they are masked."""


class _SilentExecutor(SharingExecutor):
    """Says what is wrong with variables, and not what may have been meant."""

    @classmethod
    def build(cls, *args: Any, **options: Any) -> Any:
        return super().build(*args, **{**options, "hide_suggestions": True})


def build_schema(max_in_flight: int = MAX_IN_FLIGHT, *, introspection: bool = True) -> Schema:
    """The schema with everything that every operation passes through.

    Without ``introspection`` clients cannot ask for it, nor find it out from what they are told they may have meant.
    """
    in_flight = InFlight(max_in_flight)
    return Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        config=StrawberryConfig(scalar_map=SCALARS),
        execution_context_class=SharingExecutor if introspection else _SilentExecutor,
        extensions=[
            PublicErrors,
            *([] if introspection else [DisableIntrospection]),
            partial(DocumentLimits, suggestions=introspection),
            OneOperation,
            _token_limit,
            partial(Admission, in_flight),
        ],
    )


def printed_schema() -> str:
    """The schema as text, as it is committed in ``schema/schema.graphql``."""
    return print_schema(build_schema()) + "\n"


def _forget_null_defaults(schema: GraphQLSchema) -> None:
    """Strawberry publishes Python's ``= None`` as the default ``null``, which is not what the contract says.

    What is left out then arrives as left out, and Python's own default holds.
    """
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLInputObjectType):
            _forget(type_.fields.values())
        elif isinstance(type_, GraphQLObjectType):
            for field in type_.fields.values():
                _forget(field.args.values())


def _forget(values: Iterable[GraphQLArgument | GraphQLInputField]) -> None:
    for value in values:
        if value.default_value is None:
            value.default_value = Undefined
            value.default = None


def _token_limit() -> MaxTokensLimiter:
    return MaxTokensLimiter(MAX_TOKENS)
