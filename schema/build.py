"""The schema, put together."""

from __future__ import annotations

from typing import Final

import strawberry
from graphql import GraphQLError
from strawberry.extensions import MaxTokensLimiter, ValidationCache
from strawberry.printer import print_schema
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from schema.faults import PublicErrors
from schema.mutation import Mutation
from schema.query import Query
from schema.scalars import SCALARS
from schema.subscription import Subscription

MAX_TOKENS: Final = 2_000


class Schema(strawberry.Schema):
    """Does not log what clients got wrong: Strawberry would, with a traceback each."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Unexpected errors are logged where they are masked."""


def build_schema() -> Schema:
    """The schema with everything that every operation passes through."""
    return Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        config=StrawberryConfig(scalar_map=SCALARS),
        extensions=[PublicErrors, ValidationCache, _token_limit],
    )


def printed_schema() -> str:
    """The schema as text, as it is committed in ``schema/schema.graphql``."""
    return print_schema(build_schema()) + "\n"


def _token_limit() -> MaxTokensLimiter:
    return MaxTokensLimiter(MAX_TOKENS)
