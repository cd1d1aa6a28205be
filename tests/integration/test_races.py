"""The races of the state machine: every order in which two actors can take their steps, on a real MongoDB.

The actors are the product's own code, down to the driver (``tests/races/actors.py``); what they do to the database is done in
every possible order (``tests/interleavings.py``), each with a job of its own. Behind each order the job is held against the
invariants of its life (``tests/race_checks.py``), and all that can come of a race is listed here: what the job tells, and what
each actor makes of it. A fence that is lost, or one too many, is an ending too many or one that is missing.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pytest
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.schedule import ScheduleSpec
from resolvers import bulk, pursuit
from resolvers.services import services_on
from storage.client import Driver
from storage.documents import Document
from storage.heartbeats import LeaseKeeper
from storage.limits import Deadline
from storage.redis import close_redis, open_redis
from storage.signals import Signals
from storage.wakeups import Wakeups
from tests.conftest import opened
from tests.races.actors import LEASE, Stage, in_turn
from tests.races.interleavings import Explorer
from tests.races.jobs import Jobs
from tests.races.of_changes import RACES as OF_CHANGES
from tests.races.of_machines import RACES as OF_MACHINES
from tests.races.of_stopping import RACES as OF_STOPPING
from tests.races.race import Race
from tests.races.turns import DEADLINE, Actor
from tests.races.wrongs import Careless


@dataclass(frozen=True)
class Arena:
    """A place for races: a loop of its own, the stores, and jobs to race for."""

    runner: asyncio.Runner
    stage: Stage
    explorer: Explorer
    jobs: Jobs


@pytest.fixture(scope="module", autouse=True)
def _nobody_is_too_late() -> Iterator[None]:
    """Who waits for a turn waits for others, not for MongoDB: its limits do not count, however slow the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pursuit, bulk):
            patch.setattr(module, "WRITE_SECONDS", DEADLINE)
            patch.setattr(module, "Deadline", partial(Deadline, DEADLINE))
        yield


@pytest.fixture(scope="module")
def arena(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> Iterator[Arena]:
    name = f"test_races_{os.getpid()}"
    keeper = LeaseKeeper(servers.mongodb_url, name, LEASE)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        stack = AsyncExitStack()
        try:
            yield runner.run(_set_up(stack, servers, name, keeper, runner))
        finally:
            runner.run(stack.aclose())
            keeper.close()
            mongodb.drop_database(name)


async def _set_up(
    stack: AsyncExitStack, servers: Servers, name: str, keeper: LeaseKeeper, runner: asyncio.Runner
) -> Arena:
    # Of the two drivers the one that does without threads: there are thousands of steps.
    database = await stack.enter_async_context(opened(servers.mongodb_url, name, Driver.PYMONGO))
    redis = await open_redis(servers.redis_url, name)
    stack.push_async_callback(close_redis, redis)
    signals = Signals(redis, name)
    stack.push_async_callback(signals.close)
    services = services_on(database, signals, Wakeups(redis, name, []), "races")
    await services.clock.synchronise()
    return Arena(runner, Stage(database, services, keeper), Explorer(database), Jobs(database, services))


@dataclass(frozen=True)
class Mistake:
    """A careless actor in a race, and what is found to be wrong."""

    name: str
    job: Callable[[Jobs], Coroutine[Any, Any, Document]]
    actors: Callable[[Careless], tuple[Actor, Actor]]
    found: str


MISTAKES: Final = (
    Mistake(
        "a cancel that reads, and then writes by the id alone",
        lambda jobs: jobs.running(),
        lambda on: (on.first_worker(), on.cancel_by_id()),
        "not a path through the table",
    ),
    Mistake(
        "a cancel that tells nobody",
        lambda jobs: jobs.queued(),
        lambda on: (on.worker(), on.cancel_silently()),
        "its status is not the one it told of last",
    ),
    Mistake(
        "a finish without the token",
        lambda jobs: jobs.lost(),
        lambda on: (on.finish_without_token(), in_turn(on.sweeper(), on.worker())),
        "it was not the attempt begun last that said how the run ended",
    ),
    Mistake(
        "a pause that ignores queued jobs",
        lambda jobs: jobs.queued(repeats={}),
        lambda on: (on.worker(), on.pause_all_but_queued()),
        "not a path through the table",
    ),
    Mistake(
        "a promoter that trusts its reading",
        lambda jobs: jobs.due(repeats={}),
        lambda on: (on.promoter(), on.promote_by_id()),
        "not a path through the table",
    ),
    Mistake(
        "a sweeper that trusts its reading",
        lambda jobs: jobs.lost(),
        lambda on: (on.first_worker(before=on.heart()), on.expire_by_status()),
        "a lease was taken that had been renewed",
    ),
    Mistake(
        "a worker that does not look whether it still has the run",
        lambda jobs: jobs.queued(),
        lambda on: (on.claim_without_a_look(), on.cancel()),
        "its worker has not looked at all",
    ),
    Mistake(
        "a retry of whatever has become of the job",
        lambda jobs: jobs.failed(),
        lambda on: (on.retry_by_id(), on.delete()),
        "not a path through the table",
    ),
    Mistake(
        "a reschedule of whatever has become of the job",
        lambda jobs: jobs.queued(repeats={}),
        lambda on: (on.worker(), on.reschedule_by_id(ScheduleSpec(every_ms=7_200_000))),
        "an occurrence was accounted for twice",
    ),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_found(arena: Arena, mistake: Mistake) -> None:
    before = arena.runner.run(mistake.job(arena.jobs))
    stage = Careless(arena.stage.database, arena.stage.services, arena.stage.keeper)
    with pytest.raises(AssertionError, match=re.escape(mistake.found)):
        arena.runner.run(arena.explorer.explore(before, mistake.actors(stage)))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("race", [*OF_STOPPING, *OF_CHANGES, *OF_MACHINES], ids=lambda race: race.name)
def test_every_order_of_steps(arena: Arena, race: Race) -> None:
    before: Document = arena.runner.run(race.job(arena.jobs))
    explored = arena.runner.run(arena.explorer.explore(before, race.actors(arena.stage)))
    assert explored.endings == race.endings
