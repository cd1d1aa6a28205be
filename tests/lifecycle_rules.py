"""Random lives of one job, in memory: the model of ``tests/lifecycle_model.py`` and whoever may do something to it at any time.

Several workers, some of which hold tokens that are long stale; promoters and sweepers whose readings are overtaken; nudges that
arrive late; callers. Each does what the product's write does: nothing at all, when its fence does not hold any more. After
every step the invariants of ``reference/reliability.md`` §3.3 hold that one job can show: I2, I5, I6, I7 and I8.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.lifecycle_model import FATAL, Model
from tests.lifecycle_parts import PERIOD, Clock, Run, Schedule
from tests.lifecycle_tables import first_forbidden

WHICH: Final = st.integers(0, 7)
"""How long ago something was read or taken; 0 is the latest."""

HOURS: Final = st.none() | st.integers(1, 6)
LIMITS: Final = st.none() | st.integers(1, 3)
OUTCOMES: Final = st.sampled_from(["success", "failure", "fatal", "release"])
TERMINAL: Final = ("completed", "failed", "cancelled")


class OneLife(RuleBasedStateMachine):
    """A job and all who know of it."""

    model: type[Model] = Model
    schedules: type[Schedule] = Schedule

    def __init__(self) -> None:
        super().__init__()
        self._know_nothing()

    def _know_nothing(self) -> None:
        self.clock = Clock()
        self.due: list[int] = []
        """What promoters have read: the revision at which it was due."""
        self.lost: list[tuple[str, int]] = []
        """What sweepers have read: the token, and the lease that was over."""
        self.nudges: list[tuple[int, int]] = []
        self.tokens: list[str] = []
        """Of all attempts, the latest last."""
        self.spoken: list[tuple[str, str]] = []
        """Whose word on a run was taken, and whose run it was."""
        self.taken: list[tuple[int, int | None]] = []
        """Of each run of a schedule: the occurrence, and the end of the schedule."""
        self.asked_for: set[int] = set()

    @initialize(retries=st.integers(0, 2), repeats=st.booleans(), later=st.booleans(), hours=HOURS, limit=LIMITS)
    def begin(self, retries: int, repeats: bool, later: bool, hours: int | None, limit: int | None) -> None:
        due = int(later)
        end = None if hours is None else due + hours * PERIOD
        schedule = self.schedules(due, due, end, limit) if repeats else None
        self.job = self.model(self.clock, "job_1", retries, schedule, next_run_at=due)
        self.job.dispatch(due)

    @precondition(lambda life: life.job.status in ("completed", "cancelled", "gone"))
    @rule(retries=st.integers(0, 2), hours=HOURS, limit=LIMITS)
    def begin_again(self, retries: int, hours: int | None, limit: int | None) -> None:
        """With a job that recurs: what is left of a life that is over shows little."""
        self._know_nothing()
        self.begin(retries, True, False, hours, limit)

    # ------------------------------------------------------------------------------------------------------- fences

    def may_promote(self, revision: int) -> bool:
        return self.job.revision == revision and self.job.status == "scheduled"

    def may_claim(self, number: int, attempt: int) -> bool:
        return self.job.is_claimable(number, attempt)

    def holds(self, token: str) -> bool:
        return self.job.holds(token)

    def may_expire(self, token: str, lease_until: int) -> bool:
        return self.job.holds(token) and self.job.run is not None and self.job.run.lease_until == lease_until

    # ------------------------------------------------------------------------------------------------- the machine

    @rule(hours=st.integers(1, 4))
    def pass_time(self, hours: int) -> None:
        self.clock.now += hours * PERIOD

    @precondition(lambda life: life.job.is_due())
    @rule()
    def find_due(self) -> None:
        self.due.append(self.job.revision)

    @precondition(lambda life: life.due)
    @rule(which=WHICH)
    def promote(self, which: int) -> None:
        if self.may_promote(_pick(self.due, which)):
            assert self.job.is_due(), "it was promoted before it was due"
            self.job.promote()

    @precondition(lambda life: life.job.status == "queued")
    @rule()
    def nudge(self) -> None:
        run = self._run()
        self.nudges.append((run.number, run.attempt))

    @precondition(lambda life: life.nudges)
    @rule(which=WHICH, lease=st.sampled_from([1, 1000]))
    def claim(self, which: int, lease: int) -> None:
        if not self.may_claim(*_pick(self.nudges, which)):
            return
        run, token = self._run(), f"token {len(self.tokens)}"
        if self.job.schedule is not None and not run.begun and run.number not in self.asked_for:
            self.taken.append((run.scheduled_for, self.job.schedule.end))
        self.tokens.append(token)
        self.job.claim(token, lease)

    @precondition(lambda life: life.job.status in ("scheduled", "queued"))
    @rule()
    def come_to_an_attempt(self) -> None:
        """All goes as it is meant to: the job comes due, is nudged about, and is claimed."""
        while self.job.status == "scheduled":
            assert self.job.next_run_at is not None
            self.clock.now = max(self.clock.now, self.job.next_run_at + self.job.next_run_at % PERIOD)
            self.find_due()
            self.promote(0)
        if self.job.status == "queued":
            self.nudge()
            self.claim(0, 1)

    @precondition(lambda life: life.job.status == "running")
    @rule(is_heard=st.booleans(), is_swept=st.booleans())
    def be_late(self, is_heard: bool, is_swept: bool) -> None:
        """A lease runs out, if it was one of an hour, and is found to be over; its worker is perhaps heard of just then."""
        self.clock.now += PERIOD
        if not self.job.is_lost():
            return
        self.find_lost()
        if is_heard:
            self.job.renew(1)
        if is_swept:
            self.expire(0)

    @precondition(lambda life: life.tokens)
    @rule(which=WHICH, is_renewed=st.booleans())
    def be_heard_of(self, which: int, is_renewed: bool) -> None:
        if self.holds(_pick(self.tokens, which)):
            if is_renewed:
                self.job.renew(1)
            else:
                self.job.report()

    @precondition(lambda life: life.job.status == "running")
    @rule()
    def succeed(self) -> None:
        self.finish(0, "success")

    @precondition(lambda life: life.tokens)
    @rule(which=WHICH, outcome=OUTCOMES)
    def finish(self, which: int, outcome: str) -> None:
        token = _pick(self.tokens, which)
        if not self.holds(token):
            return
        self.spoken.append((token, self.tokens[-1]))
        if outcome == "success":
            self.job.succeed()
        elif outcome == "release":
            self.job.release()
        else:
            self.job.fail(FATAL if outcome == "fatal" else "OOPS")

    @precondition(lambda life: life.job.is_lost())
    @rule()
    def find_lost(self) -> None:
        run = self._run()
        assert run.token is not None
        assert run.lease_until is not None
        self.lost.append((run.token, run.lease_until))

    @precondition(lambda life: life.lost)
    @rule(which=WHICH)
    def expire(self, which: int) -> None:
        reading = _pick(self.lost, which)
        if self.may_expire(*reading):
            assert self.job.is_lost(), "a lease was taken that had been renewed"
            self.job.expire()

    # -------------------------------------------------------------------------------------------------------- callers

    @precondition(lambda life: life.job.verdict("cancel") == "ok")
    @rule()
    def cancel(self) -> None:
        self.job.cancel()

    @precondition(lambda life: life.job.verdict("pause") == "ok")
    @rule()
    def pause(self) -> None:
        self.job.pause()

    @precondition(lambda life: life.job.verdict("resume") == "ok")
    @rule()
    def resume(self) -> None:
        self.job.resume()

    @precondition(lambda life: life.job.verdict("retry") == "ok")
    @rule(delay=st.integers(0, 1))
    def retry(self, delay: int) -> None:
        self.job.retry(delay * PERIOD)
        self.asked_for.add(self._run().number)

    @precondition(lambda life: life.job.verdict("delete") == "ok")
    @rule()
    def delete(self) -> None:
        self.job.delete()

    @precondition(lambda life: life.job.verdict("reschedule") == "ok")
    @rule(start=st.none() | st.sampled_from([1, 3]), limit=LIMITS)
    def reschedule(self, start: int | None, limit: int | None) -> None:
        self.job.reschedule(None if start is None else self.clock.now + start, limit)

    # ----------------------------------------------------------------------------------------------------- invariants

    @invariant()
    def every_run_ends_once_and_by_the_word_of_its_own_worker(self) -> None:
        """I2, and what I4 says of stale workers."""
        numbers = Counter(number for number, _ in self.job.ended)
        assert max(numbers.values(), default=1) == 1, "a run has ended twice"
        assert all(who == whose for who, whose in self.spoken), "a stale worker was listened to"

    @invariant()
    def what_it_told_is_a_path_through_the_table(self) -> None:
        """I2: what is over does not move unless it is retried. I5: nothing is started behind a cancel."""
        forbidden = first_forbidden(self.job.told)
        assert forbidden is None, f"{self.job.told[forbidden]} behind {self.job.told[:forbidden][-3:]}"

    @invariant()
    def only_a_running_job_has_a_token(self) -> None:
        """I5: a cancel takes the run from its worker at once."""
        has_token = self.job.run is not None and self.job.run.token is not None
        assert has_token == (self.job.status == "running"), f"a {self.job.status} job and its token"
        assert self.job.run is None or self.job.status not in (*TERMINAL, "paused"), (
            f"a {self.job.status} job and its run"
        )

    @invariant()
    def nothing_starts_while_it_is_paused(self) -> None:
        """I6: between the answer to a pause and that to a resume; a pause ends as well with the job."""
        is_paused = False
        for name, status in self.job.told:
            assert not (is_paused and name == "started"), "it was started while it was paused"
            is_paused = name == "paused" or (is_paused and name != "resumed" and status not in TERMINAL)

    @invariant()
    def every_occurrence_is_accounted_for_once(self) -> None:
        """I7. That none is left out is what the model's own account asserts with each entry."""
        runs = [occurrence for occurrence, _ in self.taken]
        passed = [
            one
            for _, count, first, _ in self.job.account.passed_over
            for one in range(first, first + count * PERIOD, PERIOD)
        ]
        assert max(Counter(runs + passed).values(), default=1) == 1, "an occurrence was accounted for twice"

    @invariant()
    def it_keeps_to_its_limit_and_its_end(self) -> None:
        """I8, but for the runs that somebody asked for."""
        assert all(end is None or occurrence <= end for occurrence, end in self.taken), "it was run behind its end"
        schedule = self.job.schedule
        if schedule is not None and schedule.limit is not None:
            asked_for = sum(number <= self.job.execution_count for number in self.asked_for)
            assert self.job.execution_count - asked_for <= schedule.limit, "it was run more often than permitted"

    def _run(self) -> Run:
        assert self.job.run is not None
        return self.job.run


def _pick(known: list[Any], which: int) -> Any:
    return known[-1 - which % len(known)]
