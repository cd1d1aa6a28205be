"""Matches of the input in MongoDB: the same as those of a value, by an index where there is one, and within a time."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.collection import Collection

from gateway.devstack import Servers
from jobs.access import EVERYWHERE
from jobs.errors import FilterTooSlow
from jobs.filters import InputMatch, JobFilter
from jobs.input_matches import matches_input
from jobs.json_values import JsonValue
from jobs.paging import Counted, Order, OrderField, PageRequest, job_cursor
from storage.client import Database
from storage.documents import job_to_document
from storage.filters import job_filter
from storage.indexes import create_indexes
from storage.jobs import JobReader
from storage.statistics import StatisticsReader
from tests.factories import NOW, SECOND, make_job
from tests.unit.test_input_matches import GIVEN, TABLE

INPUTS: list[JsonValue] = [GIVEN, None, 1, "one", [], ["one"], [{"one": 1}], [[1]], {"list": 1}, {"one": [1]}]

keys = st.sampled_from(["a", "b", "0", "1", "$a", "a.b"])
leaves = st.sampled_from([None, True, False, 0, 1, 1.0, -0.0, 0.5, 2**53, "", "1", "a", "$a", "$$NOW"])
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2), max_leaves=5
)
paths = st.lists(st.sampled_from(["a", "b", "0", "1"]), min_size=1, max_size=3).map(".".join)


def document(job_id: str, value: JsonValue) -> dict[str, Any]:
    return job_to_document(make_job(job_id=job_id, input=value))


@pytest.fixture(scope="module")
def jobs(servers: Servers) -> Any:
    with MongoClient[dict[str, Any]](servers.mongodb_url, tz_aware=True) as client:
        yield client["test_input_matches"]["jobs"]
        client.drop_database("test_input_matches")


def agree(jobs: Collection[dict[str, Any]], inputs: list[JsonValue], wanted: tuple[InputMatch, ...]) -> None:
    """The store finds what the core says it does."""
    jobs.delete_many({})
    jobs.insert_many(document(str(number), value) for number, value in enumerate(inputs))
    found = {job["_id"] for job in jobs.find(job_filter(JobFilter(input=wanted)))}
    assert found == {str(number) for number, value in enumerate(inputs) if matches_input(wanted, value)}


def test_the_store_agrees_on_the_table(jobs: Collection[dict[str, Any]]) -> None:
    jobs.delete_many({})
    jobs.insert_many(document(str(number), value) for number, value in enumerate(INPUTS))
    for path, equals, _ in TABLE:
        wanted = (InputMatch(path, equals),)
        found = {job["_id"] for job in jobs.find(job_filter(JobFilter(input=wanted)))}
        assert found == {str(number) for number, value in enumerate(INPUTS) if matches_input(wanted, value)}, path


@given(inputs=st.lists(values, min_size=1, max_size=8), path=paths, equals=values)
def test_the_store_agrees_on_anything(
    jobs: Collection[dict[str, Any]], inputs: list[JsonValue], path: str, equals: JsonValue
) -> None:
    inner = inputs[0]
    for key in reversed(path.split(".")):
        inner = {key: inner}
    agree(jobs, [*inputs, inner], (InputMatch(path, equals),))
    agree(jobs, [*inputs, inner], (InputMatch(path, inputs[0]), InputMatch(path, equals)))


def test_the_store_agrees_on_several_paths_and_on_none(jobs: Collection[dict[str, Any]]) -> None:
    inputs: list[JsonValue] = [{"a": 1, "b": 2}, {"a": 1}, {"b": 2}, {"a": 3, "b": 2}]
    agree(jobs, inputs, (InputMatch("a", 1), InputMatch("b", 2)))
    agree(jobs, inputs, (InputMatch("a", 1), InputMatch("a", 3), InputMatch("b", 2)))
    agree(jobs, inputs, ())


def test_the_longest_paths_and_the_largest_values_can_be_asked_for(jobs: Collection[dict[str, Any]]) -> None:
    value: JsonValue = {str(number): {"a": {"b": [number, None]}} for number in range(19)}
    whole = value
    for _ in range(16):
        whole = {"0": whole}
    wanted = tuple(InputMatch(".".join("0" * 16), one) for one in (value, *range(9)))
    agree(jobs, [whole, value], wanted)
    assert jobs.count_documents(job_filter(JobFilter(input=wanted))) == 1


# By an index, and within a time.

MANY = 4000


@pytest_asyncio.fixture
async def many(database: Database) -> AsyncIterator[Database]:
    """Jobs of which each hundredth is of the same user."""
    await create_indexes(database, ["user.id"])
    jobs = [
        make_job(job_id=f"job_{number:04}", now=NOW + number * SECOND, input={"user": {"id": number % 100}})
        for number in range(MANY)
    ]
    await database["jobs"].insert_many([job_to_document(job) for job in jobs])
    await database.command("profile", 2)
    yield database
    await database.command("profile", 0)


async def plans(database: Database) -> list[dict[str, Any]]:
    return [entry async for entry in database["system.profile"].find({"ns": f"{database.name}.jobs"})]


@pytest.mark.parametrize("equals", [(7,), (7, 8)])
async def test_a_page_over_a_declared_index_reads_little_else(many: Database, equals: tuple[int, ...]) -> None:
    wanted = JobFilter(input=tuple(InputMatch("user.id", number) for number in equals))
    reader = JobReader(many)
    page = await reader.page(EVERYWHERE, wanted, Order(), PageRequest(20))
    await reader.page(EVERYWHERE, wanted, Order(), PageRequest(20, after=job_cursor(Order(), page.items[-1])))
    assert len(page.items) == 20
    assert {job.input["user"]["id"] for job in page.items} == set(equals)
    found = await plans(many)
    assert len(found) >= 2
    assert "input.user.id" in found[0]["planSummary"]
    for plan in found:
        assert "COLLSCAN" not in plan["planSummary"]
        assert plan["docsExamined"] <= 21 + len(equals)
        assert not plan.get("hasSortStage", False)


async def test_a_declared_index_serves_every_order_the_count_and_the_statistics(many: Database) -> None:
    wanted = JobFilter(input=(InputMatch("user.id", 7),))
    for field in OrderField:
        assert len((await JobReader(many).page(EVERYWHERE, wanted, Order(field), PageRequest(100))).items) == 40
    assert await JobReader(many).count(EVERYWHERE, wanted) == Counted(40, exact=True)
    assert (await StatisticsReader(many).jobs(EVERYWHERE, wanted)).total == 40
    found = await plans(many)
    assert [plan["planSummary"] for plan in found if "input.user.id" not in plan["planSummary"]] == []
    assert max(plan["docsExamined"] for plan in found) <= 41


async def test_a_scan_that_takes_too_long_is_told_from_a_store_that_is_away(many: Database) -> None:
    unindexed = JobFilter(input=(InputMatch("user.name", {"first": "Ann"}),))
    with pytest.raises(FilterTooSlow, match=r"within 0\.001 s: .*JOBGATE_INPUT_INDEXES"):
        await JobReader(many, scan_timeout_ms=1).page(EVERYWHERE, unindexed, Order(), PageRequest(20))
    assert (await JobReader(many).page(EVERYWHERE, unindexed, Order(), PageRequest(20))).items == []


async def test_other_lists_have_no_such_limit(many: Database) -> None:
    reader = JobReader(many, scan_timeout_ms=1)
    assert len((await reader.page(EVERYWHERE, JobFilter(status=()), Order(), PageRequest(200))).items) == 0
    assert len((await reader.page(EVERYWHERE, JobFilter(), Order(), PageRequest(200))).items) == 200
    lists = [plan["command"] for plan in await plans(many) if "find" in plan["command"]]
    assert lists
    assert all("maxTimeMS" not in command for command in lists)


async def test_an_index_that_is_no_longer_declared_stays(database: Database) -> None:
    await create_indexes(database, ["user.id"])
    await create_indexes(database)
    assert "input:user.id" in await database["jobs"].index_information()
