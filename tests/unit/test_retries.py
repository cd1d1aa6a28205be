from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.retries import RetryPolicy

SECOND = timedelta(seconds=1)

POLICIES = st.builds(
    RetryPolicy,
    initial_delay=st.integers(0, 10**9).map(lambda ms: timedelta(milliseconds=ms)),
    max_delay=st.integers(10**9, 3 * 10**10).map(lambda ms: timedelta(milliseconds=ms)),
    backoff_multiplier=st.floats(1, 1000),
    jitter=st.floats(0, 1),
)


@pytest.mark.parametrize(
    ("retry", "seconds"),
    [(1, 1), (2, 2), (3, 4), (4, 8), (9, 256), (10, 300), (5000, 300)],  # 2^8 = 256 is the last below five minutes
)
def test_the_default_delays_double_up_to_five_minutes(retry: int, seconds: int) -> None:
    assert RetryPolicy().delay_before(retry, draw=0.99) == seconds * SECOND


def test_jitter_adds_up_to_its_share() -> None:
    policy = RetryPolicy(jitter=0.3)
    assert policy.delay_before(3, draw=0.0) == 4 * SECOND
    assert policy.delay_before(3, draw=0.5) == 4.6 * SECOND


def test_no_delay_stays_no_delay() -> None:
    policy = RetryPolicy(initial_delay=timedelta(0), backoff_multiplier=10.0)
    assert policy.delay_before(4000, draw=0.5) == timedelta(0)


@given(POLICIES, st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_never_beyond_the_maximum_and_its_jitter(policy: RetryPolicy, retry: int, draw: float) -> None:
    assert timedelta(0) <= policy.delay_before(retry, draw) <= policy.max_delay * (1 + policy.jitter) + SECOND / 1000


@given(POLICIES, st.integers(1, 50))
def test_delays_never_shrink(policy: RetryPolicy, retry: int) -> None:
    assert policy.delay_before(retry, 0.0) <= policy.delay_before(retry + 1, 0.0)


@pytest.mark.parametrize(
    ("only", "never", "code", "allowed"),
    [
        (None, None, "X", True),
        (("TIMEOUT",), None, "TIMEOUT", True),
        (("TIMEOUT",), None, "X", False),
        (("TIMEOUT",), None, "timeout", False),
        ((), None, "X", False),  # a list without codes retries nothing
        (None, ("CARD_DECLINED",), "CARD_DECLINED", False),
        (None, ("CARD_DECLINED",), "X", True),
    ],
)
def test_codes_are_matched_exactly(
    only: tuple[str, ...] | None, never: tuple[str, ...] | None, code: str, allowed: bool
) -> None:
    assert RetryPolicy(retryable_errors=only, non_retryable_errors=never).allows(code) is allowed
