"""What must hold of a job whatever it has been through, read off its document: the invariants of the lifecycle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from jobs.recurrence import next_after
from jobs.times import MILLISECOND
from storage.documents import Document, job_from_document
from tests.lifecycle_tables import first_forbidden
from tests.races.turns import Played

TERMINAL: Final = {"completed", "failed", "cancelled"}


def told(document: Document) -> list[tuple[str, str]]:
    """Its events, each with the status after it."""
    entries = [(one["type"].removeprefix("job."), one["status"]) for one in document["outbox"]]
    return [(name, "gone" if name == "deleted" else status) for name, status in entries]


def check(document: Document, played: Played, before: Document) -> None:
    """All of it. ``before``: what the job was when the actors began."""
    check_told(document)
    check_pauses_and_cancels(told(document))
    check_runs(document)
    check_occurrences(document)
    check_changes(document, played, before)
    check_attempts(document, played)
    check_leases(played)
    if document["status"] == "cancelled":
        check_last_look(played)


def check_changes(document: Document, played: Played, before: Document) -> None:
    """What has changed the job, and nothing else, was counted; and told of, but for heartbeats."""
    assert document["revision"] - before["revision"] == len(played.changes), (
        "a write changed it that should have missed"
    )
    speaking = [at for at in played.changes if played.steps[at][1] != "renew"]
    assert len(document["outbox"]) - len(before["outbox"]) >= len(speaking), "a change was not told of"


def check_told(document: Document) -> None:
    assert [one["seq"] for one in document["outbox"]] == list(range(1, document["event_seq"] + 1))
    forbidden = first_forbidden(told(document))
    assert forbidden is None, f"not a path through the table: {told(document)[: (forbidden or 0) + 1]}"
    last = "gone" if document["deleted_at"] else document["status"]
    assert told(document)[-1][1] == last, "its status is not the one it told of last"


def check_pauses_and_cancels(events: list[tuple[str, str]]) -> None:
    """Nothing starts behind a cancel, nor between a pause and what ends it; what is over moves only when it is retried."""
    rests = False
    for (_, status), (name, _) in pairwise([("", "new"), *events]):
        rests = name == "paused" or (rests and name not in ("resumed", "cancelled") and status != "failed")
        assert not (rests and name == "started"), "it was started while it was paused"
        if status in TERMINAL:
            is_ending = (name, status) == ("completed", "completed")  # of a resume, which tells of both
            assert name == "deleted" or (status == "failed" and name in ("scheduled", "queued")) or is_ending


def check_runs(document: Document) -> None:
    ended = [entry["execution"] for entry in document["outbox"] if entry["execution"]]
    assert max(Counter(run["number"] for run in ended).values(), default=1) == 1, "a run has ended twice"
    for run in ended:
        if run["status"] == "completed":
            assert run["result"] == run["attempts"], "it was not the attempt begun last that said how the run ended"
    assert sum(document["tally"].values()) == len(ended)
    run = document["run"]
    assert (run is not None and run["token"] is not None) == (document["status"] == "running")
    if document["status"] in TERMINAL:
        assert (run, document["next_run_at"]) == (None, None)
    assert (document["completed_at"] is not None) >= (document["status"] in TERMINAL)


def check_occurrences(document: Document) -> None:
    """None beyond the limit or the end; none run twice, or both run and passed over."""
    recurrence = document["recurrence"]
    if recurrence is None:
        return
    limit, end = recurrence["max_executions"], recurrence["end_date"]
    assert limit is None or document["execution_count"] <= limit + _asked_for(told(document))
    taken = sorted(_taken(document))
    assert len(taken) == len(set(taken)), "an occurrence was accounted for twice"
    assert end is None or all(one <= end for one in taken)
    due_at = document["next_run_at"]
    if due_at is not None and document["run"] is None:
        rule = job_from_document(document).recurrence
        assert rule is not None
        assert next_after(rule, due_at - MILLISECOND) == due_at, "what comes next is not an instant of its schedule"


def _asked_for(events: list[tuple[str, str]]) -> int:
    """How many runs were asked for by hand, beyond the schedule."""
    return sum(status == "failed" and name == "scheduled" for (_, status), (name, _) in pairwise(events))


def _taken(document: Document) -> Iterable[datetime]:
    for entry in document["outbox"]:
        if entry["execution"]:
            yield entry["execution"]["scheduled_for"]
        if passed := entry.get("passed_over"):
            step = (passed["last"] - passed["first"]) / max(1, passed["count"] - 1) or timedelta(1)
            yield from (passed["first"] + number * step for number in range(passed["count"]))
    if document["run"]:
        yield document["run"]["scheduled_for"]


def check_attempts(document: Document, played: Played) -> None:
    """None is made twice, and none that was not told of."""
    made = [word for answer in played.answers for word in answer.replace(",", "").split() if "." in word]
    assert len(made) == len(set(made)), "two workers have made the same attempt"
    assert len(made) <= [name for name, _ in told(document)].count("started")


def check_last_look(played: Played) -> None:
    """Of a cancelled job: no handler is called whose worker could have seen by then that it is cancelled.

    A worker looks at the job once more behind its claim, and calls the handler next. The first worker has done so before.
    """
    cancelled_at = played.changes[-1]
    for at, (worker, what) in enumerate(played.steps):
        own = [one for one in range(at) if played.steps[one][0] == worker]
        claimed = any(played.steps[one][1] == "bulk_write" for one in own)
        if what == "effect" and claimed and at > cancelled_at:
            assert played.steps[own[-1]][1] == "find", "its worker has not looked at all"
            assert own[-1] < cancelled_at, "its worker has looked, and called the handler all the same"


def check_leases(played: Played) -> None:
    """Who was told that it holds its run does not lose it to a sweeper, the only one here who updates one job in that way."""
    changes = [played.steps[at] for at in played.changes]
    for number, (worker, what) in enumerate(changes):
        if what == "renew":
            lost = [other for other in changes[number:] if other[0] != worker and other[1] == "update_one"]
            assert not lost, "a lease was taken that had been renewed"


def ending(document: Document, played: Played, before: Document) -> str:
    """What came of it, in words: what the job told meanwhile, and what the actors make of it."""
    names = [name for name, _ in told(document)[len(before["outbox"]) :]]
    return f"{' '.join(names) or 'nothing'} | {' | '.join(played.answers)}"
