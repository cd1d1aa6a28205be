"""How much is made up in a run, and what has to hold of every answer.

JOBGATE_FUZZ is how many handfuls of requests, and how many of sessions, are made up: few, and always the same, unless it is
set. Then JOBGATE_FUZZ_SEED decides which; what was drawn is printed, so that a failure can be had again.
"""

from __future__ import annotations

import logging
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeVar

import hypothesis

from schema import faults
from tests.gateway import LiveGateway

FEW: Final = 40
GIVEN: Final = os.environ.get("JOBGATE_FUZZ")
HANDFULS: Final = int(GIVEN or FEW)
SEED: Final = int(os.environ.get("JOBGATE_FUZZ_SEED") or random.SystemRandom().randrange(2**32))
CODES: Final = {value for name, value in vars(faults).items() if name.isupper() and isinstance(value, str)}

Test = TypeVar("Test", bound=Callable[..., Any])


def fuzzed(handfuls: int = HANDFULS) -> Callable[[Test], Test]:
    """As many handfuls as are wanted: the same ones each time in the ordinary suite, by the seed otherwise."""
    settings = hypothesis.settings(
        max_examples=handfuls,
        derandomize=GIVEN is None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    return settings if GIVEN is None else lambda test: settings(hypothesis.seed(SEED)(test))


class Overheard(logging.Handler):
    """The faults that anything in this process has logged."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.tally: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.ERROR:
            self.faults.append(f"{record.name}: {self.format(record)}")

    def check(self) -> None:
        """Raise ``AssertionError`` if anything was logged since the last check."""
        heard, self.faults = self.faults, []
        assert heard == []


async def goes_on(gateway: LiveGateway) -> None:
    """The gateway is alive and answers a question."""
    assert (await gateway.http.get("/healthz")).json() == {"status": "alive"}
    assert await gateway.data("{ jobs(first: 1) { __typename } }") == {"jobs": {"__typename": "JobConnection"}}


def check_errors(errors: Any, heard: Overheard) -> None:
    assert isinstance(errors, list)
    assert errors
    for error in errors:
        assert isinstance(error["message"], str)
        code = error["extensions"]["code"]
        heard.tally[code] += 1
        assert code in CODES - {faults.INTERNAL}


def check_answer(answer: Any, heard: Overheard) -> None:
    """It is a response as GraphQL has it."""
    assert isinstance(answer, dict)
    assert answer.keys() <= {"data", "errors", "extensions"}
    assert answer.keys() & {"data", "errors"}
    if "errors" in answer:
        check_errors(answer["errors"], heard)
    else:
        heard.tally["no errors"] += 1
