"""The data folder belongs to one stack at a time."""

import asyncio
import fcntl
import os
import time
from pathlib import Path
from typing import Final

from gateway.devstack.errors import DevstackError

HOLDER: Final = "holder.pid"
ORPHANS_SECONDS: Final = 15.0
LOOK_AGAIN_SECONDS: Final = 0.02


async def hold_folder(folder: Path) -> int:
    """Make ``folder`` if need be, and hold it for this process: returns a descriptor, to be closed to let go.

    The servers inherit the descriptor, and the folder is free when the last of its owners has ended. So, when the
    process that started them was killed, the next stack waits for its servers to finish writing.
    Raises DevstackError when a running process holds the folder.
    """
    descriptor = _open(folder)
    try:
        await _acquire(descriptor, folder)
    except BaseException:
        os.close(descriptor)
        raise
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _open(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(folder / HOLDER, os.O_RDWR | os.O_CREAT, 0o600)


async def _acquire(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + ORPHANS_SECONDS
    while not _try(descriptor):
        holder = os.pread(descriptor, 20, 0).decode()
        if _runs(holder) or time.monotonic() > deadline:
            raise DevstackError(f"{folder} is in use by process {holder or 'unknown'}: end that one, or use another")
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _runs(pid: str) -> bool:
    """Whether a process with that id runs; an id that is not written yet counts as none."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True
