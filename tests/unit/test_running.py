"""Why an attempt is stopped whose lease runs out."""

import pytest

from tests.factories import make_running
from worker.context import CancelReason
from worker.running import Attempt


@pytest.fixture
def attempt() -> Attempt:
    job, run = make_running()
    return Attempt(job, run, "token", 10.0)


def test_an_outage_is_to_blame_while_renewals_are_not_answered(attempt: Attempt) -> None:
    attempt.not_renewed()
    attempt.run_out()
    assert attempt.stop_reason is CancelReason.OUT_OF_REACH


def test_an_outage_that_is_over_is_not_to_blame(attempt: Attempt) -> None:
    """Then it was this process that stood still, perhaps for what the handler does: it must not do so for ever."""
    attempt.not_renewed()
    attempt.renewed(20.0)
    attempt.run_out()
    assert (attempt.held_until, attempt.stop_reason) == (20.0, CancelReason.LEASE_LOST)


def test_the_first_reason_counts(attempt: Attempt) -> None:
    attempt.stop(CancelReason.CANCELLED)
    attempt.run_out()
    assert attempt.stop_reason is CancelReason.CANCELLED
