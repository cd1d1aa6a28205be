"""The schema, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
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

from jobs.budget import Buckets
from schema.access import guard, root_scopes
from schema.admission import MAX_IN_FLIGHT, Admission, InFlight
from schema.charging import Charged
from schema.context import Context
from schema.document_limits import DocumentLimits
from schema.faults import PublicErrors, published
from schema.known_documents import MAX_TOKENS, NO_DOCUMENTS, Documents, text_of
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.shared_answers import SharingExecutor
from schema.subscription import Subscription

_ANSWERED_ONCE: Final = frozenset({OperationType.QUERY, OperationType.MUTATION})


class Schema(strawberry.Schema):
    """Strawberry's schema, without its null defaults, and without a traceback in the log for all that clients get wrong."""

    def __init__(self, *, known_only: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._known_only = known_only
        guard(
            self._schema, self.config.name_converter.apply_naming_config, root_scopes((Query, Mutation, Subscription))
        )
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
        text = await text_of(query, _documents(context_value), known_only=self._known_only)
        if isinstance(text, GraphQLError):
            return ExecutionResult(data=None, errors=[text])
        allowed = _ANSWERED_ONCE & set(allowed_operation_types or _ANSWERED_ONCE)
        result = await super().execute(
            text, variable_values, context_value, root_value, operation_name, allowed, operation_extensions
        )
        # What ends an operation before its extensions come to it again: a defect in one of them.
        result.errors = [published(error) for error in result.errors] if result.errors else result.errors
        return result

    async def stream(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        operation_extensions: dict[str, Any] | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
    ) -> Any:
        """Answer as often as there is something to tell."""
        text = await text_of(query, _documents(context_value), known_only=self._known_only)
        if isinstance(text, GraphQLError):
            return _told(text)
        return await super().stream(
            *(text, variable_values, context_value, root_value, operation_name, operation_extensions),
            allowed_operation_types,
        )

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Unexpected errors are logged where they are masked."""


async def _told(error: GraphQLError) -> AsyncIterator[ExecutionResult]:
    yield ExecutionResult(data=None, errors=[error])


def _documents(context: Context | None) -> Documents:
    return NO_DOCUMENTS if context is None else context.documents


class _SilentExecutor(SharingExecutor):
    """Says what is wrong with variables, and not what may have been meant."""

    @classmethod
    def build(cls, *args: Any, **options: Any) -> Any:
        return super().build(*args, **{**options, "hide_suggestions": True})


def build_schema(
    max_in_flight: int = MAX_IN_FLIGHT,
    *,
    introspection: bool = True,
    buckets: Buckets | None = None,
    known_documents_only: bool = False,
) -> Schema:
    """The schema with everything that every operation passes through.

    Without ``introspection`` clients cannot ask for it, nor find it out from what they are told they may have meant. With
    ``buckets``, the budgets in the context of an operation are asked whether it may be begun.
    """
    limits = partial(Charged, buckets) if buckets else DocumentLimits
    in_flight = InFlight(max_in_flight)
    return Schema(
        known_only=known_documents_only,
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        config=StrawberryConfig(scalar_map=SCALARS),
        execution_context_class=SharingExecutor if introspection else _SilentExecutor,
        extensions=[
            PublicErrors,
            *([] if introspection else [DisableIntrospection]),
            partial(limits, suggestions=introspection),
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
