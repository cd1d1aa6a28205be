"""What the chaos harness is to do is decided by its seed alone, and each planted bug has its way of being found."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.chaos import plants
from tests.chaos.ledger import Effect, End, read_ledger
from tests.chaos.nemesis import KINDS, plan
from tests.chaos.plants import PLANTS
from tests.chaos.report import CHECKS
from tests.chaos.teeth import TEETH

README = Path(__file__).parents[2] / "README.md"


def drawn(seed: int, count: int) -> list[tuple[str, int]]:
    draw = plan(Random(seed))  # noqa: S311  # nothing secret hangs on it
    return [draw() for _ in range(count)]


def test_a_seed_repeats_its_faults() -> None:
    assert drawn(7, 100) == drawn(7, 100)
    assert drawn(7, 100) != drawn(8, 100)


def test_each_kind_of_fault_comes_once_before_any_comes_again() -> None:
    assert Counter(kind for kind, _ in drawn(1, 2 * len(KINDS))) == dict.fromkeys(KINDS, 2)


def test_each_planted_bug_is_provoked() -> None:
    assert set(TEETH) == set(PLANTS)
    assert len(PLANTS) == 12
    assert "plants twelve bugs" in README.read_text()


@pytest.mark.parametrize("bug", PLANTS)
def test_a_planted_bug_is_called_as_what_it_replaces_is(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be another one: that nothing can be called any more."""
    replaced: list[tuple[Any, Any]] = []

    def note(owner: Any, name: str, instead: Any) -> None:
        replaced.append((getattr(owner, name), instead))

    monkeypatch.setattr(plants, "_put", note)
    PLANTS[bug].put_in()
    assert replaced
    for original, instead in replaced:
        if inspect.isfunction(original):
            assert len(inspect.signature(original).parameters) == len(inspect.signature(instead).parameters)
        assert callable(original) == callable(instead)
        assert inspect.iscoroutinefunction(original) == inspect.iscoroutinefunction(instead)


def test_the_readme_states_each_invariant_that_is_decided() -> None:
    promised = README.read_text().partition("## What is promised")[2].partition("\n## ")[0]
    numbers = {f"I{number}" for number in re.findall(r"^(\d+)\. ", promised, re.MULTILINE)}
    assert numbers == {f"I{number}" for number in range(1, 17)}
    assert len(CHECKS) == 17


def test_who_died_at_something_has_left_it(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    line = '{{"job": "j", "run": 1, "attempt": {0}, "task": "work", "pid": {1}, "what": "{2}", "at": {3}}}'
    told = [(1, 7, "begin", 1.0), (2, 8, "begin", 4.0), (2, 8, "done", 5.0), (3, 9, "begin", 6.0)]
    ledger.write_text("\n".join(line.format(*one) for one in told))

    assert read_ledger(ledger, {7: 3.0}, 10.0) == [
        Effect("j", 1, 1, "work", 7, 1.0, 3.0, End.LOST),
        Effect("j", 1, 2, "work", 8, 4.0, 5.0, End.DONE),
        Effect("j", 1, 3, "work", 9, 6.0, 10.0, End.LOST),
    ]
