"""Operations that Schemathesis makes up from the public schema, all of them valid: none comes to a fault of ours."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes
from schemathesis.specs.openapi.checks import response_schema_conformance

from tests.fuzz_runs import GIVEN, HANDFULS, Overheard, check_answer, fuzzed, goes_on
from tests.gateway import LiveGateway

EACH: Final = HANDFULS if GIVEN else 3
"""Operations of each root field."""

SDL: Final = Path(__file__).parents[3] / "schema" / "schema.graphql"

WORDS: Final = st.text(max_size=20).map(nodes.String)
NUMBERS: Final = st.integers(-(2**63), 2**63).map(nodes.Int)
TIMES: Final = st.datetimes().map(lambda time: nodes.String(time.isoformat() + "Z"))

schemathesis.graphql.scalar("DateTime", TIMES | NUMBERS | WORDS)
schemathesis.graphql.scalar("Milliseconds", NUMBERS)
schemathesis.graphql.scalar("JSON", WORDS | NUMBERS | st.booleans().map(nodes.Boolean) | st.just(nodes.Object([])))

FOUND: Any = schemathesis.graphql.from_path(SDL)
OPERATIONS: Final = [found.ok() for found in FOUND.get_all_operations()]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60 + 3 * EACH)]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
async def test_operations(operation: Any, gateway: LiveGateway, overheard: Overheard) -> None:
    @fuzzed(EACH)
    @hypothesis.given(case=operation.as_strategy())
    def call(case: Any) -> None:
        response = case.call(base_url=gateway.url)
        overheard.tally["operations"] += 1
        overheard.tally[f"status {response.status_code}"] += 1
        assert response.status_code < 500
        # Not its check for errors of a server, which takes codes that it does not know for such.
        case.validate_response(response, checks=[response_schema_conformance])
        check_answer(response.json(), overheard)
        overheard.check()

    await asyncio.to_thread(call)
    await goes_on(gateway)


async def test_all_operations_are_there() -> None:
    assert {"Query.jobs", "Mutation.dispatch", "Mutation.setWebhook"} <= {operation.label for operation in OPERATIONS}
