"""Processes that tests start or meet: whether they run, and their end as something to wait for."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def runs(pid: int) -> bool:
    """Whether the process is there and no zombie, which is what an orphan may stay where nobody collects it."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def arguments_of(pid: int) -> list[str]:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and those that these have started in turn."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = {int(child) for task in tasks for child in (task / "children").read_text().split()}
    except FileNotFoundError:
        return set()
    return children.union(*map(descendants, children))


def freeze(pid: int) -> None:
    """Have a child of this process stand still: its connections stay open, and nothing is answered any more.

    A signal is only sent: until all threads have stopped, they may go on answering, for long if the machine is busy.
    """
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)


def thaw(pid: int) -> None:
    """Have it go on."""
    os.kill(pid, signal.SIGCONT)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A child of this process stands still meanwhile."""
    try:
        freeze(pid)
        yield
    finally:
        thaw(pid)


async def ended(pid: int, seconds: float = 20) -> None:
    """Wait for the end of a process that need not be a child of this one. Linux only, as is the promise it is for."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, over.set)
    try:
        await asyncio.wait_for(over.wait(), seconds)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
