"""Why an attempt is stopped."""

import pytest

from tests.factories import make_running
from worker.context import CancelReason
from worker.heart import why_it_ran_out
from worker.running import Attempt


@pytest.mark.parametrize(
    ("silence", "reason"),
    [
        (0.0, CancelReason.OUT_OF_REACH),
        (5.0 + 3.75, CancelReason.OUT_OF_REACH),
        (10.0, CancelReason.LEASE_LOST),
        (60.0, CancelReason.LEASE_LOST),
    ],
)
def test_who_is_to_blame_for_a_lease_of_15_seconds_that_ran_out(silence: float, reason: CancelReason) -> None:
    """A heart that beats was not answered; one that does not was kept from it, and must not be so for ever."""
    assert why_it_ran_out(silence, 15.0) is reason


def test_the_first_reason_counts() -> None:
    attempt = Attempt(*make_running(), "token", 10.0)
    attempt.stop(CancelReason.CANCELLED)
    attempt.stop(CancelReason.LEASE_LOST)
    assert attempt.stop_reason is CancelReason.CANCELLED
