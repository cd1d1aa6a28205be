"""Calling a handler: asynchronous ones as a task, synchronous ones in a thread of their own; and stopping it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable
from typing import Any

from jobs.decisions import Failed, Succeeded
from jobs.job import JobError
from jobs.json_values import JsonValue, NotJson, TooLarge, check_json
from worker.context import TaskContext
from worker.tasks import TaskDefinition, TaskError

RESULT_NOT_JSON = "RESULT_NOT_JSON"
RESULT_TOO_LARGE = "RESULT_TOO_LARGE"

_MAX_MESSAGE = 8 * 1024
_MAX_CODE = 128

Verdict = Succeeded | Failed


def call(definition: TaskDefinition, context: TaskContext, value: JsonValue) -> asyncio.Future[Verdict]:
    """Start the handler; the future holds what it did, whatever that was. Cancelling it cancels an asynchronous handler."""
    if definition.is_async:
        return asyncio.ensure_future(_judge(definition.handler(context, value)))
    return _in_thread(definition, context, value)


async def _judge(handler: Awaitable[Any]) -> Verdict:
    try:
        return judge_result(await handler)
    except asyncio.CancelledError as error:
        return judge_error(error)
    except BaseException as error:
        return judge_error(error)


def _in_thread(definition: TaskDefinition, context: TaskContext, value: JsonValue) -> asyncio.Future[Verdict]:
    """A daemon thread each, not a pool: one that never returns must neither starve the others nor hold up the exit."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Verdict] = loop.create_future()
    variables = contextvars.copy_context()

    def run() -> None:
        try:
            verdict = judge_result(variables.run(definition.handler, context, value))
        except BaseException as error:
            verdict = judge_error(error)
        # The loop is gone when the worker has shut down without waiting for this thread any longer.
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, answer, verdict)

    threading.Thread(target=run, name=f"run {context.run_key}", daemon=True).start()
    return answer


def _settle(answer: asyncio.Future[Verdict], verdict: Verdict) -> None:
    if not answer.done():
        answer.set_result(verdict)


def judge_result(result: object) -> Verdict:
    """What a handler's return value means: it must be JSON, and not too much of it."""
    try:
        check_json(result)
    except TooLarge as error:
        return Failed(JobError(RESULT_TOO_LARGE, f"the handler answered {error}"), final=True)
    except NotJson as error:
        return Failed(JobError(RESULT_NOT_JSON, f"the handler's answer is not JSON: {error}"), final=True)
    return Succeeded(result)


def judge_error(error: BaseException) -> Failed:
    """What an exception means: a ``TaskError`` has its own code, any other the name of its class."""
    code = error.code if isinstance(error, TaskError) else type(error).__name__
    return Failed(JobError(code[:_MAX_CODE], _storable(_message(error) or type(error).__name__)))


def _message(error: BaseException) -> str:
    """What the exception says, unless saying it fails as well: it is a handler's own code that is run here."""
    try:
        return str(error.message if isinstance(error, TaskError) else error)
    except Exception:
        return ""


def _storable(text: str) -> str:
    """Cut to what is kept, and without the lone surrogates that BSON cannot hold."""
    return text[:_MAX_MESSAGE].encode(errors="replace").decode()
