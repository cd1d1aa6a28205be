"""What handlers really did, kept outside of MongoDB: one file that every worker appends to."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from worker.context import TaskContext

LEDGER: Final = "CHAOS_LEDGER"
"""The variable that tells workers where the file is."""


class End(StrEnum):
    """How a handler was left."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"
    """Its process died, or nothing more was heard of it."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One call of a handler, from its first line to its last."""

    job: str
    run: int
    attempt: int
    task: str
    pid: int
    began: float
    ended: float
    end: End


def now() -> float:
    """Seconds by the machine's clock, also in processes whose own idea of the time is wrong on purpose."""
    return time.clock_gettime(time.CLOCK_REALTIME)


@contextmanager
def recorded(context: TaskContext) -> Iterator[None]:
    """Note the beginning and the end of a handler. A line is one write, so that those of several processes do not mix."""
    _write(context, "begin")
    end = End.STOPPED
    try:
        yield
        end = End.DONE
    except Exception:
        end = End.STOPPED if context.cancel_reason else End.FAILED
        raise
    finally:
        _write(context, end)


def _write(context: TaskContext, what: str) -> None:
    line = {
        "job": context.job_id,
        "run": context.execution,
        "attempt": context.attempt,
        "task": context.task,
        "pid": os.getpid(),
        "what": what,
        "at": now(),
    }
    file = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


def read_ledger(path: Path, deaths: Mapping[int, float], until: float) -> list[Effect]:
    """All calls, in the order in which they began. Whoever died while at one had left it by then."""
    if not path.exists():
        return []
    begun: defaultdict[tuple[str, int, int, int], list[dict[str, Any]]] = defaultdict(list)
    for line in map(json.loads, path.read_text().splitlines()):
        begun[line["job"], line["run"], line["attempt"], line["pid"]].append(line)
    effects = [effect for lines in begun.values() for effect in _effects(lines, deaths, until)]
    return sorted(effects, key=lambda effect: effect.began)


def _effects(lines: list[dict[str, Any]], deaths: Mapping[int, float], until: float) -> Iterator[Effect]:
    """The calls that one process has made of one attempt: an attempt that was released may come back to it."""
    for index, line in enumerate(lines):
        if line["what"] != "begin":
            continue
        after = lines[index + 1] if index + 1 < len(lines) and lines[index + 1]["what"] != "begin" else None
        ended, end = (after["at"], End(after["what"])) if after else (deaths.get(line["pid"], until), End.LOST)
        yield Effect(line["job"], line["run"], line["attempt"], line["task"], line["pid"], line["at"], ended, end)
