"""What MongoDB tells of by itself, and when one has to look all the same."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from jobs.errors import StoreUnavailable
from jobs.events import EventType
from storage import changes
from storage import outbox as outbox_module
from storage.changes import Changes
from storage.client import Database
from storage.outbox import Outbox
from tests.installation import Installation

Documents = list[dict[str, Any]]


class Told:
    """What was told of the collection ``things``, and how often one had to look."""

    def __init__(self, database: Database, most: int = 100) -> None:
        self.things = database["things"]
        self.documents: Documents = []
        self.looks = 0
        self._news = asyncio.Event()
        self.changes = Changes(self.things, {"loud": True}, ("loud", "name.first"), most, self._news.set)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Take what there is at each news until the condition is met."""
        while not condition():
            await self.news()
            self.take()

    async def news(self) -> None:
        async with asyncio.timeout(10):
            await self._news.wait()
        self._news.clear()

    def take(self) -> None:
        taken = self.changes.take()
        if taken is None:
            self.looks += 1
        self.documents += taken or []


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is slow to answer for once would have one look again."""
    monkeypatch.setattr(changes, "_ANSWER_WITHIN", 30.0)


@asynccontextmanager
async def telling(database: Database, most: int = 100) -> AsyncIterator[Told]:
    told = Told(database, most)
    told.changes.start()
    await told.until(lambda: told.looks == 1)
    try:
        yield told
    finally:
        await told.changes.close()


async def test_documents_are_told_of_as_they_are_afterwards_if_they_are_wanted_and_no_more_of_them_than_that(
    database: Database,
) -> None:
    async with telling(database) as told:
        await told.things.insert_one({"_id": 1, "loud": False})
        await told.things.insert_one(
            {"_id": 2, "loud": True, "name": {"first": "Ann", "last": "Lee"}, "input": "secret"}
        )
        # Nothing of what is asked about has changed.
        await told.things.update_one({"_id": 2}, {"$set": {"input": "another", "louder": True}})
        await told.things.update_one({"_id": 1}, {"$set": {"loud": True}})
        await told.things.delete_one({"_id": 2})
        await told.things.insert_one({"_id": 3, "loud": True})
        await told.until(lambda: len(told.documents) == 3)
        assert told.documents == [
            {"_id": 2, "loud": True, "name": {"first": "Ann"}},
            {"_id": 1, "loud": True},
            {"_id": 3, "loud": True},
        ]
        assert told.looks == 1


async def test_one_has_to_look_before_anything_is_told_once_more_when_it_is_and_never_where_nothing_was_missed(
    database: Database,
) -> None:
    told = Told(database)
    told.take()
    told.take()
    assert told.looks == 2
    await told.things.insert_one({"_id": 1, "loud": True})
    async with telling(database) as told:
        told.take()
        assert (told.documents, told.looks) == ([], 1)
    told.take()
    assert told.looks == 2


async def cursors(database: Database) -> set[int]:
    """Those on the server that wait for changes of ``things``."""
    stages = [
        {"$currentOp": {"idleCursors": True, "localOps": True}},
        {"$match": {"ns": f"{database.name}.things", "cursor.tailable": True}},
    ]
    operations = await database.client.admin.aggregate(stages).to_list(None)
    return {operation["cursor"]["cursorId"] for operation in operations}


async def only_cursor(database: Database) -> int:
    """While it changes hands it may not be shown."""
    async with asyncio.timeout(10):
        while len(found := await cursors(database)) != 1:
            pass
    return found.pop()


async def test_after_an_interruption_one_has_to_look_and_is_told_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Time for the insert below: what is told of once it is open again need not be looked for.
    monkeypatch.setattr(changes, "_REOPEN_AFTER", 2.0)
    async with telling(database) as told:
        cursor = await only_cursor(database)
        await database.command({"killCursors": "things", "cursors": [cursor]})
        await told.things.insert_one({"_id": 1, "loud": True})
        await told.until(lambda: told.looks == 2)
        await told.things.insert_one({"_id": 2, "loud": True})
        await told.until(lambda: bool(told.documents))
        assert [document["_id"] for document in told.documents] == [2]


async def test_what_was_told_before_an_interruption_is_found_by_looking_and_not_told_behind_it(
    database: Database,
) -> None:
    async with telling(database) as told:
        await told.things.insert_one({"_id": 1, "loud": True})
        await told.news()
        cursor = await only_cursor(database)
        await database.command({"killCursors": "things", "cursors": [cursor]})
        await told.until(lambda: told.looks == 2)
        await told.things.insert_one({"_id": 2, "loud": True})
        await told.until(lambda: bool(told.documents))
        assert [document["_id"] for document in told.documents] == [2]


@pytest.mark.parametrize(
    ("failure", "logged"), [(StoreUnavailable("MongoDB", "gone"), 0), (TimeoutError(), 0), (ValueError("a defect"), 1)]
)
@pytest.mark.parametrize("later", [0.0, 60.0])
async def test_what_has_failed_is_tried_again_later_and_only_a_defect_is_logged(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failure: Exception,
    logged: int,
    later: float,
) -> None:
    tries = 0

    async def fail(_: Changes) -> None:
        nonlocal tries
        tries += 1
        raise failure

    monkeypatch.setattr(Changes, "_listen", fail)
    monkeypatch.setattr(changes, "_REOPEN_AFTER", later)
    monkeypatch.setattr(changes, "_AFTER_DEFECT", later)
    told = Told(database)
    told.changes.start()
    for _ in range(5):
        await database.command("ping")
    await told.changes.close()
    assert tries > 1 if later == 0 else tries == 1
    assert len([one for one in caplog.records if one.levelno >= logging.ERROR]) == logged * tries


async def test_where_changes_come_all_the_time_nothing_is_told_for_a_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_BUSY", 3)
    monkeypatch.setattr(changes, "_BUSY_SECONDS", 60.0)
    async with telling(database) as told:
        for number in range(changes._BUSY):
            await told.things.insert_one({"_id": number, "loud": True})
            await told.until(lambda: len(told.documents) == number + 1)  # noqa: B023  # it is called in this round only
        await told.things.insert_one({"_id": changes._BUSY, "loud": True})
        await told.until(lambda: told.looks == 2)
        assert told.changes._task is not None
        await told.changes._task
        told.changes.start()
        assert told.changes._task.done()
        monkeypatch.setattr(told.changes, "_rests_until", 0.0)
        told.changes.start()
        assert not told.changes._task.done()


async def test_where_more_comes_than_may_wait_one_has_to_look_until_it_is_started_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_REST", 0.0)
    async with telling(database, most=2) as told:
        await told.things.insert_many([{"_id": number, "loud": True} for number in range(3)])
        await told.until(lambda: told.looks == 2)
        told.take()
        assert (told.documents, told.looks) == ([], 3)
        told.changes.start()
        await told.until(lambda: told.looks == 4)
        told.take()
        assert (told.documents, told.looks) == ([], 4)
        await told.things.insert_many([{"_id": number, "loud": True} for number in (3, 4)])
        await told.until(lambda: len(told.documents) == 2)


async def test_closed_it_leaves_nothing_behind_on_the_server(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_CLOSE_WITHIN", 10.0)
    async with telling(database):
        await only_cursor(database)
    async with asyncio.timeout(10):
        while await cursors(database):
            pass


@asynccontextmanager
async def called(database: Database) -> AsyncIterator[tuple[Outbox, Callable[[], Any]]]:
    """An outbox that jobs call, and a function that waits for the next call."""
    news = asyncio.Event()
    outbox = Outbox(database, news.set)

    async def wait() -> None:
        async with asyncio.timeout(10):
            await news.wait()
        news.clear()

    outbox.follow()
    await wait()
    assert await outbox.advance_called() is None
    yield outbox, wait
    await outbox.unfollow()
    await outbox.settle()


async def test_an_event_reaches_the_log_without_anybody_looking_for_it_and_only_once(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(*_: object) -> list[object]:
        raise AssertionError("somebody looked")

    monkeypatch.setattr(Outbox, "_waiting", look)
    async with called(database) as (outbox, wait):
        job = await installation.dispatch()
        await wait()
        events = await outbox.advance_called()
        assert events is not None
        assert [(event.job_id, event.type) for event in events] == [
            (job.id, EventType.JOB_SCHEDULED),
            (job.id, EventType.JOB_QUEUED),
        ]
        await outbox.settle()
        assert await outbox.advance_called() == []
        assert [event.type for event in await installation.until(job, EventType.JOB_QUEUED)] == [
            EventType.JOB_SCHEDULED,
            EventType.JOB_QUEUED,
        ]


async def test_a_job_is_told_of_as_it_was_when_its_events_are_in_the_log_already(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by looking in the meantime, and forgotten by the job as well: only the relay remembers."""

    async def missing(*_: object) -> list[object]:
        raise AssertionError("it was told a second time")

    monkeypatch.setattr(Outbox, "_missing", missing)
    async with called(database) as (outbox, wait):
        await installation.dispatch()
        await wait()
        assert len(await outbox.relay(10)) == 2
        assert await outbox.advance_called() == []


