"""Child processes that are this same program: started, known to be ready, restarted when they die, ended with us."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Final

from gateway.devstack import bound_exec

logger = logging.getLogger("jobgate.dev")

_RESTART_AFTER: Final = 1.0


class Child:
    """``python -m gateway …`` as a process of its own. It ends when this process ends, however that happens.

    ``log``: a file that takes what it says, instead of where we say things ourselves.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stop_seconds: float = 30,
        *,
        module: str = "gateway",
        log: Path | None = None,
    ) -> None:
        self.name = name
        self._stop_seconds = stop_seconds
        self._module = module
        self._log = log
        self._arguments = list(arguments)
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The id of the process; None before the first start."""
        return None if self._process is None else self._process.pid

    async def start(self) -> bool:
        """Start it; True once it says that it is ready, False when it ended before."""
        reading, writing = os.pipe()
        try:
            with nullcontext() if self._log is None else self._log.open("ab") as log:
                self._process = await self._spawn(writing, log)
        finally:
            os.close(writing)
        return await _said_ready(reading)

    async def _spawn(self, writing: int, log: IO[bytes] | None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", bound_exec.__file__, str(os.getpid())),
            *(sys.executable, "-m", self._module, *self._arguments, "--ready-fd", str(writing)),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writing,),
            # Ctrl-C in the terminal is for the parent, which ends its children in order.
            start_new_session=True,
        )

    async def keep(self) -> None:
        """Start it again whenever it ends, until it is stopped."""
        while self._process is not None:
            status = await self._process.wait()
            if self._is_stopping():
                return
            self.on_end(status)
            await asyncio.sleep(_RESTART_AFTER)
            if self._is_stopping():
                return
            await self.start()

    def on_end(self, status: int) -> None:
        """It has ended without having been told to, and is about to be started again."""
        logger.error("the %s ended with status %s; starting it again", self.name, status)

    def _is_stopping(self) -> bool:
        return self._stopping

    async def stop(self) -> None:
        """Ask it to end; kill it when that takes longer than it may."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(self._stop_seconds):
                await process.wait()
        except TimeoutError:
            logger.error("the %s does not end: killed", self.name)
            process.kill()
            await process.wait()


@asynccontextmanager
async def kept(child: Child) -> AsyncIterator[Child]:
    """A child that runs, and is started again whenever it ends. Raises ``ChildProcessError`` when it does not start at all."""
    if not await child.start():
        raise ChildProcessError(f"the {child.name} did not start")
    keeping = asyncio.create_task(child.keep())
    try:
        yield child
    finally:
        await child.stop()
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


def say_ready(descriptor: int | None) -> None:
    """Tell the parent, if it asked to be told by way of ``--ready-fd``."""
    if descriptor is not None:
        os.write(descriptor, b"1")
        os.close(descriptor)


async def _said_ready(reading: int) -> bool:
    """Whether anything was written before the other end was closed."""
    stream = asyncio.StreamReader()
    with os.fdopen(reading, "rb") as pipe:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), pipe
        )
        try:
            return bool(await stream.read(1))
        finally:
            transport.close()
