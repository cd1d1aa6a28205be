"""Gaps in what was read of the event log."""

import pytest

from jobs.feed import last_missing


@pytest.mark.parametrize(
    ("after", "numbers", "missing"),
    [
        (0, [], None),
        (7, [], None),
        (0, [1], None),
        (7, [8, 9, 10], None),
        (7, [9], 8),
        (7, [9, 10], 8),
        (7, [8, 10, 11], 9),
        (7, [9, 10, 14, 15], 13),
        (0, [100], 99),
    ],
)
def test_the_last_number_that_is_missing_is_found(after: int, numbers: list[int], missing: int | None) -> None:
    assert last_missing(numbers, after) == missing
