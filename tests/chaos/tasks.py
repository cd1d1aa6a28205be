"""What workers run under faults. Every handler leaves its traces in the ledger, and answers which attempt it was."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Final

from tests.chaos.ledger import recorded
from worker.context import TaskContext
from worker.tasks import TaskError, task

NOT_YET: Final = "NOT_YET"


@task("chaos.work")
async def work(context: TaskContext, value: Any) -> Any:
    """Take ``ms`` milliseconds, and tell halfway."""
    with recorded(context):
        await asyncio.sleep(value["ms"] / 2000)
        await context.progress(0.5)
        await asyncio.sleep(value["ms"] / 2000)
    return _answer(context)


@task("chaos.fail")
async def fail(context: TaskContext, value: Any) -> Any:
    """Fail as often as ``failures`` says, then work."""
    with recorded(context):
        await asyncio.sleep(value["ms"] / 1000)
        if context.attempt <= value["failures"]:
            raise TaskError(NOT_YET, "another attempt is to succeed")
    return _answer(context)


@task("chaos.thread")
def thread(context: TaskContext, value: Any) -> Any:
    """Take ``ms`` milliseconds in a thread, which obeys when it is told to stop."""
    with recorded(context):
        for _ in range(value["ms"] // 20):
            time.sleep(0.02)
            context.check()
    return _answer(context)


@task("chaos.block")
async def block(context: TaskContext, value: Any) -> Any:
    """Hold up everything else in the worker for ``ms`` milliseconds, as a careless handler does."""
    with recorded(context):
        time.sleep(value["ms"] / 1000)  # noqa: ASYNC251  # that is what it is for
    return _answer(context)


def _answer(context: TaskContext) -> dict[str, int]:
    return {"attempt": context.attempt, "pid": os.getpid()}
