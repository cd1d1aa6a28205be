"""Nothing of ours unpickles: what arq does unless it is told otherwise would run whatever lies in Redis."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("gateway", "schema", "resolvers", "worker", "storage", "jobs")
UNSAFE: Final = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
READY: Final = {"job_serializer", "job_deserializer"}
TOLD: Final = {
    "ArqRedis": READY,
    "create_pool": READY,
    "Worker": READY,
    "_NudgeTaker": READY,
    "Job": {"_deserializer"},
    "serialize_job": {"serializer"},
    "serialize_result": {"serializer"},
    "deserialize_job": {"deserializer"},
    "deserialize_result": {"deserializer"},
}
"""What of arq's pickles unless these are given to it."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            yield str(file.relative_to(ROOT)), ast.parse(file.read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_nothing_that_runs_what_it_reads_is_imported() -> None:
    assert [file for file, tree in trees() if UNSAFE & set(imported(tree))] == []


def from_arq(tree: ast.Module) -> set[str]:
    found = {node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {alias.name for node in found if (node.module or "").startswith("arq") for alias in node.names}


def calls() -> Iterator[tuple[str, str, set[str]]]:
    """Where what of arq's is called, and what it is told by name."""
    for file, tree in trees():
        ours = from_arq(tree) | {"_NudgeTaker"}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TOLD.keys() & ours:
                yield f"{file}:{node.lineno}", node.func.id, {word.arg for word in node.keywords if word.arg}


@pytest.mark.parametrize("name", ["ArqRedis", "_NudgeTaker", "serialize_job"])
def test_arq_is_called_where_it_is_looked_for(name: str) -> None:
    """Otherwise the next test would find nothing because it looks in the wrong place."""
    assert name in {called for _, called, _ in calls()}


def test_arq_is_given_our_own_serializer_everywhere() -> None:
    assert [place for place, name, told in calls() if not told >= TOLD[name]] == []
