"""What becomes of what a handler answers or raises."""

from __future__ import annotations

import pytest

from jobs.decisions import Failed
from worker.handlers import judge_error
from worker.tasks import TaskError


class Mute(Exception):
    """Fails at saying what has failed."""

    def __str__(self) -> str:
        raise RuntimeError("not even that")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (TaskError("BUSY", "later"), "BUSY", "later"),
        (TaskError("BUSY"), "BUSY", "TaskError"),
        (TaskError("UPSTREAM", ValueError("down")), "UPSTREAM", "down"),  # type: ignore[arg-type]  # handlers are not all checked
        (ValueError("no"), "ValueError", "no"),
        (ValueError(), "ValueError", "ValueError"),
        (Mute(), "Mute", "Mute"),
        (ValueError("\ud800"), "ValueError", "?"),
    ],
)
def test_an_exception_is_told_by_its_code_and_what_it_says(error: Exception, code: str, message: str) -> None:
    failed = judge_error(error)
    assert isinstance(failed, Failed)
    assert (failed.error.code, failed.error.message) == (code, message)
