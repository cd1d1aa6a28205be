"""A job that lives by ``mission/semantics.md`` in memory: the status it has to be in, and what it has to tell.

Written from that page and its tables alone, so that it shares no mistake with the decisions of ``jobs``. Time is counted in
half hours, and everything that recurs does so every other one: schedules are plain arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from tests.lifecycle_parts import PERIOD, Account, Clock, Run, Schedule
from tests.lifecycle_tables import MOVES, meaning

RETRY_DELAY: Final = 1
LOST_AFTER: Final = 3
"""So many expired leases fail a run."""
FATAL: Final = "FATAL"
"""The code that no job here retries."""


@dataclass
class Model:
    """One job. The names of its fields are those of the document, but for ``pausing`` and what follows it."""

    clock: Clock
    id: str
    retries: int
    schedule: Schedule | None
    next_run_at: int | None
    status: str = "new"
    run: Run | None = None
    execution_count: int = 0
    revision: int = 0
    steered: int = 0
    """How often a caller has changed what comes after the current run."""
    last_token: str | None = None
    pausing: bool = False
    """It is paused, or will be once its run has ended."""
    gone: bool = False
    decided_until: int = -1
    """Up to here a pause or a new schedule has left nothing to decide."""
    promised: int = -1
    """What is due up to here is run however late it is."""
    began_at: int = 0
    """When the current run began: what had come due by then is late, and did not overlap with it."""
    extra: int = 0
    """The number of the last run that a caller asked for: it is no occurrence."""
    account: Account = field(default_factory=Account)
    told: list[tuple[str, str]] = field(default_factory=list)
    """Each event with the status after it."""
    ended: list[tuple[int, str]] = field(default_factory=list)
    """Each run in the history: its number, and how it ended."""

    def verdict(self, operation: str) -> str:
        """``ok``, ``same``, ``no`` or, of a deleted job, ``gone``."""
        if self.gone:
            return "gone"
        return meaning(operation, self.status, recurring=self.schedule is not None, pausing=self.pausing)

    def is_due(self) -> bool:
        return self.status == "scheduled" and self.next_run_at is not None and self.next_run_at <= self.clock.now

    def is_claimable(self, number: int, attempt: int) -> bool:
        return self.status == "queued" and (self._run().number, self._run().attempt) == (number, attempt)

    def holds(self, token: str) -> bool:
        return self.run is not None and self.run.token == token

    def is_lost(self) -> bool:
        return self.run is not None and (self.run.lease_until or self.clock.now) < self.clock.now

    # ------------------------------------------------------------------------------------- what the machine does by itself

    def dispatch(self, due: int) -> None:
        if due > self.clock.now:
            self._move("dispatch for later")
        else:
            self._take(due)
            self._move("dispatch now")

    def promote(self) -> None:
        due, schedule = self.next_run_at, self.schedule
        assert due is not None
        if self.run is not None:
            self.next_run_at = self._behind(self.run.number, max(self.run.scheduled_for, self.decided_until))
        elif schedule is None or due == self.clock.now or due <= self.promised:
            self._take(due)
        elif (latest := schedule.latest(self.clock.now)) == self.clock.now or schedule.missed == "run_once":
            self.account.pass_over(schedule, "missed", due, latest - PERIOD)
            self._take(latest)
        else:
            self.account.pass_over(schedule, "missed", due, latest)
            self.next_run_at = schedule.after(self.clock.now)
            self._move("exhaust" if self.next_run_at is None else "pass over")
            return
        self._move("promote")

    def claim(self, token: str, lease: int) -> None:
        run = self._run()
        if self.schedule is not None and not run.begun and run.number != self.extra:
            self.account.run(self.schedule, run.scheduled_for)
        if not run.begun:
            self.began_at = self.clock.now
        run.token, run.lease_until, run.begun = token, self.clock.now + lease, run.attempt
        self.execution_count = run.number
        self._move("claim")

    def renew(self, lease: int) -> None:
        """A heartbeat: the one write that tells nothing."""
        self._run().lease_until = self.clock.now + lease
        self.revision += 1

    def report(self) -> None:
        self._move("report")

    def succeed(self) -> None:
        self._end("succeed", "completed")

    def fail(self, code: str, *, final: bool = False) -> None:
        run = self._run()
        if run.failures >= self.retries or code == FATAL or final or self.pausing:
            self._end("fail", "failed")
            return
        self._give_back(failures=run.failures + 1, attempt=run.attempt + 1)
        self.next_run_at = self.clock.now + RETRY_DELAY
        self._move("wait for a retry")

    def release(self) -> None:
        if self.pausing:
            self._end("fail", "failed")
        else:
            self._give_back()
            self._move("give back")

    def expire(self) -> None:
        run = self._run()
        if self.pausing or run.expiries + 1 >= LOST_AFTER:
            self._end("fail", "failed")
        else:
            self._give_back(expiries=run.expiries + 1, attempt=run.attempt + 1)
            self._move("give back")

    # ------------------------------------------------------------------------------------------------ what callers do to it

    def cancel(self) -> None:
        self._close("cancelled")
        self.next_run_at = None
        self._move("cancel")

    def pause(self) -> None:
        decided = self._decided()
        if self.run is not None and not self.run.begun:
            decided = self._take_back(self.run)
        self.decided_until = decided
        self.pausing, self.next_run_at, self.steered = True, None, self.steered + 1
        if self.status == "running":
            self._move("note a pause")
        else:
            self._close("failed")
            self._move("pause")

    def resume(self) -> None:
        self._drop_undecided("paused")
        self.next_run_at = self._behind(self.execution_count, self.clock.now)
        self.pausing, self.steered = False, self.steered + 1
        self._move("resume to the end" if self.next_run_at is None else "resume")

    def retry(self, delay: int = 0) -> None:
        due_at = self.clock.now + delay
        self.run = Run(self.execution_count + 1, due_at)
        self.extra = self.run.number
        self.next_run_at = due_at if delay else None
        self.steered += 1
        self._move("retry later" if delay else "retry now")

    def reschedule(self, start: int | None, limit: int | None) -> bool:
        """Whether that can be: otherwise it is an input error, and changes nothing."""
        if start is None and limit is None:
            return False
        if self.schedule is None:
            if start is None or limit is not None:
                return False
            self._replan(max(self.clock.now, start))
            return True
        revised = self.schedule.revised(start, limit)
        keeps = start is None and not self.pausing
        following = self._following(revised, self._decided() if keeps else self.clock.now)
        if following is None and not self._has_all_but_ended(revised):
            return False
        if keeps:
            self._promise()
        else:
            self._drop_undecided("paused" if self.pausing else "rescheduled")
            self.decided_until = self.account.until = self.clock.now
        self.schedule = revised
        if self._has_begun() and self.status != "running":
            # A run that has begun is one of the old rule, and is taken up again when it was to be.
            following = self.next_run_at if self.status == "scheduled" else self.clock.now
        self._replan(following)
        return True

    def delete(self) -> None:
        self._move("delete")
        self.gone = True

    def _following(self, schedule: Schedule, instant: int) -> int | None:
        return None if schedule.has_taken(self.execution_count) else schedule.after(instant)

    def _decided(self) -> int:
        """Up to here, nothing is left to decide about."""
        if self.pausing:
            return self.decided_until
        if self.run is not None and self.run.number == self.extra:
            return self.clock.now
        if self.run is not None:
            return max(self.run.scheduled_for, self.decided_until) if self.run.begun else self.run.scheduled_for - 1
        assert self.next_run_at is not None
        return self.next_run_at - 1

    def _promise(self) -> None:
        """A run that is taken back, by a change that does not concern its time, is run all the same."""
        if self.run is not None and self.run.number == self.extra:
            self.account.until = self.clock.now
        elif self.run is not None and not self.run.begun:
            self.promised = max(self.promised, self.run.scheduled_for)

    def _take_back(self, run: Run) -> int:
        """Up to where everything is decided then."""
        if run.number == self.extra or self.schedule is None:
            return self.clock.now
        self.account.pass_over(self.schedule, "paused", run.scheduled_for, run.scheduled_for)
        return run.scheduled_for

    def _drop_undecided(self, why: str) -> None:
        schedule = self.schedule
        assert schedule is not None
        first = self._following(schedule, self._decided())
        if first is not None and first <= self.clock.now:
            self.account.pass_over(schedule, why, first, schedule.latest(self.clock.now))

    def _has_all_but_ended(self, schedule: Schedule) -> bool:
        """Whether the current run is the last that this permits."""
        return self._has_begun() and self.execution_count == schedule.limit

    def _replan(self, following: int | None) -> None:
        self.next_run_at, self.steered = None if self.pausing else following, self.steered + 1
        if self.status in ("running", "paused"):
            self._move(f"reschedule while {self.status}")
            return
        self.run = self.run if self._has_begun() else None
        self._move("reschedule")

    def _has_begun(self) -> bool:
        return self.run is not None and self.run.begun > 0

    def _take(self, occurrence: int) -> None:
        number = self.execution_count + 1
        self.run, self.next_run_at = Run(number, occurrence), self._behind(number, occurrence)

    def _behind(self, runs: int, instant: int) -> int | None:
        """What is due after ``instant``, once so many runs were taken."""
        schedule = self.schedule
        return None if schedule is None or schedule.has_taken(runs) else schedule.after(instant)

    def _end(self, what: str, ended: str) -> None:
        schedule = self.schedule
        is_last = schedule is None or schedule.has_taken(self._run().number)
        self._close(ended)
        if self.pausing and not is_last:
            self._move(what, "paused")
            return
        self.pausing = False
        if schedule is None or is_last:
            self.next_run_at = None
        elif self.next_run_at is not None and self.began_at < self.next_run_at <= self.clock.now:
            self.account.pass_over(schedule, "overlap", self.next_run_at, schedule.latest(self.clock.now))
            self.next_run_at = schedule.after(self.clock.now)
        self._move(what, ended if self.next_run_at is None else "scheduled")

    def _close(self, ended: str) -> None:
        """The run is over. It is in the history if a worker has ever begun it."""
        if self._has_begun():
            self.ended.append((self._run().number, ended))
        self.run = None

    def _give_back(self, **changes: int) -> None:
        self.run = replace(self._run(), token=None, lease_until=None, **changes)

    def _run(self) -> Run:
        assert self.run is not None
        return self.run

    def _move(self, what: str, status: str | None = None) -> None:
        move = MOVES[what]
        target = status or move.targets[0]
        assert self.status in move.sources
        assert target in move.targets
        self.status = target
        self.revision += 1
        self.told += [(event, target) for event in move.events]
