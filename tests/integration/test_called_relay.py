"""The relay that jobs call: when it looks for others all the same."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from jobs.errors import StoreUnavailable
from storage.client import Database
from storage.leases import Lease
from storage.outbox import Outbox
from storage.outbox_entries import WAITING
from storage.projection import Projection
from storage.signals import Topic
from tests.installation import Installation
from worker import relay as relay_module
from worker.relay import LEASE, Relay


@dataclass
class Called:
    """A relay that leads and is called, ``looks`` in a list of one, and a function that waits for the next call."""

    relay: Relay
    outbox: Outbox
    looks: list[int]
    wait: Callable[[], Any]


async def always() -> bool:
    return True


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often jobs were looked for."""
    number, look = [0], Outbox._waiting

    async def count(self: Outbox, limit: int) -> Any:
        number[0] += 1
        return await look(self, limit)

    monkeypatch.setattr(Outbox, "_waiting", count)
    # A store that is slow to answer is another matter: the stream would be opened anew, and jobs looked for meanwhile.
    monkeypatch.setattr("storage.changes._ANSWER_WITHIN", 30.0)
    return number


@asynccontextmanager
async def leading(installation: Installation, database: Database, looks: list[int]) -> AsyncIterator[Called]:
    news = asyncio.Event()

    async def wait() -> None:
        async with asyncio.timeout(10):
            await news.wait()
        news.clear()

    outbox = Outbox(database, news.set)
    lease = Lease(database, "relay", "this", LEASE)
    relay = Relay(outbox, Projection(database), lease, installation.services.signals, always)
    await relay.run_once()
    await wait()
    await relay.run_once()
    try:
        yield Called(relay, outbox, looks, wait)
    finally:
        await relay.stop()


async def told(installation: Installation) -> int:
    return await installation.services.events.head()


