"""Whether the next instant of a cron job is still what its rule names: a new release may read zones or cron otherwise. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jobs.job import Job
from jobs.lifecycle import RULES, Action, JobStatus
from jobs.recurrence import Cron, Recurrence, latest_at_or_before, next_after


@dataclass(frozen=True, slots=True)
class Correction:
    """The next instant of a cron job by today's rules, in place of the one that was stored by those of another day."""

    stored: datetime
    next_run_at: datetime
    rule: Cron

    @property
    def reason(self) -> str:
        """What the event tells."""
        return (
            f"by today's rules {self.rule.expression!r} in {self.rule.tz} names other instants: "
            f"the next run moves from {_written(self.stored)} to {_written(self.next_run_at)}"
        )


def recheck(job: Job, now: datetime) -> Correction | None:
    """What the stored next instant of ``job`` should be at ``now``; None when it is right, or is not to be touched.

    Left alone are

    - an interval, whose grid depends on no rules but its own, and a job that has nothing ahead of it: paused or over;
    - an instant that has come: it was promised, and what was missed is promoting's to judge, a catch-up as well;
    - the wait for a retry, which is no occurrence; where the grid goes on is found when the wait is over;
    - a job of which today's rules name no instant any more up to its ``end_date``. It keeps the last one that it was
      promised, and ends after that run as it would have: a run that is off by an hour is better than one that is lost;
    - an instant whose counterpart by today's rules has passed: for the same reason.

    An instant that today's rules do not name moves to the nearest one that they do: what was one run a day stays that, on the
    day of the change as well. Raises ``CronError`` when the rule is no longer understood at all.
    """
    stored, recurrence = job.next_run_at, job.recurrence
    if stored is None or recurrence is None or not isinstance(recurrence.rule, Cron) or not _is_occurrence(job):
        return None
    looked_at = _not_before_what_was_taken(job, now)
    if stored <= looked_at:
        return None
    expected = _expected(recurrence, stored, looked_at)
    if expected is None or expected == stored or expected <= looked_at:
        return None
    return Correction(stored, expected, recurrence.rule)


def _expected(recurrence: Recurrence, stored: datetime, looked_at: datetime) -> datetime | None:
    before, after = latest_at_or_before(recurrence, stored), next_after(recurrence, stored)
    if before == stored:
        # The rules agree about it; there may be instants before it that others did not name.
        return next_after(recurrence, looked_at)
    if before is None or after is None:
        return before or after
    return before if stored - before < after - stored else after


def _is_occurrence(job: Job) -> bool:
    """Whether what comes next is an occurrence: the one that is waited for, or the one behind the current run."""
    waits_for_retry = job.status is JobStatus.SCHEDULED and job.run is not None
    return job.status in RULES[Action.RECHECK].sources and not waits_for_retry


def _not_before_what_was_taken(job: Job, now: datetime) -> datetime:
    """``now``, but by whosever clock: an occurrence that was taken must not be found again."""
    known = max(now, job.updated_at)
    return known if job.run is None else max(known, job.run.scheduled_for)


def _written(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"
