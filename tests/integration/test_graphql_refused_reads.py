"""Reads that a gateway refuses, with the argument that is wrong; and what is not there to be read."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.paging import Order, OrderField, job_cursor
from tests.costs import costless
from tests.factories import make_job
from tests.gateway import LiveGateway, serving_for_all

pytestmark = pytest.mark.asyncio(loop_scope="module")

CURSOR: Final = "is not a cursor of this list"
NOT_A_DATE: Final = "is not a DateTime such as 2026-01-31T08:00:00Z"
OTHER_ORDER: Final = job_cursor(Order(OrderField.PRIORITY), make_job())
OTHER_DIRECTION: Final = job_cursor(Order(descending=False), make_job())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("arguments", "code", "path", "message"),
    [
        ('after: "nonsense"', "BAD_CURSOR", "after", CURSOR),
        ('after: ""', "BAD_CURSOR", "after", CURSOR),
        (f'after: "{OTHER_ORDER}"', "BAD_CURSOR", "after", CURSOR),
        (f'after: "{OTHER_DIRECTION}"', "BAD_CURSOR", "after", CURSOR),
        ('before: "nonsense"', "BAD_CURSOR", "before", CURSOR),
        ("first: 201", "BAD_USER_INPUT", "first", "must be between 0 and 200, not 201"),
        ("first: -1", "BAD_USER_INPUT", "first", "must be between 0 and 200, not -1"),
        ("last: 201", "BAD_USER_INPUT", "last", "must be between 0 and 200, not 201"),
        ("first: 1, last: 1", "BAD_USER_INPUT", "last", "give first or last, not both"),
        ('filter: {from: "2026-02-01", to: "2026-01-01"}', "BAD_USER_INPUT", "filter.to", "is before from"),
        (
            "filter: {ids: [" + '"x" ' * 1001 + "]}",
            *("BAD_USER_INPUT", "filter.ids", "1001 values, more than the 1000 allowed"),
        ),
    ],
)
async def test_a_list_is_refused_with_the_argument_that_is_wrong(
    gateway: LiveGateway, arguments: str, code: str, path: str, message: str
) -> None:
    assert costless(await gateway.ask(f"{{ jobs({arguments}) {{ nodes {{ id }} }} }}")) == {
        "data": None,
        "errors": [
            {
                "message": f"{path}: {message}",
                "locations": [{"line": 1, "column": 3}],
                "path": ["jobs"],
                "extensions": {"code": code, "issues": [{"path": path.split("."), "message": message}]},
            }
        ],
    }


@pytest.mark.parametrize(
    ("arguments", "column", "message"),
    [
        ("orderBy: {field: NAME}", 25, "Value 'NAME' does not exist in 'JobOrderField' enum."),
        ("filter: {status: [LOST]}", 26, "Value 'LOST' does not exist in 'JobStatus' enum."),
        ('filter: {from: "yesterday"}', 23, f"'yesterday' {NOT_A_DATE}"),
        ("filter: {to: true}", 21, "a DateTime is RFC 3339 text or a number of milliseconds since 1970"),
        ('first: "x"', 15, 'Int cannot represent non-integer value: "x"'),
        ("filter: {ids: [null]}", 23, "Expected value of non-null type 'ID!' not to be None."),
    ],
)
async def test_a_wrong_value_in_the_document_is_told_with_its_place(
    gateway: LiveGateway, arguments: str, column: int, message: str
) -> None:
    error = {
        "message": message,
        "locations": [{"line": 1, "column": column}],
        "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"},
    }
    answer = await gateway.ask(f"{{ jobs({arguments}) {{ nodes {{ id }} }} }}")
    assert answer == {"errors": [error]}


async def test_null_where_an_argument_must_not_be_null_is_the_callers_fault(gateway: LiveGateway) -> None:
    answer = await gateway.ask('query ($n: Int = 5) { history(jobId: "x", first: $n) { jobId } }', n=None)
    [error] = answer["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    assert error["message"].startswith("Argument 'first' has invalid value: ")


@pytest.mark.parametrize("id_", ["nope", "", "job_\0", "x" * 100_000])
async def test_an_unknown_job_is_null_and_cannot_be_cancelled(gateway: LiveGateway, id_: str) -> None:
    document = "query ($id: ID!) { job(id: $id) { id } history(jobId: $id) { jobId } }"
    assert await gateway.data(document, id=id_) == {"job": None, "history": None}
    document = "mutation ($id: ID!) { cancel(id: $id) { ... on NotFound { code message id } } }"
    problem = {"code": "NOT_FOUND", "message": f"there is no job {id_[:100]!r}", "id": id_}
    assert await gateway.data(document, id=id_) == {"cancel": problem}
