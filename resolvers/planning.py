"""Looking ahead: when jobs will run, and when a schedule would."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from jobs.errors import InvalidInput, Issue
from jobs.forecast import first_runs, upcoming_runs
from jobs.job import Job
from jobs.schedule import ScheduleSpec, plan_schedule
from resolvers.services import Services

MAX_RUNS: Final = 100
"""Instants that one question is answered with at most."""


def preview_schedule(services: Services, schedule: ScheduleSpec, count: int) -> list[datetime]:
    """The first ``count`` instants at which a job dispatched now would run. Raises ``InvalidInput``."""
    _check_count(count)
    plan = plan_schedule(schedule, services.clock.now(), ("schedule",))
    if plan.recurrence is None:
        return [plan.first_run_at]
    return first_runs(plan.recurrence, plan.first_run_at, count)


def forecast(services: Services, job: Job, count: int) -> list[datetime]:
    """The next ``count`` instants at which the job will run. Raises ``InvalidInput``."""
    _check_count(count)
    return upcoming_runs(job, count, services.clock.now())


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_RUNS:
        raise InvalidInput([Issue(("count",), f"must be between 1 and {MAX_RUNS}, not {count}")])
