"""Which questions about events have the same answer for everybody who asks them."""

import pytest
from graphql import FragmentDefinitionNode, OperationDefinitionNode, parse

from schema.shared_answers import _question

FRAGMENT = " fragment F on JobEvent { seq ...G } fragment G on JobEvent { "


def question(document: str, *, with_location: bool = True) -> tuple[str, ...]:
    operation, *fragments = parse(document, no_location=not with_location).definitions
    assert isinstance(operation, OperationDefinitionNode)
    return _question(operation, {one.name.value: one for one in fragments if isinstance(one, FragmentDefinitionNode)})


@pytest.mark.parametrize(
    "document",
    [
        "subscription { jobEvents { type } }",
        "subscription ($f: JobEventFilter) { some: jobEvents(filter: $f) { kind: type __typename } }",
        "subscription { jobEvents { ...F ... on JobEvent { at } } }" + FRAGMENT + "type }",
    ],
)
def test_values_of_the_event_itself(document: str) -> None:
    assert question(document) == (document, "")


def test_operations_of_one_document_are_told_apart_by_their_names() -> None:
    document = "subscription A { jobEvents { type } }"
    assert question(document) == (document, "A")


@pytest.mark.parametrize(
    "document",
    [
        "subscription { jobEvents { type job { status } } }",
        "subscription { jobEvents { passedOver { count } } }",
        # What only some may see.
        "subscription { jobEvents { origin { address } } }",
        "subscription ($n: Int) { jobEvents { type(first: $n) } }",
        "subscription ($on: Boolean!) { jobEvents { type @include(if: $on) } }",
        "subscription ($on: Boolean!) { jobEvents { ... @include(if: $on) { type } } }",
        "subscription ($on: Boolean!) { jobEvents { ...F @skip(if: $on) } }" + FRAGMENT + "type }",
        "subscription { jobEvents { ...F } }" + FRAGMENT + "job { status } }",
        "subscription ($on: Boolean!) { jobEvents @include(if: $on) { type } }",
        "subscription { ...F } fragment F on Subscription { jobEvents { type } }",
    ],
)
def test_what_depends_on_more(document: str) -> None:
    assert question(document) == ()


def test_a_document_that_is_not_known_by_its_text() -> None:
    assert question("subscription { jobEvents { type } }", with_location=False) == ()
