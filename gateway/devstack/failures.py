"""What a server said last, as one line for the person who wanted it started."""

import json
import re
from pathlib import Path
from typing import Any, Final

from gateway.devstack.errors import DevstackError, PortTaken

MISSING_LIBRARY: Final = re.compile(r"error while loading shared libraries: ([^\s:]+)")
PORT_TAKEN: Final = re.compile(r"address already in use", re.IGNORECASE)
LINES: Final = 3
# The package that brings a library on Debian and Ubuntu, for those that the programs in the wheels need.
PACKAGES: Final = {
    "libcurl.so.4": "libcurl4",
    "liblzma.so.5": "liblzma5",
    "libcrypto.so.3": "libssl3",
    "libssl.so.3": "libssl3",
}


def explain_exit(name: str, setting: str, status: int, log: Path) -> DevstackError:
    """Why the server ``name`` ended with ``status`` instead of getting ready, as its ``log`` tells it."""
    text = log.read_text(errors="replace")
    if missing := MISSING_LIBRARY.search(text):
        return DevstackError(f"{name} needs the library {missing[1]}: {_remedy(missing[1])}, or set {setting}")
    if PORT_TAKEN.search(text):
        return PortTaken(f"{name} was given a port that is in use")
    return DevstackError(f"{name} ended at once with status {status}: {last_words(text)} (log: {log})")


def _remedy(library: str) -> str:
    package = PACKAGES.get(library)
    return f"apt-get install {package}" if package else "install the package of your system that brings it"


def last_words(text: str) -> str:
    """The last lines of a log, as one; of mongod's, which is JSON, the last that report an error if there are any."""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [words for line in lines if (words := _mongod_error(line))]
    return " / ".join((errors or lines)[-LINES:]) or "it said nothing"


def _mongod_error(line: str) -> str | None:
    try:
        entry: dict[str, Any] = json.loads(line)
        severe = entry["s"] in {"E", "F"}
    except (ValueError, KeyError, TypeError):
        return None
    return f"{entry.get('msg')} {json.dumps(entry.get('attr', {}))}" if severe else None
