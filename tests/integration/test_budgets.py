"""The budgets of callers, on a real Redis, and without it."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from arq.connections import ArqRedis

from jobs.budget import Bucket, Kind, OverBudget
from storage.budgets import SharedBudgets
from storage.redis import close_redis, connect_redis
from tests.conftest import StartServers
from tests.processes import freeze, thaw

SLOW: Final = {Kind.COST: Bucket(0.01, 100), Kind.MUTATIONS: Bucket(0.001, 3)}
TOLERANCE: Final = 0.5


@pytest.fixture
async def redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ArqRedis]:
    """One that is asked, however long its answers take on a machine that is busy with something else."""
    monkeypatch.setattr("storage.budgets._ANSWER_SECONDS", 10)
    redis = connect_redis(redis_url, "test")
    yield redis
    await close_redis(redis)


async def test_what_one_gateway_takes_is_missing_at_another(redis: ArqRedis) -> None:
    here, there = SharedBudgets(redis, "test", SLOW), SharedBudgets(redis, "test", SLOW)
    assert await here.take("a", {Kind.COST: 60}) == pytest.approx({Kind.COST: 40}, abs=TOLERANCE)
    with pytest.raises(OverBudget) as refused:
        await there.take("a", {Kind.COST: 60})
    assert refused.value.retry_after == pytest.approx(20 / 0.01, abs=50)
    assert refused.value.left == pytest.approx({Kind.COST: 40}, abs=TOLERANCE)
    assert await there.take("b", {Kind.COST: 60}) == pytest.approx({Kind.COST: 40}, abs=TOLERANCE)


async def test_several_buckets_are_taken_from_together_or_not_at_all(redis: ArqRedis) -> None:
    budgets = SharedBudgets(redis, "test", SLOW)
    await budgets.take("a", {Kind.COST: 10, Kind.MUTATIONS: 3})
    with pytest.raises(OverBudget, match="of mutations is spent"):
        await budgets.take("a", {Kind.COST: 50, Kind.MUTATIONS: 1})
    assert await budgets.take("a", {Kind.COST: 40}) == pytest.approx({Kind.COST: 50}, abs=TOLERANCE)


async def test_at_once_no_more_is_taken_than_there_is(redis: ArqRedis) -> None:
    gateways = [SharedBudgets(redis, "test", SLOW) for _ in range(2)]
    asked = [gateways[n % 2].take("a", {Kind.COST: 9}) for n in range(30)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(not isinstance(answer, OverBudget) for answer in answers) == 11


async def test_what_is_not_limited_is_not_counted(redis: ArqRedis) -> None:
    budgets = SharedBudgets(redis, "test", SLOW)
    assert await budgets.take("a", {Kind.CONNECTIONS: 1_000}) == {}
    assert await redis.keys() == []


async def test_redis_keeps_no_credential_and_forgets_a_bucket_that_is_full(redis: ArqRedis) -> None:
    budgets = SharedBudgets(redis, "test", SLOW)
    await budgets.take("a secret", {Kind.MUTATIONS: 2})
    await budgets.take("a secret", {Kind.COST: 1})
    [key] = await redis.keys()
    assert key.startswith(b"jobgate:test:budget:")
    assert b"secret" not in key
    # The mutations take longest to come back, though they were not the last that was taken.
    assert await redis.pttl(key) == pytest.approx(2 / 0.001 * 1000, abs=20_000)


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "jobgate.budgets"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_without_redis_each_gateway_keeps_them_by_itself_and_says_so_once(
    own_servers: StartServers,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    stack = await own_servers()
    redis = connect_redis(stack.redis.url, "test")
    budgets = SharedBudgets(redis, "test", SLOW)
    asked = 0
    monkeypatch.setattr("storage.budgets._PAUSE_SECONDS", 60.0)

    async def ask(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return await SharedBudgets._ask(budgets, *arguments)

    monkeypatch.setattr(budgets, "_ask", ask)
    try:
        if number == signal.SIGSTOP:
            freeze(stack.redis.pid)
        else:
            os.kill(stack.redis.pid, number)
        with caplog.at_level(logging.WARNING, "jobgate.budgets"):
            assert await budgets.take("a", {Kind.COST: 60}) == pytest.approx({Kind.COST: 40}, abs=TOLERANCE)
            with pytest.raises(OverBudget, match="of cost is spent"):
                await budgets.take("a", {Kind.COST: 60, Kind.MUTATIONS: 1})
            assert await budgets.take("b", {Kind.MUTATIONS: 3}) == pytest.approx({Kind.MUTATIONS: 0}, abs=TOLERANCE)
            assert asked == 1
    finally:
        if number == signal.SIGSTOP:
            thaw(stack.redis.pid)
        await close_redis(redis)
    [said] = complaints(caplog)
    assert said.startswith("Redis is away (")


async def test_the_absence_of_redis_is_told_once_a_minute_at_most(
    own_servers: StartServers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.budgets._PAUSE_SECONDS", 0)
    stack = await own_servers()
    redis = connect_redis(stack.redis.url, "test")
    os.kill(stack.redis.pid, signal.SIGKILL)
    budgets = SharedBudgets(redis, "test", SLOW)
    for _ in range(3):
        await budgets.take("a", {Kind.COST: 1})
    assert len(complaints(caplog)) == 1
    monkeypatch.setattr("storage.budgets._COMPLAIN_SECONDS", 0)
    await budgets.take("a", {Kind.COST: 1})
    assert len(complaints(caplog)) == 2
    await close_redis(redis)


async def test_a_gateway_by_itself_remembers_so_many_callers(
    own_servers: StartServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.budgets._REMEMBERED", 2)
    stack = await own_servers()
    redis = connect_redis(stack.redis.url, "test")
    os.kill(stack.redis.pid, signal.SIGKILL)
    budgets = SharedBudgets(redis, "test", SLOW)
    for caller in "abac":
        await budgets.take(caller, {Kind.COST: 30})
    # "b" came before the last two, and is as new.
    left = {caller: (await budgets.take(caller, {Kind.COST: 1}))[Kind.COST] for caller in "ab"}
    assert left == pytest.approx({"a": 39, "b": 99}, abs=TOLERANCE)
    await close_redis(redis)
