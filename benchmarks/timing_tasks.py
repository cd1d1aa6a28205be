"""What the worker of the timing benchmark runs: the task whose runs tell when they began."""

from __future__ import annotations

import time
from typing import Any

from worker.tasks import task


@task("bench.no_op")
async def no_op(_: Any, __: Any) -> float:
    """Answer when this line was reached, in seconds of the machine's clock: the job's result."""
    return time.time()
