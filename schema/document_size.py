"""How large a GraphQL document is, found in one walk before anything else looks at it.

Spread out, a text of 800 characters can stand for a thousand million fields: fragments that spread each other double at every
step. Here each fragment is measured once, however often it is spread, so that the walk takes as long as the text is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    NameNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
)

from jobs.budget import BIGGEST_OPERATION, Kind

MAX_OPERATIONS: Final = 10
MAX_FRAGMENTS: Final = 30
MAX_ROOT_FIELDS: Final = BIGGEST_OPERATION[Kind.MUTATIONS]
MAX_DEPTH: Final = 15
"""Levels of fields: the introspection that GraphiQL asks for has as many."""

MAX_ALIASES: Final = 30
MAX_DIRECTIVES: Final = 50
MAX_FIELDS: Final = 2_000
MAX_REPEATED: Final = 50
"""Fields that stand beside another one of the same name. To validate that they ask the same compares each with each."""

MAX_COST: Final = BIGGEST_OPERATION[Kind.COST]
"""What a page of 200 jobs with 100 events of each costs, and somewhat more."""

_MAX_PAGE: Final = 200
_DEFAULT_PAGE: Final = 50
"""Of a list that decides it by itself: ``jobs``."""

_SOME: Final = 10
"""How many entries a list is taken to have that is no page, and may not have many: the attempts of a delivery."""

_LENGTHS: Final = {
    ("Query", "webhooks"): 100,
    ("Query", "tasks"): 100,
    ("Query", "workers"): 100,
    ("ExecutionStats", "series"): 1_500,
}
"""How many entries those are taken to have that may have very many."""

_COSTS: Final = {
    ("Query", "stats"): 100,
    ("Query", "events"): 100,
    ("JobStats", "executions"): 100,
    ("JobConnection", "totalCount"): 10,
}
"""What is more work than reading an object: it has to be counted, or looked for."""

_PAGED_BY: Final = ("first", "last", "count")
_MANY_DIGITS: Final = 10
_UNTOLD: Final = 1_000_000


@dataclass(slots=True)
class Size:
    """Of a document, or of a part of it, with all fragments spread out."""

    depth: int = 0
    """Levels of fields and of fragments in place."""
    width: int = 0
    """Fields at the first level."""
    fields: int = 0
    """Fields and fragments: of those alone, which may be empty, there could be as many."""
    aliases: int = 0
    repeated: int = 0
    """Fields with the name of an earlier one in the same braces."""
    directives: int = 0
    cost: int = 0
    """About how many objects have to be read for the answer, and more for what is more work than reading one."""
    each: int = 0
    """The same for one entry of each of the lists there: how many they have, the field that they belong to decides."""

    def add(self, other: Size) -> None:
        """What is beside it, at the same level."""
        self.depth = max(self.depth, other.depth)
        self.width += other.width
        self.fields += other.fields
        self.aliases += other.aliases
        self.repeated += other.repeated
        self.directives += other.directives
        self.cost += other.cost
        self.each += other.each


@dataclass(frozen=True, slots=True)
class Findings:
    """What the operations of a document amount to."""

    refused: str | None
    """What there is too much of, for the author to read; None for a document that is small enough."""
    sizes: Mapping[str | None, Size]
    """Those of its operations, by name, with the fragments that each spreads; not all of them where it is refused."""


def examine(document: DocumentNode, schema: GraphQLSchema, variables: Mapping[str, Any]) -> Findings:
    """Takes time in proportion to the text, however many operations share parts of it. What makes no sense counts little: it is
    for validation to say so.
    """
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    fragments = [one for one in document.definitions if isinstance(one, FragmentDefinitionNode)]
    sizes: dict[str | None, Size] = {}
    fields = 0
    refused = _first_excess(
        ("operations", len(operations), MAX_OPERATIONS), ("fragments", len(fragments), MAX_FRAGMENTS)
    )
    if refused is not None:
        return Findings(refused, sizes)
    for operation in operations:
        walk = _Walk(operation, fragments, schema, variables)
        size = walk.operation()
        sizes[operation.name.value if operation.name else None] = size
        # Fragments that it does not spread are validated all the same.
        parts = (size, *(walk.fragment(fragment.name.value, 1) for fragment in fragments))
        fields += max(part.fields for part in parts)
        measured = (one for part in parts for one in _measured(part))
        refused = _first_excess(("root fields", size.width, MAX_ROOT_FIELDS), *measured, ("fields", fields, MAX_FIELDS))
        if refused is not None:
            return Findings(refused, sizes)
    return Findings(None, sizes)


def measure(
    operation: OperationDefinitionNode, document: DocumentNode, schema: GraphQLSchema, variables: Mapping[str, Any]
) -> Size:
    """The size of one operation of the document. No deeper than one level more than is allowed."""
    fragments = [one for one in document.definitions if isinstance(one, FragmentDefinitionNode)]
    return _Walk(operation, fragments, schema, variables).operation()


class _Walk:
    """Over one operation and the fragments beside it."""

    def __init__(
        self,
        operation: OperationDefinitionNode,
        fragments: Sequence[FragmentDefinitionNode],
        schema: GraphQLSchema,
        variables: Mapping[str, Any],
    ) -> None:
        self._operation = operation
        self._fragments = {one.name.value: one for one in fragments}
        self._schema = schema
        self._variables = variables
        self._defaults = {one.variable.name.value: one.default_value for one in operation.variable_definitions or ()}
        self._known: dict[str, Size] = {}

    def operation(self) -> Size:
        operation = self._operation
        size = self._selections(operation.selection_set, self._schema.get_root_type(operation.operation), 1)
        size.directives += len(operation.directives or ())
        size.directives += sum(len(one.directives or ()) for one in operation.variable_definitions or ())
        size.cost += _SOME * size.each
        return size

    def fragment(self, name: str, level: int) -> Size:
        """That of what it stands for. It is walked where it is met first: below there may be no more room for it."""
        if name not in self._known:
            # One that comes back to itself ends here, for validation to refuse.
            self._known[name] = Size()
            fragment = self._fragments.get(name)
            if fragment is not None:
                condition = self._schema.get_type(fragment.type_condition.name.value)
                size = self._selections(fragment.selection_set, condition, level)
                size.directives += len(fragment.directives or ())
                self._known[name] = size
        return self._known[name]

    def _selections(self, selections: SelectionSetNode, parent: GraphQLNamedType | None, level: int) -> Size:
        if level > MAX_DEPTH:
            # How much deeper need not be known, and the interpreter's own limit is not to be found out.
            return Size(depth=1)
        size = Size(repeated=_repeated(selections))
        for one in selections.selections:
            size.directives += len(one.directives or ())
            match one:
                case FieldNode():
                    self._add_field(size, one, parent, level)
                case InlineFragmentNode(type_condition=condition):
                    within = parent if condition is None else self._schema.get_type(condition.name.value)
                    inner = self._selections(one.selection_set, within, level + 1)
                    inner.depth += 1
                    inner.fields += 1
                    size.add(inner)
                case FragmentSpreadNode():
                    size.fields += 1
                    size.add(self.fragment(one.name.value, level))
        return size

    def _add_field(self, size: Size, node: FieldNode, parent: GraphQLNamedType | None, level: int) -> None:
        field = _definition(node, parent)
        size.width += 1
        size.fields += 1
        size.aliases += node.alias is not None
        entries = self._entries(node, field)
        if node.selection_set is None:
            size.depth = max(size.depth, 1)
            # A list of plain values costs something only where a client says how many are to be computed.
            size.cost += entries or 0
            return
        inner = self._selections(node.selection_set, None if field is None else get_named_type(field.type), level + 1)
        size.depth = max(size.depth, inner.depth + 1)
        size.fields += inner.fields
        size.aliases += inner.aliases
        size.repeated += inner.repeated
        size.directives += inner.directives
        # What introspection reads, by fields that no type lists, is bounded by a rule of its own.
        if field is not None and parent is not None:
            place = (parent.name, node.name.value)
            whole = _COSTS.get(place, 1) + inner.cost + inner.each * (_SOME if entries is None else entries)
            # A page is read whatever is asked of it.
            whole += entries or 0 if inner.each == 0 else 0
            if place in _LENGTHS:
                size.cost += whole * _LENGTHS[place]
            elif is_list_type(get_nullable_type(field.type)):
                size.each += whole
            else:
                size.cost += whole

    def _entries(self, node: FieldNode, field: GraphQLField | None) -> int | None:
        """How many entries the field asks for; None when it is no page."""
        paging = [name for name in _PAGED_BY if name in field.args] if field is not None and field.args else ()
        if field is None or not paging:
            return None
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        default = field.args[paging[0]].default_value
        usual = default if isinstance(default, int) else _DEFAULT_PAGE
        asked = [self._number(given[name], usual) for name in paging if name in given]
        return max(asked) if asked else usual

    def _number(self, value: ValueNode | None, usual: int) -> int:
        match value:
            case VariableNode(name=NameNode(value=name)) if name in self._variables:
                given = self._variables[name]
                return usual if given is None else _bounded(given)
            case VariableNode(name=NameNode(value=name)):
                return self._number(self._defaults.get(name), usual)
            case IntValueNode():
                return _bounded(int(value.value)) if len(value.value) < _MANY_DIGITS else _MAX_PAGE
        return usual


def _measured(size: Size) -> Iterator[tuple[str, int, int]]:
    yield "levels", size.depth, MAX_DEPTH
    yield "aliases", size.aliases, MAX_ALIASES
    yield "fields beside one of the same name", size.repeated, MAX_REPEATED
    yield "directives", size.directives, MAX_DIRECTIVES
    yield "fields", size.fields, MAX_FIELDS
    yield "points of cost", size.cost, MAX_COST


def _repeated(selections: SelectionSetNode) -> int:
    names = [(one.alias or one.name).value for one in selections.selections if isinstance(one, FieldNode)]
    return len(names) - len({*names})


def _first_excess(*measured: tuple[str, int, int]) -> str | None:
    for what, count, most in measured:
        if count > most:
            told = str(count) if count < _UNTOLD else f"more than {_UNTOLD}"
            return f"the document has {told} {what}: at most {most} are allowed"
    return None


def _definition(node: FieldNode, parent: GraphQLNamedType | None) -> GraphQLField | None:
    if not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
        return None
    found: GraphQLField | None = parent.fields.get(node.name.value)
    return found


def _bounded(number: object) -> int:
    """More than a page can have is refused later; what is no number, too."""
    return min(max(number, 0), _MAX_PAGE) if isinstance(number, int) else _MAX_PAGE
