"""Races of callers who resume, reschedule, retry or delete, one job or many, with whatever else happens to it."""

from __future__ import annotations

from typing import Final

from jobs.lifecycle import Action
from tests.races.actors import in_turn
from tests.races.race import Race

RACES: Final = (
    Race(
        "resume, pause",
        lambda jobs: jobs.paused(repeats={}),
        lambda on: (on.resume(), in_turn(on.pause(), on.resume())),
        """
        resumed paused resumed | ok | ok, ok
        resumed | ok | same, refused
        resumed | refused | same, ok
        """,
    ),
    Race(
        "resume, reschedule",
        lambda jobs: jobs.paused(repeats={}),
        lambda on: (on.resume(), on.reschedule()),
        """
        rescheduled resumed | ok | ok
        resumed rescheduled | ok | ok
        """,
    ),
    Race(
        "resume and promote, cancel",
        lambda jobs: jobs.paused(repeats={}),
        lambda on: (in_turn(on.resume(), on.promoter()), on.cancel()),
        """
        cancelled | refused, - | ok
        resumed cancelled | ok, - | ok
        """,
    ),
    Race(
        "reschedule, claim",
        lambda jobs: jobs.queued(),
        lambda on: (on.worker(), on.reschedule()),
        """
        rescheduled | - | ok
        started completed | did 1.1 | refused
        """,
    ),
    Race(
        "reschedule, complete",
        lambda jobs: jobs.running(repeats={}),
        lambda on: (on.first_worker(), on.reschedule()),
        """
        completed rescheduled | did 1.1 | ok
        rescheduled completed | did 1.1 | ok
        """,
    ),
    Race(
        "reschedule, promote",
        lambda jobs: jobs.due(),
        lambda on: (on.promoter(), on.reschedule()),
        """
        queued rescheduled | moved | ok
        rescheduled | - | ok
        """,
    ),
    Race(
        "reschedule to a cron, complete",
        lambda jobs: jobs.running(repeats={}),
        lambda on: (on.first_worker(), in_turn(on.reschedule(cron="0 0 1 1 *"), on.reschedule(every_ms=7_200_000))),
        """
        completed rescheduled rescheduled | did 1.1 | ok, ok
        rescheduled completed rescheduled | did 1.1 | ok, ok
        rescheduled rescheduled completed | did 1.1 | ok, ok
        """,
    ),
    Race(
        "reschedule to a cron, claim",
        lambda jobs: jobs.queued(repeats={}),
        lambda on: (on.worker(), on.reschedule(cron="0 0 1 1 *")),
        """
        rescheduled | - | ok
        started completed rescheduled | did 1.1 | ok
        started rescheduled completed | did 1.1 | ok
        """,
    ),
    Race(
        "reschedule, promote, repeats",
        lambda jobs: jobs.due(repeats={}),
        lambda on: (on.promoter(), in_turn(on.reschedule(cron="0 0 1 1 *"), on.promoter())),
        """
        queued rescheduled | moved | ok, -
        rescheduled | - | ok, -
        """,
    ),
    Race(
        "retry, retry",
        lambda jobs: jobs.failed(),
        lambda on: (on.retry(), on.retry(1000)),
        """
        scheduled queued | ok | refused
        scheduled | refused | ok
        """,
    ),
    Race(
        "retry and run, retry, repeats",
        lambda jobs: jobs.failed(repeats={"limit": 1}),
        lambda on: (in_turn(on.retry(), on.worker()), on.retry()),
        """
        scheduled queued started completed | ok, did 2.1 | refused
        scheduled queued started completed | refused, did 2.1 | ok
        """,
    ),
    Race(
        "retry, delete",
        lambda jobs: jobs.failed(),
        lambda on: (in_turn(on.retry(), on.worker()), on.delete()),
        """
        deleted | gone, - | ok
        scheduled queued started completed deleted | ok, did 2.1 | ok
        scheduled queued started completed | ok, did 2.1 | refused
        """,
    ),
    Race(
        "delete, delete",
        lambda jobs: jobs.failed(),
        lambda on: (on.delete(), on.delete()),
        """
        deleted | gone | ok
        deleted | ok | gone
        """,
    ),
    Race(
        "deleteMany, complete",
        lambda jobs: jobs.running(),
        lambda on: (on.first_worker(), on.bulk(Action.DELETE)),
        """
        completed deleted | did 1.1 | 1 of 1
        completed | did 1.1 | 0 of 1
        """,
    ),
    Race(
        "resumeMany, resume",
        lambda jobs: jobs.paused(repeats={}),
        lambda on: (on.resume(), on.bulk(Action.RESUME)),
        """
        resumed | ok | 0 of 1
        resumed | refused | 1 of 1
        """,
    ),
    Race(
        "retryMany, retry and run",
        lambda jobs: jobs.failed(),
        lambda on: (in_turn(on.retry(), on.worker()), on.bulk(Action.RETRY)),
        """
        scheduled queued started completed | ok, did 2.1 | 0 of 1
        scheduled queued started completed | refused, did 2.1 | 1 of 1
        """,
    ),
    Race(
        "limit: run, lower it",
        lambda jobs: jobs.queued(repeats={"limit": 3}),
        lambda on: (on.worker(), on.reschedule(limit=2)),
        """
        rescheduled | - | ok
        started completed rescheduled | did 1.1 | ok
        started rescheduled completed | did 1.1 | ok
        """,
    ),
)
