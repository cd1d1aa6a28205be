"""Whoever asks for what is out of reach gets what somebody gets who reaches nothing: from each call of the store, and from each
use case, of which another may do the same further out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from jobs.access import ANYBODY, EVERYWHERE, Principal, Reach, Scope
from jobs.bulk import ID_PREFIX, BulkRequest
from jobs.errors import JobNotFound, StoreUnavailable
from jobs.events import EventType
from jobs.feed import feed_cursor
from jobs.filters import EventFilter, JobFilter
from jobs.lifecycle import Action
from jobs.origins import OriginFilter
from jobs.paging import Order, PageRequest
from jobs.schedule import ScheduleSpec
from jobs.spans import Bucket, Stretch, floor
from jobs.steering import retry as decide_retry
from resolvers import bulk, log, reading, statistics, steering, webhooks
from resolvers.dispatching import _first_job, dispatch
from resolvers.following import job_events
from resolvers.pursuit import Pursuit
from resolvers.services import Services
from schema.build import build_schema
from storage.client import Database
from storage.deliveries import Deliveries
from storage.limits import Deadline
from storage.outbox import Outbox
from storage.sealing import Sealer
from storage.webhooks import Webhooks
from tests.factories import every, make_request
from tests.installation import ANN, Installation
from tests.integration.test_access_matrix import NOWHERE, OTHER_ENV, RIVAL, SHOP, World, arguments
from worker.context import TaskContext

FOREIGN: Final = (RIVAL, OTHER_ENV)
ALL: Final = JobFilter()
TAGGED: Final = JobFilter(tags=("run",))
"""What no counter tells of: the jobs are looked at."""

MARK: Final = "left by a change"

Calls = Mapping[str, Callable[[Reach], Awaitable[object]]]


async def echo(_: TaskContext, value: Any) -> Any:
    return value


@pytest.fixture
async def world(installation: Installation, database: Database) -> World:
    """Where the shop has something of everything, a run that has ended and is counted among it."""
    stop = await installation.worker({"demo.echo": echo})
    ran = await installation.dispatch(tags=("run",), idempotency_key="k")
    await installation.until(ran, EventType.JOB_COMPLETED)
    stop.set()
    await installation.stop_workers()
    webhooks_ = Webhooks(database, Sealer((b"k" * 32,)))
    services = replace(installation.services, webhooks=webhooks_, deliveries=Deliveries(database, webhooks_))
    given = await arguments(services, database)
    more = {
        "ran": ran.id,
        "waiting": (await installation.dispatch()).id,
        "hourly": (await installation.dispatch(schedule=every(3600))).id,
    }
    await database["jobs"].update_many({}, {"$set": {"marks": [MARK]}})
    return World(
        build_schema(), services, database, {**given, **{("more", name): {"id": id_} for name, id_ in more.items()}}
    )


def of(reach: Reach) -> Principal:
    return Principal("ann", frozenset(Scope), reach)


def stored(world: World) -> Calls:
    """The calls that read."""
    s, job, ran = world.services, of_field(world, "job"), of_field(world, "ran")
    delivery, webhook = of_field(world, "node(delivery)"), of_field(world, "node(webhook)")
    now = s.clock.now()
    hour, moment = floor(now, Bucket.HOUR), timedelta(minutes=5)
    hours = [Stretch(Bucket.HOUR, hour - timedelta(hours=1), hour + timedelta(hours=1))]
    moments = [Stretch(None, now - moment, now + moment)]
    return {
        "find": lambda reach: s.jobs.find(reach, job),
        "find_many": lambda reach: s.jobs.find_many(reach, [job]),
        "page": lambda reach: s.jobs.page(reach, ALL, Order(), PageRequest(10)),
        "count": lambda reach: s.jobs.count(reach, ALL),
        "jobs counted": lambda reach: s.statistics.jobs(reach, ALL),
        "jobs looked at": lambda reach: s.statistics.jobs(reach, TAGGED),
        "runs ever": lambda reach: s.statistics.runs(reach, ALL, None, None),
        "runs of hours": lambda reach: s.statistics.runs(reach, ALL, hours, None),
        "runs of moments": lambda reach: s.statistics.runs(reach, ALL, moments, None),
        "runs looked at": lambda reach: s.statistics.runs(reach, TAGGED, None, None),
        "events": lambda reach: s.events.read(reach, 0, 100),
        "events of somebody": lambda reach: s.events.read_of(reach, OriginFilter(by=("ann",)), 0, 100),
        "events of jobs": lambda reach: s.events.of_jobs(reach, [job], 0, 100),
        "histories": lambda reach: s.executions.histories(reach, [ran], 10, None),
        "operation": lambda reach: s.operations.find(reach, of_field(world, "bulkOperation")),
        "webhooks": s.webhooks.list_all,
        "webhook": lambda reach: s.webhooks.find(reach, webhook),
        "delivery": lambda reach: s.deliveries.find(reach, delivery),
        "deliveries": lambda reach: s.deliveries.pages(reach, [webhook], None, 10, None),
        "by key": lambda reach: s.writer.find_by_key(reach, "shop", "prd", "k"),
        "marked": lambda reach: s.writer.find_marked(reach, job, MARK),
        "own change": lambda reach: own_change(s, reach, job),
    }


async def own_change(services: Services, reach: Reach, job_id: str) -> object:
    pursuit = Pursuit(services, reach, job_id)
    pursuit.mark = MARK

    async def lost() -> None:
        raise StoreUnavailable("MongoDB", "NetworkTimeout")

    with suppress(StoreUnavailable):
        await pursuit.write(lost())
    return await pursuit._own_change()


def asked(world: World) -> Calls:
    """The use cases that read."""
    s, job, ran = world.services, of_field(world, "job"), of_field(world, "ran")
    delivery, webhook = of_field(world, "node(delivery)"), of_field(world, "node(webhook)")
    page: dict[str, Any] = dict.fromkeys(("first", "last", "after", "before", "offset"))
    return {
        "find_job": lambda reach: reading.find_job(s, of(reach), job),
        "find_jobs": lambda reach: reading.find_jobs(s, of(reach), [job]),
        "list_jobs": lambda reach: reading.list_jobs(s, of(reach), ALL, Order(), **page),
        "count_jobs": lambda reach: reading.count_jobs(s, of(reach), ALL),
        "read_history": lambda reach: reading.read_history(s, of(reach), ran, 10, None),
        "count_jobs_by_status": lambda reach: statistics.count_jobs_by_status(s, of(reach), ALL),
        "count_runs": lambda reach: statistics.count_runs(s, of(reach), ALL),
        "list_run_buckets": lambda reach: statistics.list_run_buckets(s, of(reach), ALL, Bucket.HOUR),
        "list_events": lambda reach: log.list_events(s, of(reach), EventFilter(), 10, None),
        "events_of_jobs": lambda reach: log.events_of_jobs(s, of(reach), [job], 10, None),
        "find_operation": lambda reach: bulk.find_operation(s, of(reach), of_field(world, "bulkOperation")),
        "list_webhooks": lambda reach: webhooks.list_webhooks(s, of(reach)),
        "find_webhook": lambda reach: webhooks.find_webhook(s, of(reach), webhook),
        "list_deliveries": lambda reach: webhooks.list_deliveries(s, of(reach), [webhook], 10, None, None),
        "find_delivery": lambda reach: webhooks.find_delivery(s, of(reach), delivery),
        "first job": lambda reach: first_job(s, reach),
    }


async def first_job(services: Services, reach: Reach) -> object:
    with suppress(StoreUnavailable):
        return await _first_job(services, of(reach), make_request(tags=("run",), idempotency_key="k"))
    return None


def changed(world: World) -> Calls:
    """Whatever changes something, the calls of the store before the use cases."""
    s = world.services
    delivery, webhook = of_field(world, "node(delivery)"), of_field(world, "node(webhook)")
    operation = of_field(world, "bulkOperation")
    by: dict[str, Any] = {"actor": "ann"}
    mine = {name: of_field(world, name) for name in ("cancel", "pause", "resume", "reschedule", "retry", "delete")}

    async def change(reach: Reach) -> object:
        failed = await s.jobs.find(SHOP, of_field(world, "job"))
        assert failed is not None
        return await s.writer.change(reach, failed, decide_retry(failed, 0, s.clock.now()), **by)

    later = ScheduleSpec(start_at=s.clock.now() + timedelta(days=3))
    return {
        "writer.change": change,
        "writer.cancel": lambda reach: s.writer.cancel(reach, of_field(world, "waiting"), reason=None, **by),
        "writer.pause": lambda reach: s.writer.pause(reach, of_field(world, "hourly"), reason=None, **by),
        "writer.delete": lambda reach: s.writer.delete(reach, of_field(world, "ran"), **by),
        "deliveries.redeliver": lambda reach: s.deliveries.redeliver(reach, delivery),
        "cancel": lambda reach: steering.cancel(s, of(reach), mine["cancel"], None),
        "pause": lambda reach: steering.pause(s, of(reach), mine["pause"], None),
        "resume": lambda reach: steering.resume(s, of(reach), mine["resume"]),
        "reschedule": lambda reach: steering.reschedule(s, of(reach), mine["reschedule"], later),
        "retry": lambda reach: steering.retry(s, of(reach), mine["retry"], 0),
        "delete": lambda reach: steering.delete(s, of(reach), mine["delete"]),
        "redeliver": lambda reach: webhooks.redeliver(s, of(reach), delivery),
        "stop_operation": lambda reach: bulk.stop_operation(s, of(reach), operation),
        "delete_webhook": lambda reach: webhooks.delete_webhook(s, of(reach), webhook),
    }


def of_field(world: World, name: str) -> str:
    """The id of what a root field is asked about."""
    [given] = [given for (_, field), given in world.arguments.items() if field == name and "filter" not in given][:1]
    return str(given.get("id") or given.get("deliveryId"))


@pytest.mark.parametrize("calls", [stored, asked])
async def test_what_is_out_of_reach_is_read_as_if_it_were_not_there(
    world: World, calls: Callable[[World], Calls]
) -> None:
    for name, call in calls(world).items():
        nothing = await call(NOWHERE)
        assert await call(SHOP) != nothing, name
        for reach in FOREIGN:
            assert await call(reach) == nothing, (name, reach)


async def test_what_is_out_of_reach_is_changed_by_nothing(world: World) -> None:
    for name, call in changed(world).items():
        before = await world.dump()
        for reach in FOREIGN:
            with suppress(JobNotFound):
                assert not await call(reach), (name, reach)
            assert await world.dump() == before, (name, reach)
        assert await call(SHOP), name


async def test_what_a_deleted_webhook_was_sent_is_forgotten_at_the_latest_when_it_is_deleted_again(
    world: World,
) -> None:
    webhook = of_field(world, "node(webhook)")
    await world.database["webhooks"].delete_one({"_id": webhook})
    assert not await webhooks.delete_webhook(world.services, of(SHOP), webhook)
    assert await world.database["deliveries"].count_documents({"webhook_id": webhook}) == 0


async def test_a_webhook_out_of_reach_is_not_deleted_in_as_many_steps_as_one_that_there_is_not(world: World) -> None:
    """Else the time would tell that it is there."""

    async def steps(webhook_id: str) -> list[tuple[str, str]]:
        profile = world.database["system.profile"]
        await world.database.command("profile", 2)
        assert not await webhooks.delete_webhook(world.services, of(RIVAL), webhook_id)
        await world.database.command("profile", 0)
        collections = [f"{world.database.name}.{name}" for name in ("webhooks", "deliveries")]
        seen = await profile.find({"ns": {"$in": collections}}).to_list(None)
        await profile.drop()
        return [(one["op"], one["ns"]) for one in seen]

    unknown = await steps("wh_unknown")
    assert len(unknown) == 3
    assert await steps(of_field(world, "node(webhook)")) == unknown


@pytest.mark.parametrize("reach", FOREIGN)
@pytest.mark.parametrize("by_id", [False, True])
async def test_what_is_out_of_reach_is_told_neither_from_the_log_nor_as_it_happens(
    installation: Installation, database: Database, reach: Reach, by_id: bool
) -> None:
    assert reach.products is not None
    assert reach.envs is not None
    [product], [env] = reach.products, reach.envs
    services, wanted = installation.services, EventFilter()
    foreign = await installation.dispatch()
    own = await dispatch(services, ANYBODY, make_request(product=product, env=env))
    if by_id:
        wanted = EventFilter(jobs=JobFilter(ids=(foreign.id, own.id)))
    await Outbox(database).relay(10)
    await installation.until_told(lambda: len(installation.told) == 4)
    listeners = len(services.hub._subscribers)
    async with aclosing(job_events(services, of(reach), wanted, feed_cursor(0))) as events, asyncio.timeout(10):
        assert [(await anext(events)).job_id for _ in range(2)] == [own.id] * 2
        live = asyncio.ensure_future(anext(events))
        while len(services.hub._subscribers) == listeners:
            await services.events.head()
        await installation.cancel(foreign)
        await Outbox(database).relay(10)
        await steering.cancel(services, ANN, own.id, None)
        await Outbox(database).relay(10)
        assert ((await live).job_id, (await live).type) == (own.id, EventType.JOB_CANCELLED)


@pytest.mark.parametrize("reach", FOREIGN)
@pytest.mark.parametrize(
    ("name", "gone"),
    [
        pytest.param("cancel", False, id="cancel"),
        *(pytest.param("delete", gone, id=f"delete {gone}") for gone in (0, 1)),
    ],
)
async def test_what_is_out_of_reach_is_not_found_after_a_lost_answer_either(
    world: World, monkeypatch: pytest.MonkeyPatch, reach: Reach, name: str, gone: bool
) -> None:
    """Neither by the mark, which it bears as if the change had taken place, nor by being gone."""
    services, job_id = replace(world.services, new_id=lambda: MARK), of_field(world, name)
    write = getattr(services.writer, name)

    async def write_unanswered(*_: object, **__: object) -> None:
        monkeypatch.setattr(services.writer, name, write)
        if gone:
            await world.database["jobs"].delete_one({"_id": job_id})
        raise StoreUnavailable("MongoDB", "NetworkTimeout")

    monkeypatch.setattr(services.writer, name, write_unanswered)
    change: dict[str, Callable[[], Awaitable[object]]] = {
        "cancel": lambda: steering.cancel(services, of(reach), job_id, None),
        "delete": lambda: steering.delete(services, of(reach), job_id),
    }
    with pytest.raises(StoreUnavailable, match="unknown whether the job was changed"):
        await change[name]()


@pytest.mark.parametrize("reach", FOREIGN)
async def test_an_operation_out_of_reach_is_not_taken_for_the_one_whose_answer_was_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, reach: Reach
) -> None:
    """Even if it had the id that was chosen."""
    operation = of_field(world, "bulkOperation")
    services = replace(world.services, new_id=lambda: operation.removeprefix(ID_PREFIX))

    async def begin_unanswered(*_: object, **__: object) -> None:
        raise StoreUnavailable("MongoDB", "NetworkTimeout")

    monkeypatch.setattr(services.bulk, "begin", begin_unanswered)
    monkeypatch.setattr("resolvers.bulk.Deadline", lambda: Deadline(0.5))
    with pytest.raises(StoreUnavailable, match="unknown whether the operation was begun"):
        await bulk.begin_bulk(services, of(reach), BulkRequest(Action.CANCEL, TAGGED))


@pytest.mark.parametrize(
    ("begun_by", "seen"),
    [
        (SHOP, True),
        (EVERYWHERE, False),
        (NOWHERE, False),
        (Reach(None, SHOP.envs), False),
        (Reach(SHOP.products, None), False),
        (Reach(frozenset({"shop", "rival"}), SHOP.envs), False),
        (Reach(SHOP.products, frozenset({"prd", "dev"})), False),
    ],
)
async def test_an_operation_is_seen_and_stopped_by_those_who_reach_all_that_it_could_have_changed(
    installation: Installation, begun_by: Reach, seen: bool
) -> None:
    services = installation.services
    request = BulkRequest(Action.CANCEL, ALL, dry_run=True)
    await services.bulk.begin(begun_by, request, "op_1", actor="ann", now=services.clock.now())
    assert (await services.operations.find(SHOP, "op_1") is not None) is seen
    assert (await services.operations.stop(SHOP, "op_1") is not None) is seen


async def test_a_page_of_the_log_does_not_end_where_there_is_much_out_of_reach(
    installation: Installation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_BATCH", 2)
    for _ in range(3):
        await installation.dispatch()
        await Outbox(database).relay(10)
    own = await dispatch(installation.services, ANYBODY, make_request(product="rival"))
    await Outbox(database).relay(10)
    page = (await log.list_events(installation.services, of(RIVAL), EventFilter(), 10, None)).page
    assert [event.job_id for event in page.items] == [own.id] * 2
