"""The page ``docs/limits.md`` is true: its numbers are those of the code, and its example is run."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from gateway.graphql_http import MAX_REQUEST
from gateway.settings import Settings
from jobs.budget import BURST_SECONDS, Bucket, Kind, OverBudget, check
from jobs.json_values import MAX_BYTES
from resolvers.reading import MAX_VALUES
from schema import document_size as size
from schema.known_documents import MAX_TOKENS
from tests.gateway import serving

PAGE: Final = (Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")
BLOCKS: Final = re.findall(r"^```(\w+)\n(.*?)^```\n", PAGE, re.MULTILINE | re.DOTALL)
QUERY, *COSTS = (text for _, text in BLOCKS)


def test_the_limits_are_those_of_the_code() -> None:
    section = PAGE.partition("## Limits")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line][2:]
    told = [int(most.replace(" ", "")) for _, most, _ in rows]
    assert told == [
        *(MAX_REQUEST, MAX_TOKENS, size.MAX_OPERATIONS, size.MAX_FRAGMENTS, size.MAX_ROOT_FIELDS, size.MAX_DEPTH),
        *(size.MAX_ALIASES, size.MAX_DIRECTIVES, size.MAX_FIELDS, size.MAX_REPEATED, size.MAX_COST),
        *(MAX_BYTES, MAX_VALUES),
    ]


def test_the_buckets_are_those_of_the_settings() -> None:
    section = PAGE.partition("## Budgets")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `(JOBGATE_\w+)` ", section, re.MULTILINE)
    assert named == [f"JOBGATE_{kind}_PER_SECOND".upper() for kind in Kind]
    assert f"within {BURST_SECONDS} seconds" in section
    slow = Settings.from_environment(dict.fromkeys(named, "0.001")).buckets
    assert [bucket.capacity for bucket in slow.values()] == [25_000, 10, 1, 1]


async def test_the_example_costs_what_it_says(servers: Servers, database_name: str, redis_url: str) -> None:
    plain, with_budget = map(json.loads, COSTS)
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        assert (await gateway.ask(QUERY))["extensions"]["cost"] == plain
    async with serving(servers.mongodb_url, redis_url, database_name, cost_per_second=100) as gateway:
        answer: dict[str, Any] = await gateway.ask(QUERY)
    assert answer["extensions"]["cost"] == with_budget


def test_the_example_is_refused_when_it_says() -> None:
    price, bucket = json.loads(COSTS[0])["estimated"], Bucket(100, 25_000)
    times = math.floor(bucket.capacity / price)
    full_at = times * price / bucket.rate
    check({Kind.COST: bucket}, {Kind.COST: full_at - price / bucket.rate}, {Kind.COST: price}, 0)
    with pytest.raises(OverBudget) as refused:
        check({Kind.COST: bucket}, {Kind.COST: full_at}, {Kind.COST: price}, 0)
    left = round(refused.value.left[Kind.COST])
    assert f"Asked {times} times in a row, it is answered; the next time {left} points are left" in PAGE
    assert refused.value.retry_after == pytest.approx(0.64, abs=0.0011)
    assert f"here 0.64, in which the {price - left} points" in PAGE
