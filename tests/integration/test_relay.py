"""The relay: what it does beside telling, beside other relays, and where it does not know what it has done."""

import asyncio
from datetime import timedelta
from typing import Any, Final

import pytest
from pymongo.errors import AutoReconnect

from jobs.access import EVERYWHERE
from jobs.errors import StoreUnavailable
from storage.client import Database
from storage.documents import Document
from storage.leases import Lease
from storage.outbox import Deposed, Outbox
from storage.outbox_entries import WAITING
from storage.projection import Projection
from tests.installation import Installation, running_job
from worker import relay

LIMIT: Final = 5


def forgetting_late(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """No job forgets what was told of it until this is set."""
    forget, may_forget = Outbox._forget, asyncio.Event()

    async def forget_late(self: Outbox, jobs: Any) -> None:
        await may_forget.wait()
        await forget(self, jobs)

    monkeypatch.setattr(Outbox, "_forget", forget_late)
    return may_forget


async def test_readers_are_told_before_the_jobs_have_forgotten_their_events(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for one write less, and hear of it even if that write fails."""
    await installation.dispatch()
    told: list[int] = []

    async def fail(*_: object) -> None:
        told.append(-1)
        raise StoreUnavailable("MongoDB", "gone")

    monkeypatch.setattr(Outbox, "_empty", fail)
    outbox = Outbox(database)
    with pytest.raises(StoreUnavailable):
        await outbox.relay(LIMIT, lambda: told.append(1))
    assert told == [1, -1]
    assert len((await installation.services.events.read(EVERYWHERE, 0, 10)).events) == 2


async def test_those_behind_as_many_as_are_looked_at_are_told_once_these_have_forgotten(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_forget = forgetting_late(monkeypatch)
    outbox = Outbox(database)
    jobs = {(await installation.dispatch()).id for _ in range(3 * LIMIT)}
    # The oldest, and the newest.
    first = {event.job_id for event in await outbox.advance(LIMIT)}
    going_on = asyncio.create_task(outbox.advance(LIMIT))
    may_forget.set()
    assert {event.job_id for event in await going_on} == jobs - first
    await outbox.settle()


async def test_what_happens_next_is_told_while_the_jobs_are_forgetting_what_was_told(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of the very same jobs, and of others behind as many as are looked at."""
    may_forget = forgetting_late(monkeypatch)
    outbox = Outbox(database)
    jobs = [await installation.dispatch() for _ in range(2)]
    assert len(await outbox.advance(LIMIT)) == 4
    assert await outbox.advance(LIMIT) == []
    await installation.cancel(jobs[0])
    logged = asyncio.Event()
    going_on = asyncio.create_task(outbox.advance(LIMIT, logged.set))
    await logged.wait()
    assert await installation.services.events.head() == 5
    may_forget.set()
    assert [(event.job_id, event.seq) for event in await going_on] == [(jobs[0].id, 3)]
    others = [await installation.dispatch() for _ in range(LIMIT)]
    assert len(await outbox.advance(LIMIT)) == 2 * LIMIT
    assert await outbox.advance(LIMIT) == []
    await outbox.settle()
    events = (await installation.services.events.read(EVERYWHERE, 0, 100)).events
    assert {event.job_id for event in events} == {job.id for job in [*jobs, *others]}
    assert await database["jobs"].count_documents(WAITING) == 0


async def test_what_could_not_be_forgotten_is_not_told_twice(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable("MongoDB", "gone")

    outbox = Outbox(database)
    await installation.dispatch()
    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "_empty", fail)
        assert len(await outbox.advance(LIMIT)) == 2
        with pytest.raises(StoreUnavailable):
            await outbox.settle()
    assert await outbox.relay(LIMIT) == []
    assert await database["jobs"].count_documents(WAITING) == 0
    job = await installation.dispatch()
    assert {event.job_id for event in await outbox.relay(LIMIT)} == {job.id}
    assert await outbox.relay(LIMIT) == []
    assert await installation.services.events.head() == 4


async def test_runs_that_were_recorded_once_more_are_forgotten_with_a_job_that_is_gone_and_no_other(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay that comes late records the runs of what it has seen, though all of it was told, and a job was removed."""
    gone, left = [await running_job(installation, token) for token in ("t1", "t2")]
    await installation.cancel(gone)
    await installation.cancel(left)
    late = Outbox(database)
    look = late._waiting

    async def come_late(limit: int) -> list[Document]:
        seen = await look(limit)
        await Outbox(database).relay(limit)
        await database["jobs"].delete_one({"_id": gone.id})
        await database["executions"].delete_many({"job_id": gone.id})
        await database.command("profile", 2)
        return seen

    monkeypatch.setattr(late, "_waiting", come_late)
    assert await late.relay(LIMIT) == []
    await database.command("profile", 0)
    assert await database["executions"].distinct("job_id") == [left.id]
    # On a primary that has just been elected, what a majority is known to have does not show the newest jobs yet.
    looked = await database["system.profile"].find_one({"ns": f"{database.name}.jobs", "op": "query"})
    assert looked is not None
    assert looked["command"]["readConcern"]["level"] == "local"


async def test_a_relay_that_another_has_stood_in_for_goes_on_behind_it(
    installation: Installation, database: Database
) -> None:
    """It remembers the number that it gave last: where that was not the last one, it is told, and looks."""
    first, second = Outbox(database), Outbox(database)
    for outbox in (first, first, second):
        await installation.dispatch()
        await outbox.relay(LIMIT)
    await installation.dispatch()
    with pytest.raises(Deposed):
        await first.relay(LIMIT)
    assert [event.number for event in await first.relay(LIMIT)] == [7, 8]
    await installation.dispatch()
    with pytest.raises(Deposed):
        await second.relay(LIMIT)
    events = (await installation.services.events.read(EVERYWHERE, 0, 20)).events
    assert [event.number for event in events] == list(range(1, 9))


async def test_a_relay_that_takes_over_again_looks_before_it_goes_on(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals = installation.services.signals
    first, second = (
        relay.Relay(
            Outbox(database), Projection(database), Lease(database, "relay", name, relay.LEASE), signals, always
        )
        for name in ("first", "second")
    )
    for number, one in enumerate((first, second, first), start=1):
        await installation.dispatch()
        monkeypatch.setattr(one, "_renew_at", 0.0)
        assert await one.run_once() == 0
        await one.stop()
        assert await installation.services.events.head() == 2 * number


async def test_a_relay_that_does_not_know_whether_its_numbers_were_given_looks(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(database)
    await installation.dispatch()
    await outbox.relay(LIMIT)
    insert_many = type(outbox._events).insert_many

    async def insert_unanswered(self: Any, *given: Any, **options: Any) -> None:
        await insert_many(self, *given, **options)
        raise AutoReconnect("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(type(outbox._events), "insert_many", insert_unanswered)
        await installation.dispatch()
        with pytest.raises(StoreUnavailable):
            await outbox.relay(LIMIT)
    await installation.dispatch()
    assert [event.number for event in await outbox.relay(LIMIT)] == [5, 6]


async def test_nothing_is_counted_while_more_may_come(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a job does next would wait until it is counted what it has done."""
    monkeypatch.setattr(relay, "_QUIET", 60.0)
    monkeypatch.setattr(relay, "_COUNT_EVERY", 60.0)
    monkeypatch.setattr(relay, "_RENEW_EVERY", 60.0)
    lease = Lease(database, "relay", "me", timedelta(minutes=2))
    one = relay.Relay(Outbox(database), Projection(database), lease, installation.services.signals, always)
    # What others may have left is counted at once; from then on nothing is, for these times.
    await one.run_once()
    assert one._counting is not None
    await one._counting
    await installation.dispatch()
    assert await one.run_once() == 0
    assert await one.run_once() > 0
    assert await database["projections"].count_documents({}) == 0
    monkeypatch.setattr(one, "_quiet_from", 0.0)
    await one.run_once()
    await one.stop()
    assert await database["projections"].find_one() == {"_id": "statistics", "position": 2, "until": None}


@pytest.mark.parametrize("failure", [StoreUnavailable("MongoDB", "gone"), ValueError("a defect")], ids=repr)
async def test_what_could_not_be_counted_is_counted_later_and_not_tried_again_at_once(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    tries = 0

    async def fail(_: Projection) -> bool:
        nonlocal tries
        tries += 1
        raise failure

    outbox = Outbox(database)
    lease = Lease(database, "relay", "me", relay.LEASE)
    one = relay.Relay(outbox, Projection(database), lease, installation.services.signals, always)
    await installation.dispatch()
    with monkeypatch.context() as patch:
        patch.setattr(Projection, "fold", fail)
        patch.setattr(relay, "_AFTER_OUTAGE", 60.0)
        patch.setattr(relay, "_AFTER_DEFECT", 60.0)
        for _ in range(4):
            await one.run_once()
            if one._counting is not None:
                await one._counting
            patch.setattr(one, "_quiet_from", 0.0)
    assert tries == 1
    monkeypatch.setattr(one, "_broken_until", 0.0)
    monkeypatch.setattr(one, "_quiet_from", 0.0)
    await one.run_once()
    await one.stop()
    position = await database["projections"].find_one()
    assert position is not None
    assert position["position"] == 2


async def test_a_relay_that_stops_has_seen_to_it_that_what_it_told_is_forgotten(
    installation: Installation, database: Database
) -> None:
    outbox = Outbox(database)
    lease = Lease(database, "relay", "me", relay.LEASE)
    one = relay.Relay(outbox, Projection(database), lease, installation.services.signals, always)
    await installation.dispatch()
    await one.run_once()
    await one.stop()
    assert outbox._forgetting is None
    assert await database["jobs"].count_documents(WAITING) == 0


async def always() -> bool:
    return True
