"""The life of a job in memory: the decisions of ``jobs`` applied to a job, by a clock that the test sets.

It depends on little of what they say: the status, the run, the next instant and the backlog.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from jobs.decisions import Decision, Outcome, Succeeded, decide
from jobs.job import Job
from jobs.lifecycle import Action, JobStatus
from jobs.occurrences import PassedOver
from jobs.promotion import Promotion, promote
from jobs.recurrence import upcoming
from tests.factories import make_running


@dataclass
class Life:
    """A job with the clock that it lives by."""

    job: Job
    now: datetime
    runs: dict[int, datetime] = field(default_factory=dict)
    """The occurrence of each run that has begun, by its number."""
    left_out: list[PassedOver] = field(default_factory=list)
    """The occurrences that were told of as not run."""

    @property
    def status(self) -> JobStatus:
        return self.job.status

    @property
    def taken(self) -> list[datetime]:
        """The occurrences that were run, in the order in which they were."""
        return list(self.runs.values())

    @property
    def passed_over(self) -> int:
        """How many occurrences were told of as not run."""
        return sum(passed.count for passed in self.left_out)

    @property
    def accounted(self) -> list[datetime]:
        """Every occurrence as often as it was run or told of as not run, in order."""
        return sorted([*self.taken, *(instant for passed in self.left_out for instant in self._occurrences(passed))])

    def _occurrences(self, passed: PassedOver) -> list[datetime]:
        assert self.job.recurrence is not None
        found = [passed.first, *upcoming(self.job.recurrence, passed.first, passed.count - 1, 0)]
        assert found[-1] == passed.last
        return found

    @property
    def goes_on(self) -> bool:
        return self.status is JobStatus.SCHEDULED

    def is_due(self) -> bool:
        due_at = self.job.next_run_at
        return self.goes_on and due_at is not None and due_at <= self.now

    def wait(self) -> None:
        """Until the job is due, if the clock is not there yet."""
        assert self.job.next_run_at is not None
        self.now = max(self.now, self.job.next_run_at)

    def promote(self) -> None:
        """Nothing happens while the job is not due, as in the store's filter."""
        if not self.is_due():
            return
        self._apply(promote(self.job, self.now))

    def claim(self) -> None:
        if self.status is not JobStatus.QUEUED:
            return
        self.job, run = make_running(self.job, now=self.now)
        # Another attempt is one of the same run, and of the same occurrence.
        assert self.runs.setdefault(run.number, run.scheduled_for) == run.scheduled_for

    def end(self, outcome: Outcome | None = None) -> None:
        run = self.job.run
        if self.status is not JobStatus.RUNNING or run is None:
            return
        decided = decide(self.job, run, outcome or Succeeded(None), now=self.now, draw=0.0)
        if decided.passed_over is not None:
            assert run.started_at is not None
            assert run.started_at < decided.passed_over.first
        if decided.action is Action.RELEASE:
            self.job = replace(self.job, status=decided.status, run=decided.run)
        else:
            self._apply(decided)

    def live_until(self, instant: datetime, run_length: timedelta = timedelta(0)) -> None:
        """With somebody looking all the time, and every run as long."""
        while self.goes_on and self.job.next_run_at is not None and self.job.next_run_at <= instant:
            self.wait()
            self.promote()
            self.claim()
            if self.status is JobStatus.RUNNING:
                self.now += run_length
            self.end()

    def _apply(self, decided: Promotion | Decision) -> None:
        self.job = replace(
            self.job,
            status=decided.status,
            run=decided.run,
            next_run_at=decided.next_run_at,
            catch_up_until=decided.catch_up_until,
            paced=decided.paced,
        )
        if decided.passed_over is not None:
            self.left_out.append(decided.passed_over)
