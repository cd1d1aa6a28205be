"""A MongoDB that fails as it is told to: commands that are refused, held up, or whose answer says less than it should."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pymongo import MongoClient

from gateway.devstack.kinds import MONGOD
from gateway.devstack.server import Server
from tests.processes import freeze, thaw

_OBEYS: Final = ["--setParameter", "enableTestCommands=1"]

LOST: Final = {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}}
"""The command is carried out, and answered before a majority has it: the caller cannot know whether it will stay."""


def _arguments(port: int, data: Path) -> list[str]:
    arguments = [*MONGOD.arguments(port, data), *_OBEYS]
    # Jobs of 16 MB are written here: the cache has to hold several versions of some.
    arguments[arguments.index("--wiredTigerCacheSizeGB") + 1] = "1"
    return arguments


class FailingMongod:
    """One for all tests of the process; each has a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(replace(MONGOD, arguments=_arguments), folder)
        self._is_frozen = False

    @property
    def url(self) -> str:
        return self.server.url

    @contextmanager
    def failing(self, *commands: str, on: str, times: int | None = None, **how: Any) -> Iterator[None]:
        """Have commands of the product on the collection ``on`` (``database.collection``) fail, so often or each time."""
        data = {"failCommands": list(commands), "namespace": on, "appName": "jobgate", **how}
        with MongoClient[dict[str, Any]](self.url) as client:
            mode = "alwaysOn" if times is None else {"times": times}
            client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})
            try:
                yield
            finally:
                client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})

    def freeze(self) -> None:
        """From now on, connections stay open and nothing is answered."""
        if self._is_frozen:
            return
        self._is_frozen = True
        freeze(self.server.pid)

    def thaw(self) -> None:
        self._is_frozen = False
        thaw(self.server.pid)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.freeze()
        try:
            yield
        finally:
            self.thaw()
