"""The model of a job's life by itself: thousands of steps a second, and the mistakes that its invariants find."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import hypothesis
import pytest
from hypothesis import Phase
from hypothesis.stateful import run_state_machine_as_test

from tests.lifecycle_model import Model
from tests.lifecycle_parts import PERIOD, Schedule
from tests.lifecycle_rules import OneLife


def live(life: Callable[[], OneLife], lives: int, *phases: Phase) -> None:
    settings = hypothesis.settings(
        max_examples=lives, stateful_step_count=30, deadline=None, derandomize=True, database=None, phases=phases
    )
    run_state_machine_as_test(life, settings=settings)  # type: ignore[arg-type]  # any factory will do


def test_no_life_breaks_an_invariant() -> None:
    live(OneLife, 300, Phase.generate, Phase.shrink)


class AnyWorkerFinishes(OneLife):
    def holds(self, token: str) -> bool:
        return self.job.status == "running"


class PromotersTrustTheirReading(OneLife):
    def may_promote(self, revision: int) -> bool:
        return self.job.status == "scheduled" and self.job.next_run_at is not None


class NudgesDecide(OneLife):
    def may_claim(self, number: int, attempt: int) -> bool:
        return self.job.run is not None


class SweepersTrustTheirReading(OneLife):
    def may_expire(self, token: str, lease_until: int) -> bool:
        return self.job.holds(token)


class PausesOnlyWhatIsScheduled(Model):
    def pause(self) -> None:
        if self.status != "queued":
            super().pause()
            return
        self.pausing = True
        self.told.append(("paused", "running"))


class LeavesTheTokenToItsWorker(Model):
    def cancel(self) -> None:
        run = self.run
        super().cancel()
        self.run = run


class EndsTwice(Model):
    def succeed(self) -> None:
        number = 0 if self.run is None else self.run.number
        super().succeed()
        self.ended.append((number, "completed"))


class RetriesWhatever(Model):
    def verdict(self, operation: str) -> str:
        return "ok" if operation == "retry" and self.status == "cancelled" else super().verdict(operation)


class StaysWhereItIs(Model):
    """Behind a run, the same occurrence again."""

    def _behind(self, runs: int, instant: int) -> int | None:
        return super()._behind(runs, instant - PERIOD)


class OneTooMany(Schedule):
    def has_taken(self, runs: int) -> bool:
        return self.limit is not None and runs > self.limit


class WithoutEnd(Schedule):
    def after(self, instant: int) -> int | None:
        return Schedule.after(replace(self, end=None), instant)

    def latest(self, instant: int) -> int:
        return Schedule.latest(replace(self, end=None), instant)


def scheduled(schedules: type[Schedule]) -> type[OneLife]:
    return type("Life", (OneLife,), {"schedules": schedules})


def living(model: type[Model]) -> type[OneLife]:
    return type("Life", (OneLife,), {"model": model})


# What is found; nothing where it is the model's own account or table that refuses it, without a word.
MISTAKES: Final = {
    "a finish without the token": (AnyWorkerFinishes, "a stale worker was listened to"),
    "a promotion of what was read": (PromotersTrustTheirReading, "it was promoted before it was due"),
    "a nudge that decides": (NudgesDecide, None),
    "an expiry of what was read": (SweepersTrustTheirReading, "a lease was taken that had been renewed"),
    "a pause that ignores queued jobs": (living(PausesOnlyWhatIsScheduled), "('paused', 'running') behind"),
    "a cancel that leaves the token": (living(LeavesTheTokenToItsWorker), "job and its run"),
    "a run that ends twice": (living(EndsTwice), "a run has ended twice"),
    "a retry of a cancelled job": (living(RetriesWhatever), None),
    "an occurrence that comes again": (living(StaysWhereItIs), None),
    "a limit that permits one more": (scheduled(OneTooMany), "it was run more often than permitted"),
    "an end that is not kept to": (scheduled(WithoutEnd), "it was run behind its end"),
}


@pytest.mark.parametrize(("life", "found"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_is_found(life: type[OneLife], found: str | None) -> None:
    with pytest.raises(AssertionError, match=found and re.escape(found)):
        live(life, 400, Phase.generate)
