"""A gateway that is asked for more than it may work on at a time."""

import asyncio
from collections import Counter

import pytest

from tests.conftest import StartServers
from tests.gateway import DISPATCH, serving
from tests.processes import frozen

VALID = {"namespace": "demo", "task": "echo", "product": "shop", "env": "prd"}


async def test_what_is_too_much_is_refused_at_once_and_nothing_of_it_is_begun(
    own_servers: StartServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resolvers.dispatching.LOOK_SECONDS", 20.0)
    stack = await own_servers()
    async with serving(stack.mongod.url, stack.redis.url, "test", max_in_flight=2) as gateway:
        await gateway.dispatched()
        with frozen(stack.mongod.pid):
            asked = [asyncio.ensure_future(gateway.ask(DISPATCH, input=VALID)) for _ in range(3)]
            # The others are still waiting for MongoDB, which would answer them with a fault of its own.
            [refused], _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        [error] = refused.result()["errors"]
        assert error["extensions"] == {"code": "UNAVAILABLE", "retryAfter": 1.0}
        assert error["message"].startswith("this gateway has too much to do: nothing was begun")

        answers = await asyncio.gather(*asked)
        assert Counter("errors" in answer for answer in answers) == {True: 1, False: 2}
        # Whoever has been answered makes room.
        await gateway.dispatched()
        jobs = await gateway.data("{ jobs { totalCount { value } } }")
        assert jobs["jobs"]["totalCount"]["value"] == 4


async def test_sockets_are_under_the_same_limit_and_subscriptions_do_not_count(own_servers: StartServers) -> None:
    stack = await own_servers()
    limit = serving(stack.mongod.url, stack.redis.url, "test", max_in_flight=1)
    async with limit as gateway, gateway.socket() as socket:
        await socket.subscribe("followed", "subscription { jobEvents { type } }")
        await gateway.until_subscribers(1)
        with frozen(stack.mongod.pid):
            for name in ("waits", "refused"):
                await socket.subscribe(name, "{ jobs { nodes { id } } }")
            told = await socket.receive()
            await socket.subscribe("followed too", "subscription { jobEvents { type } }")
            await gateway.until_subscribers(2)
        assert (told["type"], told["id"]) == ("error", "refused")
        assert [error["extensions"]["code"] for error in told["payload"]] == ["UNAVAILABLE"]
