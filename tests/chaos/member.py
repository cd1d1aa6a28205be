"""``python -m tests.chaos.member worker|serve``: the product's process, watched, with failpoints and perhaps a planted bug."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway import gateway_process, wiring, worker_process
from gateway.settings import Settings
from tests.chaos import failpoints, plants, stalls
from tests.chaos.receiver import TERMS

FOLDER: Final = "CHAOS_FAILPOINTS"
PLANT: Final = "CHAOS_PLANT"
STALLS: Final = "CHAOS_STALLS"
SKEW: Final = "CHAOS_CLOCK_SKEW_SECONDS"


def main(role: str, ready_fd: int) -> None:
    """Be a gateway or a worker, until told to stop."""
    _set_clock_wrong(float(os.environ[SKEW]))
    _be_impatient()
    stalls.watch(Path(os.environ[STALLS]))
    failpoints.install(Path(os.environ[FOLDER]))
    if os.environ[PLANT]:
        plants.PLANTS[os.environ[PLANT]].put_in()
    process = {"serve": gateway_process, "worker": worker_process}[role]
    process.run(Settings.from_environment(), ready_fd=ready_fd)


def _be_impatient() -> None:
    """Deliveries are tried again within seconds, and not within hours."""
    worker_config = worker_process.worker_config
    worker_process.worker_config = lambda settings: replace(worker_config(settings), delivery=TERMS)
    vars(wiring)["PATIENT"] = TERMS


def _set_clock_wrong(seconds: float) -> None:
    """The wall clock, as far as Python code asks for it by its usual name. All waiting is by another one."""
    right = time.time
    time.time = lambda: right() + seconds


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[3]))
