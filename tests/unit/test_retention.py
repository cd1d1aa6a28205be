"""How long what is over is kept, from the settings to the reason that a deleted job gives."""

from datetime import timedelta

import pytest

from gateway.settings import Settings
from gateway.worker_process import retention_policy, worker_config
from jobs.lifecycle import TERMINAL, JobStatus
from jobs.retention import KEEP_ALL, RetentionPolicy, why_deleted

DAY = timedelta(days=1)


def test_jobs_are_kept_for_ever_unless_it_is_said_otherwise_and_events_are_not() -> None:
    policy = retention_policy(Settings())
    assert policy == RetentionPolicy(events=30 * DAY, operations=30 * DAY, deliveries=30 * DAY, audit=365 * DAY)
    assert policy.jobs == KEEP_ALL.jobs == {}


def test_every_kind_can_be_told_its_age() -> None:
    kinds = ("completed", "failed", "cancelled", "executions", "events", "operations", "deliveries", "audit")
    given = {f"JOBGATE_KEEP_{kind.upper()}_DAYS": str(days) for days, kind in enumerate(kinds, start=1)}
    policy = retention_policy(Settings.from_environment(given))
    assert policy == RetentionPolicy(*(days * DAY for days in range(1, 9)))
    assert policy.jobs == {JobStatus.COMPLETED: DAY, JobStatus.FAILED: 2 * DAY, JobStatus.CANCELLED: 3 * DAY}
    assert policy.jobs.keys() == TERMINAL


def test_a_worker_is_told_the_ages() -> None:
    stores = {"MONGODB_URL": "mongodb://one/?replicaSet=rs0", "REDIS_URL": "redis://one"}
    settings = Settings.from_environment({**stores, "JOBGATE_KEEP_FAILED_DAYS": "3"})
    assert worker_config(settings).retention == retention_policy(settings)


def test_an_empty_age_is_none_and_one_of_nothing_is_one() -> None:
    emptied = dict.fromkeys(
        (f"JOBGATE_KEEP_{kind}_DAYS" for kind in ("EVENTS", "OPERATIONS", "DELIVERIES", "AUDIT")), ""
    )
    given = {**emptied, "JOBGATE_KEEP_FAILED_DAYS": "0"}
    assert retention_policy(Settings.from_environment(given)) == RetentionPolicy(failed=timedelta(0))


@pytest.mark.parametrize(("days", "shown"), [(30, "30 days"), (1, "1 day"), (0.5, "0.5 days"), (0, "0 days")])
def test_the_reason_says_how_long_jobs_are_kept(days: float, shown: str) -> None:
    assert why_deleted(JobStatus.FAILED, days * DAY) == f"failed jobs are kept for {shown}"
