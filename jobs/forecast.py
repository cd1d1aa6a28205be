"""When a job will run, if nothing changes: by the very code that makes it run."""

from __future__ import annotations

from datetime import datetime

from jobs.job import Job
from jobs.lifecycle import TERMINAL
from jobs.recurrence import upcoming


def upcoming_runs(job: Job, count: int, now: datetime) -> list[datetime]:
    """Up to ``count`` instants of runs that a recurring job has before it, the earliest first; none of any other job.

    A run that is under way, or waits for its retry, is not among them.
    """
    if job.recurrence is None or job.status in TERMINAL or job.paused is not None or count < 1:
        return []
    if job.run is not None:
        return upcoming(job.recurrence, max(job.run.scheduled_for, now), count, job.run.number)
    if job.next_run_at is None:
        return []
    # What is due already runs at once; what else comes due before that run has ended is not to be foreseen.
    following = upcoming(job.recurrence, max(job.next_run_at, now), count - 1, job.execution_count + 1)
    return [job.next_run_at, *following]
