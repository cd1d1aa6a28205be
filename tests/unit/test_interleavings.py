"""The exploration itself: whether it finds every order there is."""

from itertools import combinations
from math import comb
from typing import Final

import pytest

from tests.races.interleavings import every_order
from tests.races.turns import Actor, Door, Played, play

SIX: Final = 6


def taking(steps: int) -> Actor:
    async def act(door: Door, job_id: str) -> str:
        for number in range(steps):
            await door.turn(f"step {number}")
        return "done"

    return act


async def explored(first: Actor, second: Actor) -> list[Played]:
    async def play_all(beginnings: list[tuple[int, ...]]) -> list[Played]:
        return [await play((first, second), "job_0", beginning) for beginning in beginnings]

    return await every_order(play_all)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 0), (1, 1), (2, 5), (SIX, SIX)])
async def test_steps_are_taken_in_every_order_and_in_each_of_them_once(first: int, second: int) -> None:
    played = await explored(taking(first), taking(second))
    orders = [one.order for one in played]
    places = combinations(range(first + second), second)
    assert len(orders) == comb(first + second, second)
    assert set(orders) == {tuple(int(at in chosen) for at in range(first + second)) for chosen in places}
    assert all(tuple(actor for actor, _ in one.steps) == one.order for one in played)


async def test_how_many_steps_there_are_may_depend_on_their_order() -> None:
    """The second takes another step only if it is not the first to take one."""
    taken: list[str] = []

    async def one(door: Door, job_id: str) -> str:
        taken.clear()
        await door.turn("one")
        taken.append("one")
        return ""

    async def perhaps_two(door: Door, job_id: str) -> str:
        await door.turn("two")
        if taken:
            await door.turn("three")
        return ""

    assert sorted(one.order for one in await explored(one, perhaps_two)) == [(0, 1, 1), (1, 0)]


async def test_what_an_actor_raises_comes_out() -> None:
    async def fail(door: Door, job_id: str) -> str:
        await door.turn("step")
        raise LookupError("as it was told to")

    with pytest.raises(LookupError, match="as it was told to"):
        await explored(taking(1), fail)
