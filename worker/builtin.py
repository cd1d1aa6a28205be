"""Tasks that every worker has: to try things out with, and to call a URL."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Final

from jobs.json_values import JsonValue
from worker.context import TaskContext
from worker.http_credentials import Credentials
from worker.http_request import http_request_task
from worker.tasks import INVALID_INPUT, TaskDefinition, TaskError, define

_LONGEST_SLEEP: Final = 3600


async def echo(_: TaskContext, value: JsonValue) -> JsonValue:
    """Answers its input."""
    return value


async def sleep(_: TaskContext, value: JsonValue) -> JsonValue:
    """Does nothing for some seconds: {"seconds": 2}."""
    seconds = _number(_object(value), "seconds", most=_LONGEST_SLEEP)
    await asyncio.sleep(seconds)
    return {"slept": seconds}


async def fail(context: TaskContext, value: JsonValue) -> JsonValue:
    """Fails its first attempts of each run, all when "times" is left out: {"code": "X", "times": 1}."""
    given = _object(value)
    times = _number(given, "times", most=2**31) if "times" in given else math.inf
    failure = _failure(given, f"attempt {context.attempt} failed as it was asked to")
    if context.attempt > times:
        return {"attempts": context.attempt}
    raise failure


def builtin_tasks(allow_private: bool, credentials: Credentials | None = None) -> list[TaskDefinition]:
    """All of them. ``allow_private``: ``http.request`` may call private and loopback addresses."""
    return [
        define("demo.echo", echo),
        define("demo.sleep", sleep),
        define("demo.fail", fail),
        http_request_task(allow_private, credentials=credentials),
    ]


def _failure(given: dict[str, Any], message: str) -> TaskError:
    code, message = given.get("code", "FAILED"), given.get("message", message)
    if not isinstance(message, str):
        raise TaskError(INVALID_INPUT, "message must be a string")
    try:
        return TaskError(code, message)
    except (TypeError, ValueError):
        raise TaskError(INVALID_INPUT, "code must be 1 to 100 letters, digits and _ . : -") from None


def _object(value: JsonValue) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TaskError(INVALID_INPUT, "the input must be an object")
    return value


def _number(given: dict[str, Any], name: str, *, most: float) -> float:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise TaskError(INVALID_INPUT, f"{name} must be a number from 0 to {most}")
    return value
