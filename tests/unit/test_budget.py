"""Token buckets: what is in them, what may be taken, and how long to wait for more."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.budget import UNLIMITED, Bucket, Kind, OverBudget, bucket, check, levels

NOW: Final = 1_700_000_000.0
TWO: Final = {Kind.COST: Bucket(10, 200), Kind.MUTATIONS: Bucket(0.5, 10)}


def test_a_bucket_holds_a_burst_and_at_least_what_one_operation_needs() -> None:
    assert bucket(10, 100) == Bucket(10, 200)
    assert bucket(1, 100) == Bucket(1, 100)


def test_what_is_taken_comes_back_at_the_rate_and_no_more_than_the_bucket_holds() -> None:
    one = Bucket(10, 200)
    assert one.level(NOW, NOW) == 200
    full_at = one.taken(NOW - 5, 50, NOW)
    assert (full_at, one.level(full_at, NOW)) == (NOW + 5, 150)
    assert one.level(full_at, NOW + 2) == 170
    assert one.level(full_at, NOW + 60) == 200


def test_there_is_a_wait_for_what_is_not_there_yet() -> None:
    one = Bucket(10, 200)
    full_at = one.taken(NOW, 180, NOW)
    assert one.wait(full_at, 20, NOW) == 0
    assert one.wait(full_at, 21, NOW) == pytest.approx(0.1)
    assert one.wait(full_at, 200, NOW) == pytest.approx(18)


def test_all_of_the_buckets_have_to_hold_enough_and_the_slowest_is_named() -> None:
    full_at = {Kind.COST: NOW + 20, Kind.MUTATIONS: NOW + 19}
    check(TWO, full_at, {Kind.MUTATIONS: 0.5}, NOW)
    check(TWO, {}, {Kind.COST: 200, Kind.MUTATIONS: 10}, NOW)
    with pytest.raises(OverBudget) as refused:
        check(TWO, full_at, {Kind.COST: 1, Kind.MUTATIONS: 1}, NOW)
    assert refused.value.retry_after == 1
    assert refused.value.left == {Kind.COST: 0, Kind.MUTATIONS: 0.5}
    assert str(refused.value) == "your budget of mutations is spent: nothing was begun, ask again in 1 s"
    assert levels(TWO, full_at, NOW) == refused.value.left


def test_whoever_waits_as_long_as_told_has_enough() -> None:
    with pytest.raises(OverBudget) as refused:
        check({Kind.COST: Bucket(3, 60)}, {Kind.COST: NOW + 20}, {Kind.COST: 1}, NOW)
    assert refused.value.retry_after == 0.334


async def test_who_is_not_limited_may_do_anything() -> None:
    assert await UNLIMITED.take("anybody", {Kind.COST: 1e9}) == {}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40)), max_size=60))
def test_nobody_gets_more_than_a_burst_and_the_rate(asked: list[tuple[int, int]]) -> None:
    one, now, full_at, got = Bucket(7, 40), NOW, NOW, 0
    for pause, amount in asked:
        now += pause
        if one.wait(full_at, amount, now) == 0:
            full_at = one.taken(full_at, amount, now)
            got += amount
    assert got <= 40 + 7 * (now - NOW)
