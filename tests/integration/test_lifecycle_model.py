"""Random lives of several jobs on a real MongoDB, beside a model of what ``mission/semantics.md`` says of them.

Each step is one thing that happens in an installation – a dispatch, a claim, an outcome, a caller's action, a lost worker,
the relay, hours that pass – done by the product's own reads, decisions and writes. Some come late: a promotion decided from
a reading since overtaken, the result of a worker whose run was given away. After each step every document says what its
model says, its events are numbered without a gap and are moves of the table, and what it did not concern is what it was.

``JOBGATE_LIVES=2000 scripts/test tests/integration/test_lifecycle_model.py`` tries so many lives, other ones each time;
a failure prints the shortest sequence of steps that fails.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final, TypeVar

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from pymongo import MongoClient

from gateway.devstack import Servers
from jobs.access import EVERYWHERE
from jobs.decisions import Failed, LeaseExpired, Outcome, Released, Succeeded, decide
from jobs.dispatch import RetrySpec
from jobs.errors import InvalidInput, JobNotFound
from jobs.job import Job, JobError, Run
from jobs.promotion import promote
from jobs.recurrence import MissedRuns
from jobs.refusals import TransitionRefused
from jobs.schedule import ScheduleSpec
from jobs.times import MILLISECOND
from resolvers import steering
from storage.client import Database, Driver
from storage.documents import job_from_document, job_to_document
from storage.heartbeats import LeaseKeeper
from storage.job_updates import Claim, Finish, NewJob, Progress
from storage.jobs import RunRef
from storage.outbox import Outbox
from storage.transitions import Steered
from tests.conftest import opened
from tests.factories import make_job
from tests.installation import ANN, Installation, installed
from tests.lifecycle_model import FATAL, RETRY_DELAY, Model
from tests.lifecycle_parts import Schedule
from tests.lifecycle_tables import CALLERS
from tests.lifecycle_world import HALF_HOUR, World, aged

LONGER: Final = os.environ.get("JOBGATE_LIVES")
LIVES: Final = int(LONGER or 80)
STEPS: Final = 60

A_MOMENT: Final = timedelta(seconds=10)
"""How long ago what is dispatched was accepted, so that what is due at once is due by anybody's clock."""

SOON: Final = 1
"""Half hours of a lease that is over an hour later."""

FOREVER: Final = 2 * 24 * 365
ALL: Final = 100
RETRY: Final = RetrySpec(
    initial_delay_ms=RETRY_DELAY * HALF_HOUR // MILLISECOND,
    max_delay_ms=RETRY_DELAY * HALF_HOUR // MILLISECOND,
    backoff_multiplier=1.0,
    non_retryable_errors=(FATAL,),
)
EVERY_MS: Final = 2 * HALF_HOUR // MILLISECOND

T = TypeVar("T", bound=Callable[..., Any])

ENOUGH: Final = 4
"""So many jobs at a time that are not over."""

JOBS: Final = st.integers(0, 3 * ENOUGH)
BACK: Final = st.integers(0, 2)
"""How many claims ago; 0 is the latest."""

HOURS: Final = st.none() | st.integers(1, 6)
"""After how long a job ends, if it does."""

MISSED: Final = st.sampled_from(["skip", "run_once"])
LIMITS: Final = st.none() | st.integers(1, 3)
OUTCOMES: Final = st.sampled_from(["success", "failure", "failure", "success", "fatal", "final", "release"])
_REFUSALS: Final[dict[type[Exception], str]] = {TransitionRefused: "no", JobNotFound: "gone", InvalidInput: "invalid"}


@dataclass(frozen=True)
class Store:
    """What all lives share: the servers, a loop of their own, and names that no other life has used."""

    runner: asyncio.Runner
    installation: Installation
    database: Database
    keeper: LeaseKeeper
    numbers: Iterator[int]


@dataclass(frozen=True)
class Attempt:
    """What a worker was given: the job as it was then."""

    job: Job
    run: Run
    token: str
    at: datetime
    """The origin of the world's time, which was put back since."""

    def seen_from(self, origin: datetime) -> Attempt:
        job = job_from_document(aged(job_to_document(self.job), self.at - origin))
        assert job.run is not None
        return Attempt(job, job.run, self.token, origin)


def living(*statuses: str, recurring: bool = False) -> Callable[[T], T]:
    """Such a job is needed for the step."""
    return precondition(lambda lives: bool(lives.living(*statuses, recurring=recurring)))


