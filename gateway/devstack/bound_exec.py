"""Run a program that ends when the process that asked for it ends, whatever ends that one.

A script of its own, run as ``python -I -S bound_exec.py PARENT PROGRAM ARGUMENT...``: the request to the kernel has to
be made by the child itself, and making it between fork and exec (``preexec_fn``) is not safe where there are threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Become ``command``, to be sent SIGTERM at the end of ``parent``; elsewhere than on Linux just become it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the request was made
        sys.exit(0)
    try:
        os.execv(command[0], command)  # noqa: S606  # no shell is wanted
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
