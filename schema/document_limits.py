"""Documents on their way to be executed: small enough, and then valid."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from graphql import ASTValidationRule, DocumentNode, GraphQLError, GraphQLSchema, validate
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.extensions import SchemaExtension
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from schema.document_size import MAX_COST, Size, examine
from schema.faults import DOCUMENT_TOO_LARGE, ambiguity

# Of the rule that compares fields of the same name, each with each, which is slow even where all of them are the same. An
# ordinary document needs some hundreds of its units; the package says that this is where to set them.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 3_000

_REMEMBERED: Final = 128
"""Documents that were validated; most callers ask the same few."""


class DocumentLimits(SchemaExtension):
    """Refuses documents that are too large before they are validated, which may itself take long for such a one. Of others,
    the answer tells the cost.

    Without ``suggestions``, what validation finds wrong is told without what may have been meant: that would tell the schema.
    """

    def __init__(self, *, suggestions: bool = True) -> None:
        self._suggestions = suggestions
        self._size: Size | None = None

    def on_validate(self) -> Iterator[None]:
        """Validate it, or say why it is not even looked at."""
        self._check()
        yield

    def _check(self) -> None:
        context = self.execution_context
        document = context.graphql_document
        if document is None:
            return
        # Strawberry's own extensions reach it in this way.
        schema = context.schema._schema  # noqa: SLF001
        found = examine(document, schema, context.variables or {})
        if found.refused is not None:
            context.pre_execution_errors = [GraphQLError(found.refused, extensions={"code": DOCUMENT_TOO_LARGE})]
            return
        wrong = _validated(schema, document, tuple(context.validation_rules), self._suggestions)
        context.pre_execution_errors = wrong or ambiguity(context)
        if not context.pre_execution_errors:
            self._size = found.sizes.get(context.operation_name)

    def get_results(self) -> dict[str, Any]:
        """What the operation is taken to cost, for ``extensions.cost``: in every answer, but of a subscription in its first
        alone, since Strawberry asks before each, and nothing has changed. A document that is refused has no cost.
        """
        size, self._size = self._size, None
        return {} if size is None else {"cost": {"estimated": estimated(size), "limit": MAX_COST}}


def estimated(size: Size) -> int:
    """The cost of an operation of this size. Also one that reads nothing is some work."""
    return max(size.cost, 1)


@lru_cache(maxsize=_REMEMBERED)
def _validated(
    schema: GraphQLSchema, document: DocumentNode, rules: tuple[type[ASTValidationRule], ...], suggestions: bool
) -> list[GraphQLError]:
    """What Strawberry finds wrong, which itself cannot leave its suggestions away."""
    all_rules = (*rules, MaybeNullValidationRule, OneOfInputValidationRule)
    return validate(schema, document, all_rules, hide_suggestions=not suggestions)