async def test_whoever_calls_long_after_its_events_were_told_is_told_of_once_all_the_same(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the relay has forgotten that it did: then the log knows."""
    monkeypatch.setattr(outbox_module, "_REMEMBERED", 0)
    async with called(database) as (outbox, wait):
        await installation.dispatch()
        await wait()
        assert len(await outbox.relay(10)) == 2
        assert await outbox.advance_called() == []
        assert await installation.services.events.head() == 2


async def test_behind_a_router_nothing_is_told_and_one_looks(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = type(database).command

    async def as_a_router(self: Database, command_: Any, *args: Any, **options: Any) -> Any:
        answer = await command(self, command_, *args, **options)
        return {**answer, "msg": "isdbgrid"} if command_ == "hello" else answer

    monkeypatch.setattr(type(database), "command", as_a_router)
    told = Told(database)
    told.changes.start()
    assert told.changes._task is not None
    await told.changes._task
    told.changes.start()
    assert told.changes._task.done()
    told.take()
    told.take()
    assert told.looks == 2


async def test_what_has_not_answered_in_time_is_given_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less time than it takes to say that there is nothing: each time one has to look again."""
    monkeypatch.setattr(changes, "_ANSWER_WITHIN", 0.4)
    monkeypatch.setattr(changes, "_REOPEN_AFTER", 0.0)
    async with telling(database) as told:
        await told.until(lambda: told.looks == 2)


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_cursor_that_cannot_be_given_back_holds_nothing_up(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, hangs: bool
) -> None:
    command = type(database).command

    async def fail_to_kill(self: Database, command_: Any, *args: Any, **options: Any) -> Any:
        if "killCursors" not in command_:
            return await command(self, command_, *args, **options)
        if hangs:
            await asyncio.Event().wait()
        raise ValueError("a defect")

    monkeypatch.setattr(changes, "_REOPEN_AFTER", 0.1)
    async with telling(database) as told:
        cursor = await only_cursor(database)
        monkeypatch.setattr(type(database), "command", fail_to_kill)
        await command(database, {"killCursors": "things", "cursors": [cursor]})
        await told.until(lambda: told.looks == 2)
        monkeypatch.undo()
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


async def test_changes_that_come_one_now_and_one_then_are_told_however_many(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_BUSY", 2)
    monkeypatch.setattr(changes, "_BUSY_SECONDS", 0.0)
    async with telling(database) as told:
        told.changes._answered = deque(maxlen=2)
        for number in range(5):
            await told.things.insert_one({"_id": number, "loud": True})
            await told.until(lambda: len(told.documents) == number + 1)  # noqa: B023  # it is called in this round only


async def test_what_is_told_before_one_has_looked_is_left_to_the_look(database: Database) -> None:
    told = Told(database)
    told.changes.start()
    await told.news()
    await told.things.insert_one({"_id": 1, "loud": True})
    await told.news()
    told.take()
    told.take()
    await told.changes.close()
    assert (told.documents, told.looks) == ([], 1)


async def test_a_document_that_is_gone_by_the_time_that_it_is_told_of_is_left_out(database: Database) -> None:
    told = Told(database)
    told.changes = Changes(told.things, {}, (), 100, told._news.set)
    told.changes.start()
    await told.until(lambda: told.looks == 1)
    await told.things.insert_one({"_id": 1})
    await told.until(lambda: len(told.documents) == 1)
    async with await database.client.start_session() as session, session.start_transaction():
        await told.things.update_one({"_id": 1}, {"$set": {"n": 1}}, session=session)
        await told.things.delete_one({"_id": 1}, session=session)
    await told.things.insert_one({"_id": 2})
    await told.until(lambda: len(told.documents) == 2)
    await told.changes.close()
    assert told.documents == [{"_id": 1}, {"_id": 2}]
