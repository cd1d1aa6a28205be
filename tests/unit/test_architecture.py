"""Rules about the source as a whole that no other tool checks. Who may import whom is import-linter's business."""

import ast
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("gateway", "schema", "resolvers", "worker", "storage", "jobs")
FOLDERS: Final = (*PACKAGES, "tests", "benchmarks", "examples")
LONGEST_FILE: Final = 300
LONGEST_FUNCTION: Final = 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """The syntax of every file of ours, by its path."""
    files = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
    return {str(file.relative_to(ROOT)): ast.parse(file.read_text()) for file in files}


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def names(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Attribute):
            yield inner.attr
        elif isinstance(inner, ast.alias):
            yield inner.name


def test_imports_stand_at_the_top_of_the_file(trees: dict[str, ast.Module]) -> None:
    local = {
        f"{file}:{node.lineno}"
        for file, tree in trees.items()
        for function in functions(tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert local == set()


def test_nothing_is_imported_for_type_checking_only(trees: dict[str, ast.Module]) -> None:
    # Spelt in two parts, since this file is one of those that are searched.
    assert [file for file, tree in trees.items() if "TYPE_" + "CHECKING" in names(tree)] == []


def test_files_and_functions_stay_short_enough_to_be_read_at_once(trees: dict[str, ast.Module]) -> None:
    ours = {file: tree for file, tree in trees.items() if file.startswith(PACKAGES)}
    long_files = [file for file in ours if len((ROOT / file).read_text().splitlines()) > LONGEST_FILE]
    long_functions = [
        f"{file}:{function.name}"
        for file, tree in ours.items()
        for function in functions(tree)
        if (function.end_lineno or 0) - function.lineno >= LONGEST_FUNCTION
    ]
    assert (long_files, long_functions) == ([], [])


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_brings_a_package_of_ours(package: str) -> None:
    """Our names are plain words: pip would overwrite our package with another's of the same name and say nothing."""
    assert set(packages_distributions().get(package, ())) <= {"jobgate"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
