"""Races of callers who cancel or pause, one job or many, with whatever else happens to it."""

from __future__ import annotations

from typing import Final

from jobs.lifecycle import Action
from tests.races.actors import in_turn
from tests.races.race import Race

RACES: Final = (
    Race(
        "cancel, claim",
        lambda jobs: jobs.queued(),
        lambda on: (on.worker(), on.cancel()),
        """
        cancelled | - | ok
        started cancelled | - | ok
        started cancelled | did 1.1 | ok
        started completed | did 1.1 | refused
        """,
    ),
    Race(
        "cancel, fail and wait for a retry",
        lambda jobs: jobs.queued(retries=1),
        lambda on: (on.worker(fails=True), on.cancel()),
        """
        cancelled | - | ok
        started cancelled | - | ok
        started cancelled | did 1.1 | ok
        started retrying cancelled | did 1.1 | ok
        """,
    ),
    Race(
        "cancel, complete",
        lambda jobs: jobs.running(),
        lambda on: (on.first_worker(), on.cancel()),
        """
        cancelled | did 1.1 | ok
        completed | did 1.1 | refused
        """,
    ),
    Race(
        "cancel, complete, repeats",
        lambda jobs: jobs.running(repeats={}),
        lambda on: (on.first_worker(), on.cancel()),
        """
        cancelled | did 1.1 | ok
        completed cancelled | did 1.1 | ok
        """,
    ),
    Race(
        "cancel, heartbeat and progress",
        lambda jobs: jobs.running(),
        lambda on: (in_turn(on.heart(), on.progress(), on.heart()), on.cancel()),
        """
        cancelled | cancelled, -, cancelled | ok
        cancelled | held, -, cancelled | ok
        progress cancelled | held, told, cancelled | ok
        progress cancelled | held, told, held | ok
        """,
    ),
    Race(
        "cancel, cancel and delete",
        lambda jobs: jobs.running(),
        lambda on: (on.cancel(), in_turn(on.cancel(), on.delete())),
        """
        cancelled deleted | gone | ok, ok
        cancelled deleted | ok | same, ok
        cancelled deleted | same | ok, ok
        """,
    ),
    Race(
        "cancel, retry that is due",
        lambda jobs: jobs.waiting(),
        lambda on: (in_turn(on.promoter(), on.worker()), on.cancel()),
        """
        cancelled | -, - | ok
        queued cancelled | moved, - | ok
        queued started cancelled | moved, - | ok
        queued started cancelled | moved, did 1.2 | ok
        queued started completed | moved, did 1.2 | refused
        """,
    ),
    Race(
        "pause, retry that is due",
        lambda jobs: jobs.waiting(repeats={}),
        lambda on: (in_turn(on.promoter(), on.worker()), on.pause()),
        """
        paused | -, - | ok
        queued paused | moved, - | ok
        queued started completed paused | moved, did 1.2 | ok
        queued started paused completed | moved, did 1.2 | ok
        """,
    ),
    Race(
        "pause, complete",
        lambda jobs: jobs.running(repeats={}),
        lambda on: (on.first_worker(), on.pause()),
        """
        completed paused | did 1.1 | ok
        paused completed | did 1.1 | ok
        """,
    ),
    Race(
        "pause, pause and complete",
        lambda jobs: jobs.running(repeats={}),
        lambda on: (in_turn(on.pause(), on.first_worker()), on.pause()),
        """
        paused completed | ok, did 1.1 | same
        paused completed | same, did 1.1 | ok
        """,
    ),
    Race(
        "pause, fail",
        lambda jobs: jobs.running(repeats={}, retries=1),
        lambda on: (on.first_worker(fails=True), on.pause()),
        """
        paused failed | did 1.1 | ok
        retrying paused | did 1.1 | ok
        """,
    ),
    Race(
        "pause, claim",
        lambda jobs: jobs.queued(repeats={}),
        lambda on: (on.worker(), on.pause()),
        """
        paused | - | ok
        started completed paused | did 1.1 | ok
        started paused completed | did 1.1 | ok
        """,
    ),
    Race(
        "pause, promote and claim",
        lambda jobs: jobs.due(repeats={}),
        lambda on: (in_turn(on.promoter(), on.worker()), on.pause()),
        """
        paused | -, - | ok
        queued paused | moved, - | ok
        queued started completed paused | moved, did 1.1 | ok
        queued started paused completed | moved, did 1.1 | ok
        """,
    ),
    Race(
        "pause and resume, claim",
        lambda jobs: jobs.queued(repeats={}),
        lambda on: (on.worker(), in_turn(on.pause(), on.resume())),
        """
        paused resumed | - | ok, ok
        started completed paused resumed | did 1.1 | ok, ok
        started paused completed resumed | did 1.1 | ok, ok
        started paused completed | did 1.1 | ok, refused
        """,
    ),
    Race(
        "cancelMany, promote and claim",
        lambda jobs: jobs.due(),
        lambda on: (in_turn(on.promoter(), on.worker()), on.bulk(Action.CANCEL)),
        """
        cancelled | -, - | 1 of 1
        queued cancelled | moved, - | 1 of 1
        queued started cancelled | moved, - | 1 of 1
        queued started cancelled | moved, did 1.1 | 1 of 1
        queued started completed | moved, did 1.1 | 0 of 1
        """,
    ),
    Race(
        "pauseMany, promote and claim",
        lambda jobs: jobs.due(repeats={}),
        lambda on: (in_turn(on.promoter(), on.worker()), on.bulk(Action.PAUSE)),
        """
        paused | -, - | 1 of 1
        queued paused | moved, - | 1 of 1
        queued started completed paused | moved, did 1.1 | 1 of 1
        queued started paused completed | moved, did 1.1 | 1 of 1
        """,
    ),
    Race(
        "pause, resume and reschedule, claim",
        lambda jobs: jobs.queued(repeats={}),
        lambda on: (on.worker(), in_turn(on.pause(), on.resume(), on.reschedule())),
        """
        paused resumed rescheduled | - | ok, ok, ok
        started completed paused resumed rescheduled | did 1.1 | ok, ok, ok
        started paused completed rescheduled | did 1.1 | ok, refused, ok
        started paused completed resumed rescheduled | did 1.1 | ok, ok, ok
        started paused rescheduled completed | did 1.1 | ok, refused, ok
        """,
    ),
)
