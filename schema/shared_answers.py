"""Events are answered once for all subscriptions that ask the same of them.

A dashboard that a thousand people look at asks a thousand times for the same fields of the same event, and executing the
selection is most of what it takes to tell them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from graphql import (
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
)
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from jobs.access import Scope
from schema.job import JobEvent

_KEPT: Final = 1_000
"""Answers that are kept, the newest: those who are told of an event at all are told of it within moments."""

_told: dict[tuple[str, ...], dict[str, Any]] = {}


class SharingExecutor(StrawberryGraphQLCoreExecutionContext):
    """Executes operations. What events say of themselves is the same for everybody who is told of them."""

    _question: tuple[str, ...] | None = None
    """The document and the name of the operation, where these alone decide what there is to say of an event."""

    def build_per_event_executor(self, payload: Any) -> Any:
        if self._question is None:
            self._question = _question(self.operation, self.fragment_definitions)
        return super().build_per_event_executor(payload)

    def execute_operation(self, serially: bool | None = None) -> Any:
        event = self.root_value
        if not self._question or not isinstance(event, JobEvent):
            return super().execute_operation(serially)
        # The cursor alone would do within one database.
        # But for what only some may read of it.
        reads = str(self.context_value.principal.may(Scope.PAYLOADS_READ))
        asked = (event.cursor, event.job_id, str(event.seq), reads, *self._question)
        data = _told.get(asked)
        if data is not None:
            return ExecutionResult(data)
        answer = super().execute_operation(serially)
        if isinstance(answer, ExecutionResult) and answer.data is not None and not answer.errors:
            _keep(asked, answer.data)
        return answer


def _keep(asked: tuple[str, ...], data: dict[str, Any]) -> None:
    if len(_told) >= _KEPT:
        del _told[next(iter(_told))]
    _told[asked] = data


def _question(operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]) -> tuple[str, ...]:
    """Empty where the answer depends on more: on variables in directives, on who asks, or on what else is stored."""
    [root] = operation.selection_set.selections[:1]
    if not isinstance(root, FieldNode) or root.directives or root.selection_set is None or operation.loc is None:
        return ()
    if not _plain(root.selection_set.selections, fragments):
        return ()
    return operation.loc.source.body, operation.name.value if operation.name else ""


def _plain(selections: Iterable[SelectionNode], fragments: Mapping[str, FragmentDefinitionNode]) -> bool:
    """Whether nothing but values of the event itself is selected, unconditionally."""
    return all(not one.directives and _is_plain(one, fragments) for one in selections)


def _is_plain(selection: SelectionNode, fragments: Mapping[str, FragmentDefinitionNode]) -> bool:
    match selection:
        case FieldNode(selection_set=None, arguments=arguments):
            return not arguments
        case InlineFragmentNode(selection_set=inner):
            return _plain(inner.selections, fragments)
        case FragmentSpreadNode(name=name):
            return _plain(fragments[name.value].selection_set.selections, fragments)
    return False
