"""What a handler sees of its run, what it can tell of it, and how often that is passed on."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.errors import StoreUnavailable
from worker import progress
from worker.context import CancelReason, RunCancelled, RunFacts, TaskContext

INTERVAL = 0.6
"""Seconds: longer than it really is, so that a busy machine does within one what a test has it do."""

_REAL_INTERVAL = progress.INTERVAL


@pytest.fixture(autouse=True)
def _long_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", INTERVAL)


def test_progress_is_told_four_times_a_second_at_most() -> None:
    assert 1 / _REAL_INTERVAL == 4


DUE = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DEADLINE = 10.0
Report = tuple[float, str | None]


class Reports:
    """Takes down what is reported, and when by the loop's clock."""

    def __init__(self) -> None:
        self.taken: list[Report] = []
        self.times: list[float] = []
        self.failure: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self._news = asyncio.Condition()

    async def __call__(self, fraction: float, message: str | None) -> None:
        self.times.append(asyncio.get_running_loop().time())
        await self.open.wait()
        async with self._news:
            self.taken.append((fraction, message))
            self._news.notify_all()
        if self.failure is not None:
            raise self.failure

    async def until(self, condition: Callable[[list[Report]], bool]) -> list[Report]:
        async with asyncio.timeout(DEADLINE), self._news:
            await self._news.wait_for(lambda: condition(self.taken))
        return self.taken


@pytest.fixture
async def reports() -> Reports:
    return Reports()


@pytest.fixture
async def context(reports: Reports) -> TaskContext:
    return make_context(reports)


def make_context(reports: Reports, **changes: Any) -> TaskContext:
    facts: dict[str, Any] = {
        "job_id": "job_1",
        "namespace": "mail",
        "task": "send",
        "product": "shop",
        "env": "prd",
        "execution": 1,
        "attempt": 1,
        "scheduled_for": DUE,
        "deadline": None,
    }
    return TaskContext(RunFacts(**(facts | changes)), reports)


def count(number: int) -> Callable[[list[Report]], bool]:
    return lambda taken: len(taken) >= number


async def test_a_handler_sees_its_run(reports: Reports) -> None:
    context = make_context(reports, execution=4, attempt=2, deadline=DUE + timedelta(minutes=1))
    assert (context.job_id, context.namespace, context.task) == ("job_1", "mail", "send")
    assert (context.product, context.env) == ("shop", "prd")
    assert (context.execution, context.attempt) == (4, 2)
    assert (context.scheduled_for, context.deadline) == (DUE, DUE + timedelta(minutes=1))


async def test_the_run_key_is_the_same_for_all_attempts_and_the_fence_grows(reports: Reports) -> None:
    first, second = make_context(reports, attempt=1), make_context(reports, attempt=2)
    assert (first.run_key, second.run_key) == ("job_1:1", "job_1:1")
    assert first.fence < second.fence
    assert make_context(reports, execution=5).run_key == "job_1:5"


async def test_a_run_goes_on_until_it_is_told_to_stop(context: TaskContext) -> None:
    context.check()
    assert context.cancel_reason is None


@pytest.mark.parametrize("reason", CancelReason)
async def test_a_handler_that_checks_learns_why_it_is_to_stop(context: TaskContext, reason: CancelReason) -> None:
    context.cancel(reason)
    with pytest.raises(RunCancelled, match=reason.value) as stopped:
        context.check()
    assert (stopped.value.reason, context.cancel_reason) == (reason, reason)


async def test_the_first_report_is_passed_on_at_once(context: TaskContext, reports: Reports) -> None:
    began = asyncio.get_running_loop().time()
    await context.progress(0.5, "half")
    assert await reports.until(count(1)) == [(0.5, "half")]
    assert reports.times[0] - began < INTERVAL
    context.close()


