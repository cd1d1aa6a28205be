"""One server process: started, made ready, stopped. It never outlives the process that started it."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from gateway.devstack import bound_exec
from gateway.devstack.errors import DevstackError, PortTaken
from gateway.devstack.failures import explain_exit, last_words
from gateway.devstack.kinds import Kind
from gateway.devstack.ports import choose_port, read_port
from jobs.errors import StoreUnavailable

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 15.0
LOOK_AGAIN_SECONDS: Final = 0.01
PORTS_TO_TRY: Final = 5


class Server:
    """A server of some kind, with its files in a folder.

    The process belongs to no event loop: it can be started under one and stopped under another. It does belong to the
    thread that starts it, since on Linux it is ended when that thread ends: start it from the main thread.
    """

    def __init__(self, kind: Kind, folder: Path) -> None:
        self._kind = kind
        self._data = folder / kind.name
        self._log = folder / f"{kind.name}.log"
        self._port_file = folder / f"{kind.name}.port"
        self._hold: int | None = None
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the server is, or would be if it ran."""
        return self._kind.url.format(port=self._port)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1; 0 before the first start."""
        return self._port

    @property
    def pid(self) -> int:
        """The id of the server's process; raises DevstackError when none runs."""
        if self._process is None:
            raise DevstackError(f"{self._kind.name} does not run")
        return self._process.pid

    @property
    def name(self) -> str:
        return self._kind.name

    @property
    def has_died(self) -> bool:
        """Whether it was started, and has ended without having been told to."""
        return self._process is not None and self._process.poll() is not None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended since."""
        return self._process is not None and self._process.poll() is None

    async def start(self, hold: int | None = None) -> None:
        """Start on the port of the last time or else a free one, and return when the server can be used.

        ``hold`` is the descriptor that keeps the data folder; the process inherits it. Raises DevstackError.
        """
        self._hold = hold
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        remembered = read_port(self._port_file)
        for _ in range(PORTS_TO_TRY):
            self._port = choose_port(remembered)
            try:
                await self._launch()
            except PortTaken:  # between the look and the start
                remembered = None
                continue
            self._port_file.write_text(str(self._port))
            return
        raise DevstackError(f"{self._kind.name} found each of {PORTS_TO_TRY} ports taken that had been free")

    async def restart(self) -> None:
        """Stop the server if it still runs, and start it on the same port and data. Raises DevstackError."""
        await self.stop()
        await self._launch()

    async def stop(self) -> None:
        """End the server in an orderly way, or by force when that takes too long; nothing to do when none runs."""
        if self._process is None:
            return
        self._process.terminate()
        if await self._ended_within(STOP_SECONDS):
            self._process = None
        else:
            await self.kill()

    async def kill(self) -> None:
        """End the server at once, without a chance to put anything in order."""
        if self._process is None:
            return
        self._process.kill()
        await self._ended_within(STOP_SECONDS)
        self._process = None

    async def _launch(self) -> None:
        process = self._process = self._spawn()
        try:
            await self._until_listening(process)
            await self._kind.settle(self.url)
        except StoreUnavailable as error:
            status = process.poll()
            await self.kill()
            raise self._unsettled(error) if status is None else self._ended(status) from error
        except BaseException:
            await self.kill()
            raise

    def _ended(self, status: int) -> DevstackError:
        return explain_exit(self._kind.name, self._kind.setting, status, self._log)

    def _unsettled(self, error: StoreUnavailable) -> DevstackError:
        return DevstackError(f"{self._kind.name} started but cannot be used: {error} (log: {self._log})")

    def _spawn(self) -> subprocess.Popen[bytes]:
        program = str(self._kind.find())
        bound = [sys.executable, "-I", "-S", bound_exec.__file__, str(os.getpid())]
        with self._log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603  # a program of our choice, with arguments of our making
                [*bound, program, *self._kind.arguments(self._port, self._data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A terminal's Ctrl-C reaches us alone, so that the servers outlast what still uses them.
                start_new_session=True,
                pass_fds=() if self._hold is None else (self._hold,),
            )

    async def _until_listening(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the server's own word: an answer on the port could be somebody else's."""
        deadline = time.monotonic() + START_SECONDS
        while self._kind.ready not in self._log.read_bytes().lower():
            status = process.poll()
            if status is not None:
                raise self._ended(status)
            if time.monotonic() > deadline:
                raise self._mute()
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    def _mute(self) -> DevstackError:
        said = last_words(self._log.read_text(errors="replace"))
        return DevstackError(f"{self._kind.name} was not ready within {START_SECONDS:.0f} s: {said} (log: {self._log})")

    async def _ended_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._process is not None and self._process.poll() is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        return True