async def test_what_calls_is_told_and_nothing_is_looked_for(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leading(installation, database, looks) as called:
        before = looks[0]
        monkeypatch.setattr(called.relay, "_look_at", time.monotonic() + 60)
        await installation.dispatch()
        await called.wait()
        assert await called.relay.run_once() == 0
        assert (await told(installation), looks[0]) == (2, before)
        await called.relay.run_once()
        assert looks[0] == before


async def test_what_never_called_is_found_when_it_is_time_to_look(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leading(installation, database, looks) as called:
        await installation.dispatch()
        await called.wait()
        called.outbox._news.take()
        monkeypatch.setattr(called.relay, "_renew_at", time.monotonic() + 60)
        monkeypatch.setattr(called.relay, "_look_at", time.monotonic() + 0.9)
        # Nobody puts this look off: what comes meanwhile does not have to wait for it.
        pause = await called.relay.run_once()
        assert 0 < pause < 1
        assert await told(installation) == 0
        async with asyncio.timeout(5):
            while not await told(installation):
                await asyncio.sleep(pause)
                pause = await called.relay.run_once()


async def test_calls_that_never_end_put_off_looking_for_others_by_a_second_at_most(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leading(installation, database, looks) as called:
        await installation.dispatch()
        await called.wait()
        [event, _] = await called.outbox.advance(10)
        before = looks[0]

        async def call_once_more(*_: object) -> list[Any]:
            return [event]

        monkeypatch.setattr(called.outbox, "advance_called", call_once_more)
        monkeypatch.setattr(called.relay, "_renew_at", time.monotonic() + 60)
        monkeypatch.setattr(called.relay, "_look_at", asyncio.get_running_loop().time() - 0.5)
        await called.relay.run_once()
        assert looks[0] == before
        monkeypatch.setattr(called.relay, "_look_at", asyncio.get_running_loop().time() - 1.5)
        await called.relay.run_once()
        assert looks[0] == before + 1


async def test_a_relay_that_does_not_lead_any_more_is_not_called_either(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leading(installation, database, looks) as called:
        assert called.outbox._news.take() == []
        await Lease(database, "relay", "this", LEASE).release()
        assert await Lease(database, "relay", "another", timedelta(minutes=1)).acquire()
        monkeypatch.setattr(called.relay, "_renew_at", 0.0)
        await called.relay.run_once()
        assert called.outbox._news._task is not None
        assert called.outbox._news._task.done()


async def test_at_its_end_it_tells_what_has_not_called_yet(
    installation: Installation, database: Database, looks: list[int]
) -> None:
    async with leading(installation, database, looks) as called:
        await installation.dispatch()
        await called.wait()
        called.outbox._news.take()
        await called.relay.finish()
        assert await told(installation) == 2


async def test_where_nothing_calls_a_look_is_not_put_off(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leading(installation, database, looks) as called:
        before = looks[0]
        monkeypatch.setattr(called.relay, "_look_at", time.monotonic() - 0.1)
        await called.relay.run_once()
        assert looks[0] == before + 1


async def test_readers_are_told_of_what_has_called(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leading(installation, database, looks) as called:
        await installation.dispatch()
        await called.wait()
        told_of: list[Topic] = []
        monkeypatch.setattr(installation.services.signals, "wake", told_of.append)
        await called.relay.run_once()
        assert told_of == [Topic.FEED]


async def test_the_lease_is_renewed_when_it_is_time_to_and_not_each_time(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = 0

    async def renew(_: Relay) -> None:
        nonlocal renewed
        renewed += 1

    async with leading(installation, database, looks) as called:
        monkeypatch.setattr(Relay, "_renew", renew)
        monkeypatch.setattr(called.relay, "_renew_at", time.monotonic() + 60)
        await called.relay.run_once()
        assert renewed == 0
        monkeypatch.setattr(called.relay, "_renew_at", 0.0)
        await called.relay.run_once()
        assert renewed == 1


@pytest.mark.parametrize(("next_", "other"), [("_renew_at", "_look_at"), ("_look_at", "_renew_at")])
async def test_it_waits_no_longer_than_until_it_is_time_to_renew_the_lease_or_to_look(
    installation: Installation,
    database: Database,
    looks: list[int],
    monkeypatch: pytest.MonkeyPatch,
    next_: str,
    other: str,
) -> None:
    async with leading(installation, database, looks) as called:
        if called.relay._counting is not None:
            await called.relay._counting
        monkeypatch.setattr(called.relay, "_uncounted", False)
        monkeypatch.setattr(called.relay, next_, time.monotonic() + 0.9)
        monkeypatch.setattr(called.relay, other, time.monotonic() + 60)
        assert 0 < await called.relay.run_once() < 0.9


async def test_one_that_is_deposed_tells_nothing_before_it_holds_the_lease_anew(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leading(installation, database, looks) as called:
        await installation.dispatch()
        await called.wait()
        await called.relay.run_once()
        await installation.dispatch()
        await called.wait()
        await Outbox(database).relay(10)
        await installation.dispatch()
        monkeypatch.setattr(called.relay, "_look_at", 0.0)
        monkeypatch.setattr(called.relay, "_renew_at", time.monotonic() + 60)
        assert await called.relay.run_once() == 1
        assert await called.relay.run_once() == 1
        assert await told(installation) == 4
        monkeypatch.setattr(called.relay, "_renew_at", 0.0)
        await called.relay.run_once()
        assert await told(installation) == 6


async def test_what_has_called_while_the_store_was_away_is_looked_for_at_once(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable("MongoDB", "gone")

    async with leading(installation, database, looks) as called:
        await installation.dispatch()
        await called.wait()
        monkeypatch.setattr(called.relay, "_look_at", time.monotonic() + 60)
        with monkeypatch.context() as patch:
            patch.setattr(called.outbox, "_move", fail)
            with pytest.raises(StoreUnavailable):
                await called.relay.run_once()
        await called.relay.run_once()
        assert await told(installation) == 2


async def test_every_event_is_logged_whether_it_has_called_or_is_found_or_is_told_at_the_end(
    installation: Installation, database: Database, looks: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobgate.events")
    async with leading(installation, database, looks) as called:
        for tell in (called.relay.run_once, called.relay.finish):
            job = await installation.dispatch()
            await called.wait()
            await tell()
            logged = [one for one in caplog.records if one.name == "jobgate.events" and job.id in one.getMessage()]
            assert len(logged) == 2


async def test_what_has_called_and_what_is_found_are_both_answered(
    installation: Installation,
    database: Database,
    looks: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "jobgate.events")
    async with leading(installation, database, looks) as called:
        unheard = await installation.dispatch()
        await called.wait()
        called.outbox._news.take()
        heard = await installation.dispatch()
        await called.wait()
        monkeypatch.setattr(called.relay, "_look_at", time.monotonic() - 2)
        await called.relay.run_once()
        assert all(job.id in caplog.text for job in (heard, unheard))


async def test_where_a_look_has_found_something_the_next_look_comes_at_once_and_nothing_is_followed_yet(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be more, and whoever looks all the time has no use for being told."""
    async with leading(installation, database, looks) as called:
        await called.outbox.unfollow()
        await installation.dispatch()
        before = looks[0]
        monkeypatch.setattr(called.relay, "_look_at", 0.0)
        await called.relay.run_once()
        assert called.outbox._news._task is not None
        assert called.outbox._news._task.done()
        await called.relay.run_once()
        assert looks[0] == before + 2
        assert not called.outbox._news._task.done()


async def test_behind_what_was_found_by_looking_there_may_be_more(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leading(installation, database, looks) as called:
        await installation.dispatch()
        await called.wait()
        called.outbox._news.take()
        monkeypatch.setattr(called.relay, "_look_at", time.monotonic() - 2)
        await called.relay.run_once()
        assert await told(installation) == 2
        before = looks[0]
        await called.relay.run_once()
        assert looks[0] == before + 1


async def test_at_its_end_it_tells_all_that_waits_and_gives_the_lease_back(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "_BATCH", 1)
    async with leading(installation, database, looks) as called:
        for _ in range(5):
            await installation.dispatch()
        told_of: list[Topic] = []
        monkeypatch.setattr(installation.services.signals, "wake", told_of.append)
        await called.relay.finish()
        assert await told(installation) == 10
        assert set(told_of) == {Topic.FEED}
        assert called.outbox._news._task is not None
        assert called.outbox._news._task.done()
        assert await Lease(database, "relay", "another", LEASE).acquire()


async def test_at_its_end_it_is_told_nothing_more_whatever_else_fails(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> list[object]:
        raise StoreUnavailable("MongoDB", "it is elsewhere")

    async with leading(installation, database, looks) as called:
        monkeypatch.setattr(called.outbox, "advance", fail)
        with pytest.raises(StoreUnavailable):
            await called.relay.finish()
        assert called.outbox._news._task is not None
        assert called.outbox._news._task.done()


async def test_at_its_end_one_that_does_not_lead_tells_nothing(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leading(installation, database, looks) as called:
        monkeypatch.setattr(called.relay, "_leads", False)
        await installation.dispatch()
        await called.relay.finish()
        assert await told(installation) == 0


async def test_one_that_is_deposed_at_its_end_leaves_what_waits_to_the_other(
    installation: Installation, database: Database, looks: list[int]
) -> None:
    async with leading(installation, database, looks) as called:
        await installation.dispatch()
        await called.outbox.relay(10)
        await installation.dispatch()
        await Outbox(database).relay(10)
        await installation.dispatch()
        await called.relay.finish()
        assert await told(installation) == 4


@pytest.mark.parametrize("away", [False, True])
async def test_one_that_rests_has_what_it_told_forgotten_or_leaves_it_to_the_other(
    installation: Installation, database: Database, looks: list[int], monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable("MongoDB", "gone")

    async with leading(installation, database, looks) as called:
        await installation.dispatch()
        if away:
            monkeypatch.setattr(Outbox, "_empty", fail)
        await called.outbox.advance(10)
        monkeypatch.setattr(called.relay, "_leads", False)
        monkeypatch.setattr(called.relay, "_renew_at", time.monotonic() + 60)
        assert await called.relay.run_once() == 1
        assert called.outbox._forgetting is None
        assert await database["jobs"].count_documents(WAITING) == away