@pytest.mark.parametrize("before", [{"execution": 2}, {"attempt": 2}])
async def test_where_others_may_just_have_reported_the_first_report_waits_for_an_interval(
    reports: Reports, before: dict[str, int]
) -> None:
    began = asyncio.get_running_loop().time()
    context = make_context(reports, **before)
    await context.progress(0.1)
    await context.progress(0.2)
    assert await reports.until(count(1)) == [(0.2, None)]
    assert reports.times[0] - began >= INTERVAL * 0.99
    context.close()


async def test_of_many_reports_the_newest_is_passed_on_at_the_end_of_the_interval(
    context: TaskContext, reports: Reports
) -> None:
    for step in range(101):
        await context.progress(step / 100, f"step {step}")
    assert await reports.until(count(2)) == [(0.0, "step 0"), (1.0, "step 100")]
    # The loop rounds its timers to the resolution of the clock.
    assert reports.times[1] - reports.times[0] >= INTERVAL * 0.99
    context.close()


async def test_reports_of_one_run_do_not_pile_up_while_the_database_is_slow(
    context: TaskContext, reports: Reports
) -> None:
    reports.open.clear()
    await context.progress(0.1)
    for step in range(3):
        await context.progress(0.2 + step / 10)
        await one_interval()
    reports.open.set()
    assert await reports.until(count(2)) == [(0.1, None), (0.4, None)]
    context.close()


async def one_interval() -> None:
    """Wait on a timer that fires after those of an interval that has begun."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(INTERVAL * 1.2, passed.set)
    await passed.wait()


async def test_a_report_after_a_pause_is_passed_on_at_once(context: TaskContext, reports: Reports) -> None:
    await context.progress(0.1)
    await one_interval()
    began = asyncio.get_running_loop().time()
    await context.progress(0.2)
    await reports.until(count(2))
    assert reports.times[1] - began < INTERVAL
    context.close()


async def test_a_synchronous_handler_reports_from_its_thread(context: TaskContext, reports: Reports) -> None:
    thread = threading.Thread(target=context.report_progress, args=(0.25, "a quarter"))
    thread.start()
    assert await reports.until(count(1)) == [(0.25, "a quarter")]
    thread.join()
    context.close()


async def test_nothing_is_reported_once_the_run_is_closed(context: TaskContext, reports: Reports) -> None:
    await context.progress(0.1)
    await context.progress(0.2)
    await reports.until(count(1))
    context.close()
    await context.progress(0.3)
    await one_interval()
    assert reports.taken == [(0.1, None)]


async def test_a_report_that_fails_does_not_end_the_reports(
    context: TaskContext, reports: Reports, caplog: pytest.LogCaptureFixture
) -> None:
    reports.failure = StoreUnavailable("MongoDB", "gone")
    await context.progress(0.1)
    await context.progress(0.2)
    assert await reports.until(count(2)) == [(0.1, None), (0.2, None)]
    assert "progress was not reported: MongoDB is unavailable: gone" in caplog.text
    context.close()


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan"), float("inf")])
async def test_progress_is_a_fraction(context: TaskContext, reports: Reports, fraction: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        await context.progress(fraction)
    with pytest.raises(ValueError, match="from 0 to 1"):
        context.report_progress(fraction)
    assert reports.times == []


@pytest.mark.parametrize(
    ("message", "kept"),
    [("x" * 501, "x" * 500), ("\ud800", "?"), ("", ""), (None, None)],
    ids=["long", "odd", "empty", "none"],
)
async def test_messages_are_cut_to_what_can_be_stored(
    context: TaskContext, reports: Reports, message: str | None, kept: str | None
) -> None:
    await context.progress(1, message)
    assert await reports.until(count(1)) == [(1.0, kept)]
    context.close()


async def test_a_handler_that_only_reports_lets_others_run(context: TaskContext) -> None:
    async def report_for_ever() -> None:
        while True:
            await context.progress(0.5)

    reporting = asyncio.create_task(report_for_ever())
    async with asyncio.timeout(DEADLINE):
        anothers_turn = asyncio.Event()
        asyncio.get_running_loop().call_soon(anothers_turn.set)
        await anothers_turn.wait()
        reporting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reporting
    context.close()
