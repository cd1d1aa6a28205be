"""No version with a known hole is installed, pinned or allowed: for each advisory that was read, the first sound version."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT: Final = Path(__file__).parents[2]
SOUND_FROM: Final = {
    ("strawberry-graphql", "CVE-2024-47082"): "0.243",
    ("strawberry-graphql", "CVE-2026-35523"): "0.312.3",
    ("strawberry-graphql", "CVE-2026-35526"): "0.312.3",
    ("strawberry-graphql", "CVE-2026-45739"): "0.315.4",
    ("strawberry-graphql", "CVE-2026-47706"): "0.315.7",
    ("strawberry-graphql", "CVE-2026-47707"): "0.315.7",
    ("strawberry-graphql", "CVE-2026-107727"): "0.327.2",
    ("graphql-core", "CVE-2026-75507"): "3.3.0",
    ("graphql-core", "CVE-2026-75508"): "3.3.0",
    ("graphql-core", "CVE-2026-119286"): "3.3.1",
    ("starlette", "CVE-2025-62727"): "0.49.1",
    ("starlette", "CVE-2026-48710"): "1.0.1",
    ("starlette", "CVE-2026-48817"): "1.1.0",
    ("starlette", "CVE-2026-54283"): "1.3.1",
    ("PyJWT", "CVE-2026-32597"): "2.12",
    ("PyJWT", "CVE-2026-48523"): "2.13",
    ("PyJWT", "CVE-2026-102273"): "2.14",
    ("PyJWT", "CVE-2026-102274"): "2.14",
    ("PyJWT", "CVE-2026-102275"): "2.15",
    ("pymongo", "CVE-2024-5629"): "4.6.3",
    ("redis", "CVE-2023-28858"): "4.5.5",
    ("redis", "CVE-2023-28859"): "4.5.5",
}


def pinned() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {name: Version(number) for name, _, number in (line.partition("==") for line in lines) if number}


def lowest_allowed() -> dict[str, Version]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(text) for text in project["dependencies"]]
    return {
        one.name: Version(limit.version) for one in wanted for limit in one.specifier if limit.operator in (">=", "==")
    }


@pytest.mark.parametrize(("package", "advisory"), SOUND_FROM, ids=lambda value: value)
def test_what_is_installed_and_pinned_is_sound(package: str, advisory: str) -> None:
    sound = Version(SOUND_FROM[package, advisory])
    assert Version(version(package)) >= sound
    assert pinned()[package] >= sound


@pytest.mark.parametrize("package", sorted({package for package, _ in SOUND_FROM}))
def test_no_version_with_a_hole_may_be_installed(package: str) -> None:
    sound = max(Version(number) for (name, _), number in SOUND_FROM.items() if name == package)
    assert lowest_allowed()[package] >= sound


def test_the_reason_stands_beside_the_version() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    told = {f"CVE-{number}" for number in re.findall(r"CVE-(\d{4}-\d+)", text)}
    for year, more in re.findall(r"CVE-(\d{4})-\d+ and -(\d+)", text):
        told.add(f"CVE-{year}-{more}")
    assert {advisory for _, advisory in SOUND_FROM} - told == set()
