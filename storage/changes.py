"""Being told by MongoDB of what is written to a collection, as soon as a majority has it: a change stream.

It tells sooner than anybody could look, and what it tells need not be read any more. But it tells nothing of what was before it
was opened, and nothing for seconds where a primary is elected: whoever is told looks now and then all the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from jobs.errors import StoreUnavailable
from storage.cancelling import end_task
from storage.client import Collection, open_session
from storage.documents import Document
from storage.errors import mongodb_errors

logger = logging.getLogger("jobgate.changes")

_AWAIT_MS: Final = 500
"""How long the server waits for a change before it answers that there is none: so long may a process take to end."""

_REOPEN_AFTER: Final = 0.5
_AFTER_DEFECT: Final = 5.0
_BUSY: Final = 25
"""Answers so soon after each other, from which on looking costs all less: each of these is little more than one change."""

_BUSY_SECONDS: Final = 1.0

_REST: Final = 30.0
"""Seconds for which nothing is told after that."""

_CLOSE_WITHIN: Final = 0.3
_ANSWER_WITHIN: Final = _AWAIT_MS / 1000 + 2
"""Seconds after which a connection that tells nothing any more is given up, long before its socket is."""


_IS_NEW: Final[Document] = {"$ne": ["$operationType", "update"]}


class _TooMany(Exception):
    """More changes than may wait."""


class _Sharded(Exception):
    """A router answers: with several servers behind it, looking is faster."""


class Changes:
    """The documents that are inserted, or changed in a way that ``wanted`` asks for, as they are afterwards.

    ``wanted`` is a filter and ``fields`` a projection of the document. ``news`` is called when there is something to take.
    Where more than ``most`` come before they are taken, or they come all the time, nothing is told for a while: looking costs
    less then.
    """

    def __init__(
        self, collection: Collection, wanted: Document, fields: Sequence[str], most: int, news: Callable[[], None]
    ) -> None:
        self._database = collection.database
        self._name: str = collection.name
        self._stages = _stages(wanted, fields)
        self._most = most
        self._news = news
        self._told: list[Document] = []
        self._opened = False
        self._complete = False
        """Whether what was written since the last look is told, as far as anybody can know."""
        self._sharded = False
        self._rests_until = 0.0
        self._answered: deque[float] = deque(maxlen=_BUSY)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Be told from now on, unless that is so already, or there is too much to tell: whoever waits for it calls again."""
        is_idle = self._task is None or self._task.done()
        if is_idle and not self._sharded and time.monotonic() >= self._rests_until:
            self._task = asyncio.create_task(self._follow(), name=f"changes of {self._name}")

    async def close(self) -> None:
        await end_task(self._task)

    def take(self) -> list[Document] | None:
        """What was told since the last call, oldest first; None where that may not be all, so that one has to look."""
        if not self._complete:
            self._complete = self._opened
            return None
        told, self._told = self._told, []
        return told

    def _forget(self) -> None:
        self._opened = self._complete = False
        self._told = []

    async def _follow(self) -> None:
        while True:
            try:
                with mongodb_errors():
                    await self._listen()
            except _TooMany:
                self._rests_until = time.monotonic() + _REST
                self._news()
                return
            except _Sharded:
                return
            except (StoreUnavailable, TimeoutError) as error:
                logger.debug("changes of %s: %s", self._name, error)
                await asyncio.sleep(_REOPEN_AFTER)
            except Exception:  # such as a document that is too large to be told of; looking goes on all the same
                logger.exception("changes of %s", self._name)
                await asyncio.sleep(_AFTER_DEFECT)

    async def _listen(self) -> None:
        # By commands, since the drivers' own change streams answer one change a call, each of which is a thread's work.
        await self._check_not_sharded()
        async with open_session(self._database) as session:
            opening = {"aggregate": self._name, "pipeline": self._stages, "cursor": {}}
            cursor = (await self._command(opening, session))["cursor"]
            more = {"getMore": cursor["id"], "collection": self._name, "maxTimeMS": _AWAIT_MS}
            try:
                self._opened = True
                # What is told here already is found by the look that has to come first.
                self._news()
                while True:
                    self._add((await self._command(more, session))["cursor"]["nextBatch"])
            finally:
                self._forget()
                await self._kill(cursor["id"])

    async def _check_not_sharded(self) -> None:
        # A router holds changes back until every shard is as far, and another one knows nothing of the cursor.
        hello = await self._database.command("hello")
        if hello.get("msg") == "isdbgrid":
            self._sharded = True
            raise _Sharded

    async def _command(self, command: Document, session: Any) -> Document:
        async with asyncio.timeout(_ANSWER_WITHIN):
            answer: Document = await self._database.command(
                command, codec_options=self._database.codec_options, session=session
            )
        return answer

    async def _kill(self, cursor_id: int) -> None:
        """Otherwise the server would keep it for ten minutes."""
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_WITHIN):
                await self._database.command({"killCursors": self._name, "cursors": [cursor_id]})

    def _add(self, changes: list[Document]) -> None:
        if not changes:
            return
        now = time.monotonic()
        is_busy = len(self._answered) == _BUSY and now - self._answered[0] < _BUSY_SECONDS
        if is_busy or len(self._told) + len(changes) > self._most:
            raise _TooMany
        self._answered.append(now)
        if self._complete:
            self._told += [change["fullDocument"] for change in changes]
        self._news()


def _stages(wanted: Document, fields: Sequence[str]) -> list[Document]:
    of_document = {f"fullDocument.{path}": condition for path, condition in wanted.items()}
    touched = "|".join(sorted({path.partition(".")[0] for path in wanted}))
    project = {f"fullDocument.{field}": 1 for field in ("_id", *fields)} if fields else {}
    return [
        {"$changeStream": {"fullDocument": "updateLookup"}},
        # First of all, so that no document is looked up of which nothing has changed that is asked about.
        *([{"$match": {"$expr": {"$or": [_IS_NEW, _touches(touched)]}}}] if touched else []),
        {"$match": {"operationType": {"$in": ["insert", "update", "replace"]}, "fullDocument._id": {"$exists": True}}},
        *([{"$match": of_document}] if of_document else []),
        *([{"$project": project}] if project else []),
    ]


def _touches(fields: str) -> Document:
    """Whether an update has set one of these fields, or something in it; ``fields`` is a pattern of names."""
    set_there = {"$objectToArray": {"$ifNull": ["$updateDescription.updatedFields", {}]}}
    is_one = {"$regexMatch": {"input": "$$this.k", "regex": rf"^({fields})(\.|$)"}}
    return {"$gt": [{"$size": {"$filter": {"input": set_there, "cond": is_one}}}, 0]}
