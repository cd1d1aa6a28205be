"""``python -m tests.chaos.member worker|serve``: the product's process, watched, with failpoints and perhaps a planted bug."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final

from gateway import gateway_process, worker_process
from gateway.settings import Settings
from tests.chaos import failpoints, plants, stalls

FOLDER: Final = "CHAOS_FAILPOINTS"
PLANT: Final = "CHAOS_PLANT"
STALLS: Final = "CHAOS_STALLS"
SKEW: Final = "CHAOS_CLOCK_SKEW_SECONDS"


def main(role: str, ready_fd: int) -> None:
    """Be a gateway or a worker, until told to stop."""
    _set_clock_wrong(float(os.environ[SKEW]))
    stalls.watch(Path(os.environ[STALLS]))
    failpoints.install(Path(os.environ[FOLDER]))
    if os.environ[PLANT]:
        plants.PLANTS[os.environ[PLANT]].put_in()
    process = {"serve": gateway_process, "worker": worker_process}[role]
    process.run(Settings.from_environment(), ready_fd=ready_fd)


def _set_clock_wrong(seconds: float) -> None:
    """The wall clock, as far as Python code asks for it by its usual name. All waiting is by another one."""
    right = time.time
    time.time = lambda: right() + seconds


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[3]))
