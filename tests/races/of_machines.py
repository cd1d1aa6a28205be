"""Races among workers, promoters and sweepers."""

from __future__ import annotations

from typing import Final

from tests.races.actors import in_turn
from tests.races.race import Race

RACES: Final = (
    Race(
        "limit: promote and run, promote",
        lambda jobs: jobs.due(repeats={"limit": 1}),
        lambda on: (in_turn(on.promoter(), on.worker()), on.promoter()),
        """
        queued started completed | -, did 1.1 | moved
        queued started completed | moved, did 1.1 | -
        """,
    ),
    Race(
        "end: promote, promote twice",
        lambda jobs: jobs.due(repeats={"end_date": jobs.in_half_an_hour}),
        lambda on: (on.promoter(), in_turn(on.promoter(), on.promoter())),
        """
        queued | - | moved, -
        queued | moved | -, -
        """,
    ),
    Race(
        "promote, promote",
        lambda jobs: jobs.due(),
        lambda on: (on.promoter(), on.promoter()),
        """
        queued | - | moved
        queued | moved | -
        """,
    ),
    Race(
        "promote twice, promote twice, repeats",
        lambda jobs: jobs.due(repeats={}),
        lambda on: (in_turn(on.promoter(), on.promoter()), in_turn(on.promoter(), on.promoter())),
        """
        queued | -, - | moved, -
        queued | moved, - | -, -
        """,
    ),
    Race(
        "claim, claim",
        lambda jobs: jobs.queued(),
        lambda on: (on.worker(), on.worker()),
        """
        started completed | - | did 1.1
        started completed | did 1.1 | -
        """,
    ),
    Race(
        "claim, claim, repeats, fails",
        lambda jobs: jobs.queued(repeats={}, retries=1),
        lambda on: (on.worker(fails=True), on.worker()),
        """
        started completed | - | did 1.1
        started retrying | did 1.1 | -
        """,
    ),
    Race(
        "finish of a lost worker, the next attempt",
        lambda jobs: jobs.lost(),
        lambda on: (on.first_worker(), in_turn(on.sweeper(), on.worker())),
        """
        completed | did 1.1 | -, -
        completed | did 1.1 | too late, -
        queued started completed | did 1.1 | expired, did 1.2
        """,
    ),
    Race(
        "failure of a lost worker, the next attempt",
        lambda jobs: jobs.lost(retries=1),
        lambda on: (on.first_worker(fails=True), in_turn(on.sweeper(), on.worker())),
        """
        queued started completed | did 1.1 | expired, did 1.2
        retrying | did 1.1 | -, -
        retrying | did 1.1 | too late, -
        """,
    ),
    Race(
        "progress of a lost worker, the next attempt",
        lambda jobs: jobs.lost(),
        lambda on: (on.progress(), in_turn(on.sweeper(), on.worker())),
        """
        progress queued started completed | told | expired, did 1.2
        queued started completed | - | expired, did 1.2
        """,
    ),
    Race(
        "finish, sweep",
        lambda jobs: jobs.lost(repeats={}),
        lambda on: (on.first_worker(), on.sweeper()),
        """
        completed | did 1.1 | -
        completed | did 1.1 | too late
        queued | did 1.1 | expired
        """,
    ),
    Race(
        "heartbeat and finish, sweep",
        lambda jobs: jobs.lost(),
        lambda on: (on.first_worker(before=on.heart()), in_turn(on.sweeper(), on.worker())),
        """
        completed | held, did 1.1 | -, -
        completed | held, did 1.1 | too late, -
        queued started completed | lost, did 1.1 | expired, did 1.2
        """,
    ),
    Race(
        "sweep, sweep",
        lambda jobs: jobs.lost(),
        lambda on: (in_turn(on.sweeper(), on.worker()), on.sweeper()),
        """
        queued started completed | -, did 1.2 | expired
        queued started completed | expired, did 1.2 | -
        queued started completed | expired, did 1.2 | too late
        queued started completed | too late, did 1.2 | expired
        """,
    ),
    Race(
        "sweep, cancel",
        lambda jobs: jobs.lost(),
        lambda on: (in_turn(on.sweeper(), on.worker()), on.cancel()),
        """
        cancelled | -, - | ok
        cancelled | too late, - | ok
        queued cancelled | expired, - | ok
        queued started cancelled | expired, - | ok
        queued started cancelled | expired, did 1.2 | ok
        queued started completed | expired, did 1.2 | refused
        """,
    ),
    Race(
        "sweep, pause",
        lambda jobs: jobs.lost(repeats={}),
        lambda on: (in_turn(on.sweeper(), on.worker()), on.pause()),
        """
        paused failed | expired, - | ok
        paused | too late, - | ok
        queued paused | expired, - | ok
        queued started completed paused | expired, did 1.2 | ok
        queued started paused completed | expired, did 1.2 | ok
        """,
    ),
)
