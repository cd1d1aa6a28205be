"""How large documents may be, however small their text is: found in time that is in proportion to the text."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, get_introspection_query, parse
from graphql import build_schema as graphql_schema

from schema.build import build_schema
from schema.document_size import (
    MAX_ALIASES,
    MAX_COST,
    MAX_DEPTH,
    MAX_DIRECTIVES,
    MAX_FIELDS,
    MAX_FRAGMENTS,
    MAX_OPERATIONS,
    MAX_ROOT_FIELDS,
    Size,
    examine,
    measure,
)

SCHEMA: Final[GraphQLSchema] = build_schema()._schema


def size_of(text: str, variables: Mapping[str, Any] | None = None) -> Size:
    document = parse(text)
    [operation] = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    return measure(operation, document, SCHEMA, variables or {})


def refused(text: str, variables: Mapping[str, Any] | None = None) -> str | None:
    return examine(parse(text), SCHEMA, variables or {}).refused


def doubling(levels: int) -> str:
    """Each fragment spreads the next one twice."""
    steps = [f"fragment F{n} on Job {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels - 1)]
    return f'{{ job(id: "j") {{ ...F0 }} }} {" ".join(steps)} fragment F{levels - 1} on Job {{ id }}'


def emptiness(levels: int) -> str:
    """The same, with nothing in the end."""
    steps = [f"fragment F{n} on JobEvent {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels - 1)]
    return f"{' '.join(steps)} fragment F{levels - 1} on JobEvent {{ }}"


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ('{ job(id: "j") { id status tags } }', 1),
        ("{ jobs { pageInfo { endCursor } } }", 1 + 1 + 50),
        ("{ jobs(first: 7) { nodes { id } } }", 1 + 7),
        ("{ jobs(last: 7) { edges { cursor node { id } } } }", 1 + 7 * 2),
        ("{ jobs { nodes { id } } }", 1 + 50),
        ("{ jobs(first: 7) { nodes { id upcomingRuns } } }", 1 + 7 * (1 + 5)),
        ("{ jobs(first: 7) { nodes { upcomingRuns(count: 20) } } }", 1 + 7 * (1 + 20)),
        ("{ jobs(first: 7) { nodes { history(first: 3) { executions { number } } } } }", 1 + 7 * (1 + 1 + 3)),
        ("{ jobs(first: 7) { nodes { id } ...F } } fragment F on JobConnection { nodes { id } }", 1 + 7 + 7),
        ("{ jobs(first: 7) { nodes { ... on Job { events(first: 3) { nodes { at } } } } } }", 1 + 7 * (1 + 1 + 3)),
        ("{ webhooks { deliveries(first: 3) { nodes { attempts { at } } } } }", 100 * (1 + 1 + 3 * (1 + 10))),
        ("{ jobs(first: 7, last: 9) { nodes { id } } }", 1 + 9),
        ('{ node(id: "j") { ... on Job { events(first: 3) { nodes { at } } } ... on Webhook { url } } }', 1 + 1 + 3),
        ('mutation { cancel(id: "j") { ... on Job { history(first: 3) { executions { number } } } } }', 1 + 1 + 3),
        ("subscription { jobEvents { job { events { nodes { at } } } } }", 1 + 1 + 1 + 50),
        ("{ jobs(first: 7) @skip(if: true) { nodes { id } totalCount { value } } }", 1 + 7 + 10),
        ("{ stats { executions { series { start } } } }", 100 + 100 + 1500),
        ("{ jobs(first: 100000) { nodes { id } } }", 1 + 200),
        ("{ jobs(first: 99999999999999999999) { nodes { id } } }", 1 + 200),
        ("{ jobs(first: " + "9" * 5000 + ") { nodes { id } } }", 1 + 200),
        ("{ jobs(first: -5) { nodes { id } } }", 1),
        ('{ jobs(first: "x") { nodes { id } } }', 1 + 50),
        ("{ stats { total } }", 100),
        ("{ events(first: 7) { nodes { at } } }", 100 + 7),
        ("{ tasks { name } workers { id } }", 100 + 100),
        ("{ __schema { types { fields { name } } } __typename }", 0),
        ("{ nothing(first: 7) { nodes { id } } }", 0),
        (get_introspection_query(), 0),
    ],
)
def test_what_is_read_for_an_answer_costs_something(text: str, cost: int) -> None:
    assert size_of(text).cost == cost


def test_a_list_of_which_nothing_is_known_has_some_entries() -> None:
    schema = graphql_schema("type Query { things: [Thing!]! } type Thing { parts: [Thing!]! name: String }")
    document = parse("{ things { name parts { name } } }")
    [operation] = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    assert measure(operation, document, schema, {}).cost == 10 * (1 + 10)


@pytest.mark.parametrize(
    ("variables", "entries"),
    [({"n": 7}, 7), ({}, 4), ({"n": None}, 50), ({"n": "7"}, 200), ({"n": 1000}, 200), ({"n": -7}, 0)],
)
def test_a_variable_counts_as_what_it_is(variables: Mapping[str, Any], entries: int) -> None:
    text = "query ($n: Int = 4) { jobs(first: $n) { nodes { id } } }"
    assert size_of(text, variables).cost == 1 + entries


def test_a_variable_that_is_not_given_leaves_the_page_as_it_is() -> None:
    assert size_of("query ($n: Int) { jobs(first: $n) { nodes { id } } }").cost == 1 + 50


def test_fragments_are_counted_as_often_as_they_are_spread() -> None:
    text = '{ job(id: "j") { ...F ...F } } fragment F on Job @a { x: id @b status history { totalExecutions } }'
    assert size_of(text) == Size(depth=3, width=1, fields=1 + 2 * 5, aliases=2, directives=2 * 2, cost=1 + 2 * (1 + 20))


def test_a_fragment_that_comes_back_to_itself_ends_the_walk() -> None:
    assert size_of("{ ...F } fragment F on Query { __typename ...F }").fields == 3


DEEP: Final = "{ job(id: 1) " + "{ events { nodes { job " * 60 + "{ id }" + " } } }" * 60 + " }"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (doubling(MAX_FRAGMENTS + 1), f"31 fragments: at most {MAX_FRAGMENTS} are allowed"),
        (doubling(MAX_FRAGMENTS), f"more than 1000000 fields: at most {MAX_FIELDS} are allowed"),
        ("{" + "__typename " * 11 + "}", f"11 root fields: at most {MAX_ROOT_FIELDS} are allowed"),
        ("query A { __typename } query B {" + "__typename " * 11 + "}", "11 root fields"),
        ("{ ...F } fragment F on Query {" + "__typename " * 11 + "}", "11 root fields"),
        ("{ ... {" + "__typename " * 6 + "} ... {" + "__typename " * 5 + "} }", "11 root fields"),
        ("subscription { jobEvents { ...F0 } } " + emptiness(MAX_FRAGMENTS), "more than 1000000 fields"),
        ("{ ... {" + "... { } " * 2000 + "} }", "2001 fields: at most"),
        ("".join(f"query Q{n} {{ __typename }}" for n in range(11)), f"11 operations: at most {MAX_OPERATIONS} are"),
        ("query (" + "$v: Int @x @x @x @x " * 13 + ") { __typename }", "52 directives"),
        ("{ __typename } fragment F on Job { " + "x: id " * 31 + "}", "31 aliases"),
        ("{ __typename } fragment F on Query { " + "... {" * 60 + "id" + "}" * 61, "16 levels"),
        (DEEP, f"16 levels: at most {MAX_DEPTH} are allowed"),
        ("{" + "... {" * 60 + "__typename" + "}" * 61, "16 levels"),
        ("{ job(id: 1) { " + "x: id " * 31 + "} }", f"31 aliases: at most {MAX_ALIASES} are allowed"),
        ("{ __typename " + "@x " * 51 + "}", f"51 directives: at most {MAX_DIRECTIVES} are allowed"),
        ("query " + "@x " * 51 + "{ __typename }", "51 directives"),
        ("{ ... " + "@x " * 51 + "{ __typename } }", "51 directives"),
        ("{ ...F " + "@x " * 51 + "} fragment F on Query { __typename }", "51 directives"),
        ("{ job(id: 1) {" + "... { id } " * 1000 + "} }", f"2001 fields: at most {MAX_FIELDS} are allowed"),
        ("query A { ...F } query B { ...F } fragment F on Query {" + "... { } " * 1000 + "}", "2002 fields"),
        ("query A { a: id } query B { b: id } fragment F on Query {" + "... { } " * 1001 + "}", "2002 fields"),
        ("{ job(id: 1) {" + "id " * 52 + "} }", "51 fields beside one of the same name: at most 50 are allowed"),
        ("{ job(id: 1) { ... on Job {" + "id: env " * 26 + "id " * 26 + "} } }", "51 fields beside one"),
        ("{ job(id: 1) { ...F ...F } } fragment F on Job {" + "id " * 27 + "}", "52 fields beside one"),
        ("{ __typename } fragment F on Job {" + "id " * 52 + "}", "51 fields beside one"),
        ("{ jobs(first: 200) { nodes { events(first: 200) { nodes { at } } } } }", f"at most {MAX_COST} are allowed"),
    ],
)
def test_what_is_too_large_is_refused_by_what_there_is_too_much_of(text: str, message: str) -> None:
    assert message in str(refused(text))


@pytest.mark.parametrize(
    "text",
    [
        "{" + "__typename " * 10 + "}",
        "{ job(id: 1) { " + "x: id " * 30 + "} }",
        "{ job(id: 1) { " + "id " * 51 + "} }",
        "query A { ...F } query B { ...F } fragment F on Query {" + "... { } " * 999 + "}",
        "{ jobs(first: 200) { nodes { id events(first: 100) { nodes { at } } } } }",
        "{" + "... {" * 14 + "__typename" + "}" * 15,
        get_introspection_query(),
        "type Query { a: Int }",
    ],
)
def test_what_is_just_small_enough_is_not_refused(text: str) -> None:
    assert refused(text) is None