class Lives(RuleBasedStateMachine):
    """Jobs that are worked on, and that callers change."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store, self.run = store, store.runner.run
        self.services = store.installation.services
        self.writer = self.services.writer
        self.run(self.services.clock.synchronise())
        self.world = World(store.database, self.services.clock.now() - A_MOMENT)
        self.attempts: dict[str, list[Attempt]] = {}
        self.refs: dict[str, dict[tuple[int, int], RunRef]] = {}

    def teardown(self) -> None:
        self.run(self.world.clear())

    @initialize(retries=st.integers(0, 2), hours=HOURS, limit=LIMITS, missed=MISSED)
    def begin(self, retries: int, hours: int | None, limit: int | None, missed: str) -> None:
        self.dispatch_one_shot(later=False, retries=retries)
        self.dispatch_recurring(later=False, retries=retries, hours=hours, limit=limit, missed=missed)

    # ------------------------------------------------------------------------------------------------------- dispatch

    @precondition(lambda lives: lives.has_room())
    @rule(later=st.booleans(), retries=st.integers(0, 2))
    def dispatch_one_shot(self, later: bool, retries: int) -> None:
        due = self.world.clock.now + int(later)
        self._dispatch(due, ScheduleSpec(start_at=self._at(due) if later else None), None, retries)

    @precondition(lambda lives: lives.has_room())
    @rule(later=st.booleans(), retries=st.integers(0, 2), hours=HOURS, limit=LIMITS, missed=MISSED)
    def dispatch_recurring(self, later: bool, retries: int, hours: int | None, limit: int | None, missed: str) -> None:
        due = self.world.clock.now + int(later)
        end = None if hours is None else due + 2 * hours
        spec = ScheduleSpec(
            self._at(due) if later else None,
            every_ms=EVERY_MS,
            end_date=None if end is None else self._at(end),
            limit=limit,
            missed=MissedRuns(missed),
        )
        self._dispatch(due, spec, Schedule(due, due, end, limit, missed), retries)

    def _dispatch(self, due: int, spec: ScheduleSpec, schedule: Schedule | None, retries: int) -> None:
        job_id = f"job_{next(self.store.numbers)}"
        now = self._at(self.world.clock.now)
        job = make_job(job_id=job_id, now=now, schedule=spec, retries=retries, retry=RETRY)
        assert self.run(self.writer.insert_many([NewJob(job, "ann", nudged=False)])) == [None]
        model = Model(self.world.clock, job_id, retries, schedule, next_run_at=due)
        model.dispatch(due)
        self.world.models[job_id] = model
        self._check()

    # ----------------------------------------------------------------------------------------------------------- time

    @rule(hours=st.integers(0, 2))
    def promote(self, hours: int) -> None:
        """What has come due is found and moved on."""
        if hours:
            self.run(self.world.pass_time(hours))
        self._promote(self._look())

    @living("scheduled")
    @rule(job=JOBS, change=st.sampled_from(["reschedule", "pause and resume", "cancel"]))
    def promote_late(self, job: int, change: str) -> None:
        """What has come due is found and, but for what befalls one of these jobs before that, moved on."""
        self.run(self.world.pass_time(1))
        looks = self._look()
        model = self._pick(job, "scheduled")
        match change:
            case "reschedule":
                self._reschedule(model, self.world.clock.now + 3, None)
            case "pause and resume":
                self._pause(model)
                self._resume(model)
            case _:
                self._cancel(model)
        self._promote(looks)

    def _look(self) -> tuple[datetime | None, list[Job]]:
        now, due = self.run(self.services.jobs.due(ALL))
        assert {job.id for job in due} == {one.id for one in self._models() if one.is_due()}
        return now, due

    def _promote(self, looks: tuple[datetime | None, list[Job]]) -> None:
        now, due = looks
        if now is None:
            return
        self.run(self.writer.promote_many([(job, promote(job, now)) for job in due], nudged=ALL))
        for job in due:
            model = self.world.models[job.id]
            if model.status == "scheduled" and model.revision == job.revision:
                model.promote()
        self._check()

    # -------------------------------------------------------------------------------------------------------- workers

    @living("scheduled", "queued", "running")
    @rule(job=JOBS, outcome=OUTCOMES)
    def work(self, job: int, outcome: str) -> None:
        """All goes as it is meant to: the job comes due, is claimed, and has its outcome."""
        self._work(job, outcome)

    @living("scheduled", "queued", "running")
    @rule(job=JOBS)
    def succeed(self, job: int) -> None:
        self._work(job, "success")

    @living("scheduled", "queued", "running")
    @rule(job=JOBS)
    def fail(self, job: int) -> None:
        self._work(job, "failure")

    def _work(self, job: int, outcome: str) -> None:
        model = self._pick(job, "scheduled", "queued", "running")
        attempt = self._begun(model, FOREVER)
        if attempt:
            self._finish(model, attempt, outcome)

    @living("scheduled", "queued")
    @rule(job=JOBS, again=st.booleans(), outcome=OUTCOMES)
    def outlive(self, job: int, again: bool, outcome: str) -> None:
        """A worker that was given up, and its run perhaps given to another, is heard of once more."""
        model = self._pick(job, "scheduled", "queued")
        attempt = self._begun(model, SOON)
        if attempt:
            self.sweep(hours=1)
            if again and model.status == "queued":
                self._claim(model, FOREVER)
            self._renew(model, attempt)
            self._report(model, attempt)
            self._finish(model, attempt, outcome)

    @living("scheduled", "queued")
    @rule(job=JOBS)
    def recover(self, job: int) -> None:
        """A worker is heard of just before it would have been given up."""
        model = self._pick(job, "scheduled", "queued")
        attempt = self._begun(model, SOON)
        if attempt:
            self.run(self.world.pass_time(1))
            expired = self._expired()
            if not model.is_lost():
                return
            self._renew(model, attempt)
            self._expire([job for job in expired if job.id == model.id], [False])

    @living("scheduled", "queued", "running", recurring=True)
    @rule(job=JOBS, change=st.sampled_from(["pause", "reschedule"]), outcome=OUTCOMES)
    def overtake(self, job: int, change: str, outcome: str) -> None:
        """A caller changes what comes after the run while its worker decides that."""
        model = self._pick(job, "scheduled", "queued", "running", recurring=True)
        attempt = self._begun(model, FOREVER)
        if attempt:
            if change == "pause":
                self._pause(model)
                self._pause(model)
            else:
                self._reschedule(model, self.world.clock.now + 3, None)
            self._finish(model, attempt, outcome)

    def _begun(self, model: Model, lease: int) -> Attempt | None:
        """The attempt that is under way, begun if need be; None where that cannot be."""
        if model.status == "scheduled":
            self.promote(hours=1)
        if model.status == "queued":
            self._claim(model, lease)
        return self.attempts[model.id][-1] if model.status == "running" else None

    @living("queued")
    @rule(job=JOBS, soon_lost=st.booleans())
    def claim(self, job: int, soon_lost: bool) -> None:
        self._claim(self._pick(job, "queued"), SOON if soon_lost else FOREVER)

    def _claim(self, model: Model, lease: int) -> None:
        """Every nudge that was ever sent arrives, the oldest first, each at two workers: the latest alone may win, and once."""
        for ref in self.run(self.services.jobs.backlog([("demo", "echo")], ALL, patience_ms=-5000)):
            self.refs.setdefault(ref.job_id, {})[ref.number, ref.attempt] = ref
        claims = [
            Claim(ref, "w1", f"token {next(self.store.numbers)}", lease * HALF_HOUR)
            for ref in self.refs.get(model.id, {}).values()
            for _ in range(2)
        ]
        if not claims:
            return
        won = [job for job in self.run(self.writer.claim_many(claims)) if isinstance(job, Job)]
        refs = {claim.token: (claim.ref.number, claim.ref.attempt) for claim in claims}
        attempts = [Attempt(job, job.run, job.run.token, self._at(0)) for job in won if job.run and job.run.token]
        assert [refs[one.token] for one in attempts] == [ref for ref in set(refs.values()) if model.is_claimable(*ref)]
        for attempt in attempts:
            model.claim(attempt.token, lease)
            self.attempts.setdefault(model.id, []).append(attempt)
        self._check()

    @rule(job=JOBS, back=BACK, outcome=OUTCOMES)
    def finish(self, job: int, back: int, outcome: str) -> None:
        """A worker – perhaps one that no longer has the run – says what became of it."""
        model = self._pick(job, "running")
        attempts = self.attempts.get(model.id, [])
        if attempts:
            self._finish(model, attempts[-1 - back % len(attempts)], outcome)

    def _finish(self, model: Model, attempt: Attempt, outcome: str) -> None:
        attempt = attempt.seen_from(self._at(0))
        holds = model.holds(attempt.token)
        was_ours = model.last_token == attempt.token and model.id in self.world.documents
        steered = holds and attempt.job.steered != model.steered
        assert self._say(attempt, attempt.job, outcome) == ("steered" if steered else holds or was_ours)
        if steered:
            reread = self.run(self.services.jobs.find(EVERYWHERE, model.id))
            assert reread is not None
            assert self._say(attempt, reread, outcome) is True
        if holds:
            model.last_token = attempt.token
            match outcome:
                case "success":
                    model.succeed()
                case "release":
                    model.release()
                case _:
                    model.fail(FATAL if outcome == "fatal" else "OOPS", final=outcome == "final")
        self._check()

    def _say(self, attempt: Attempt, job: Job, outcome: str) -> bool | str:
        decision = decide(job, attempt.run, _outcome(outcome), now=self.services.clock.now(), draw=0.0)
        [answer] = self.run(self.writer.finish_many([Finish(job.id, attempt.token, decision, job.steered)]))
        assert isinstance(answer, bool | Steered)
        return answer if isinstance(answer, bool) else "steered"

    @rule(job=JOBS, back=BACK)
    def report(self, job: int, back: int) -> None:
        model = self._pick(job, "running")
        attempts = self.attempts.get(model.id, [])
        if attempts:
            self._report(model, attempts[-1 - back % len(attempts)])

    def _renew(self, model: Model, attempt: Attempt) -> None:
        held = self.store.keeper.renew({attempt.token: model.id}).held
        assert held == ({attempt.token} if model.holds(attempt.token) else set())
        if held:
            model.renew(SOON)
        self._check()

    def _report(self, model: Model, attempt: Attempt) -> None:
        assert self.run(self.writer.report_progress_many([Progress(model.id, attempt.token, 0.5, None)])) == [None]
        if model.holds(attempt.token):
            model.report()
        self._check()

    @rule(hours=st.integers(0, 1))
    def sweep(self, hours: int) -> None:
        if hours:
            self.run(self.world.pass_time(hours))
        expired = self._expired()
        self._expire(expired, [True] * len(expired))

    def _expired(self) -> list[Job]:
        _, expired = self.run(self.services.jobs.expired(ALL))
        assert {job.id for job in expired} == {one.id for one in self._models() if one.is_lost()}
        return expired

    def _expire(self, jobs: list[Job], expected: list[bool]) -> None:
        for job, is_lost in zip(jobs, expected, strict=True):
            assert job.run is not None
            lost = decide(job, job.run, LeaseExpired(), now=self.services.clock.now(), draw=0.0)
            assert self.run(self.writer.expire(job, lost)) is is_lost
            if is_lost:
                self.world.models[job.id].expire()
        self._check()

    # -------------------------------------------------------------------------------------------------------- callers

    @rule(job=JOBS, operation=st.sampled_from(CALLERS))
    def steer(self, job: int, operation: str) -> None:
        """Any operation in any status: it may well be refused."""
        model = self._pick(job)
        match operation:
            case "cancel":
                self._cancel(model)
            case "pause":
                self._pause(model)
            case "resume":
                self._resume(model)
            case "reschedule":
                self._reschedule(model, self.world.clock.now + 1, None)
            case "retry":
                self._retry(model, 0)
            case _:
                self._delete(model)

    @living("scheduled", "queued", "running", "paused")
    @rule(job=JOBS)
    def cancel(self, job: int) -> None:
        self._cancel(self._pick(job, "scheduled", "queued", "running", "paused"))

    def _cancel(self, model: Model) -> None:
        self._steer(model, "cancel", steering.cancel(self.services, ANN, model.id, "why"), model.cancel)

    @living("scheduled", "queued", "running", recurring=True)
    @rule(job=JOBS)
    def pause(self, job: int) -> None:
        self._pause(self._pick(job, "scheduled", "queued", "running", recurring=True))

    def _pause(self, model: Model) -> None:
        self._steer(model, "pause", steering.pause(self.services, ANN, model.id, "why"), model.pause)

    @living("paused")
    @rule(job=JOBS)
    def resume(self, job: int) -> None:
        self._resume(self._pick(job, "paused"))

    def _resume(self, model: Model) -> None:
        self._steer(model, "resume", steering.resume(self.services, ANN, model.id), model.resume)

    @living("failed")
    @rule(job=JOBS, delay=st.integers(0, 1))
    def retry(self, job: int, delay: int) -> None:
        self._retry(self._pick(job, "failed"), delay)

    def _retry(self, model: Model, delay: int) -> None:
        call = steering.retry(self.services, ANN, model.id, delay * HALF_HOUR // MILLISECOND)
        self._steer(model, "retry", call, lambda: model.retry(delay))

    @living("completed", "failed", "cancelled")
    @rule(job=JOBS)
    def delete(self, job: int) -> None:
        self._delete(self._pick(job, "completed", "failed", "cancelled"))

    def _delete(self, model: Model) -> None:
        self._steer(model, "delete", steering.delete(self.services, ANN, model.id), model.delete)

    @living("scheduled", "queued", "running", "paused")
    @rule(job=JOBS, start=st.none() | st.sampled_from([1, 3]), limit=LIMITS)
    def reschedule(self, job: int, start: int | None, limit: int | None) -> None:
        due = None if start is None else self.world.clock.now + start
        self._reschedule(self._pick(job, "scheduled", "queued", "running", "paused"), due, limit)

    def _reschedule(self, model: Model, due: int | None, limit: int | None) -> None:
        spec = ScheduleSpec(None if due is None else self._at(due), limit=limit)
        call = steering.reschedule(self.services, ANN, model.id, spec)
        self._steer(model, "reschedule", call, lambda: model.reschedule(due, limit))

    def _steer(
        self, model: Model, operation: str, call: Awaitable[Job | str], change: Callable[[], bool | None]
    ) -> None:
        """The call does what the operation means for the job as it is, or refuses."""
        means = model.verdict(operation)
        if means == "ok" and change() is False:
            means = "invalid"
        try:
            self.run(_awaited(call))
            came = means if means == "same" else "ok"
        except (TransitionRefused, JobNotFound, InvalidInput) as refusal:
            came = _REFUSALS[type(refusal)]
        assert came == means, f"{operation} came to {came!r}, not {means!r}"
        self._check()

    # ---------------------------------------------------------------------------------------------------------- relay

    @rule(limit=st.sampled_from([1, ALL]))
    def relay(self, limit: int) -> None:
        self.run(Outbox(self.store.database).relay(limit))
        self._check()

    # ----------------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        self.run(self.world.check())

    def _models(self) -> list[Model]:
        return list(self.world.models.values())

    def _pick(self, index: int, *statuses: str, recurring: bool = False) -> Model:
        """One of the jobs that the step suits, if there are such."""
        suited = self.living(*statuses, recurring=recurring) or self._models()
        return suited[index % len(suited)]

    def has_room(self) -> bool:
        """Whether there are few enough jobs that go on for one more: each is to live long enough."""
        return len(self.living("scheduled", "queued", "running", "paused")) < ENOUGH

    def living(self, *statuses: str, recurring: bool = False) -> list[Model]:
        return [
            one
            for one in self._models()
            if one.status in statuses and not one.gone and (one.schedule is not None or not recurring)
        ]

    def _at(self, half_hours: int) -> datetime:
        return self.world.at(half_hours)


async def _awaited(call: Awaitable[Job | str]) -> Job | str:
    return await call


def _outcome(name: str) -> Outcome:
    match name:
        case "success":
            return Succeeded("done")
        case "release":
            return Released("the worker shut down")
        case _:
            return Failed(JobError(FATAL if name == "fatal" else "OOPS", "it broke"), final=name == "final")


@pytest.fixture(scope="module")
def store(servers: Servers, mongodb: MongoClient[dict[str, Any]]) -> Iterator[Store]:
    name = f"test_lifecycle_{os.getpid()}"
    keeper = LeaseKeeper(servers.mongodb_url, name, HALF_HOUR)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        stack = AsyncExitStack()
        database = runner.run(stack.enter_async_context(opened(servers.mongodb_url, name, Driver.MOTOR)))
        try:
            context = installed(database, servers.mongodb_url, servers.redis_url)
            installation = runner.run(stack.enter_async_context(context))
            yield Store(runner, installation, database, keeper, count(1))
        finally:
            runner.run(stack.aclose())
            keeper.close()
            mongodb.drop_database(name)


@pytest.mark.timeout(600 + LIVES)  # hypothesis takes up to five minutes to make a failure short
def test_no_life_leaves_what_the_page_says(store: Store) -> None:
    settings = hypothesis.settings(
        max_examples=LIVES, stateful_step_count=STEPS, deadline=None, derandomize=not LONGER, print_blob=True
    )
    run_state_machine_as_test(lambda: Lives(store), settings=settings)  # type: ignore[arg-type]  # any factory will do
