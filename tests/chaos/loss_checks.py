"""The rest of I3: who is called lost, how soon, and how often one run may lose its worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from jobs.decisions import MAX_EXPIRIES, WORKER_LOST
from tests.chaos.evidence import Document, Evidence
from tests.chaos.findings import Finding, unless
from tests.chaos.fleet import LEASE_SECONDS
from tests.chaos.ledger import Effect

NOTICED_WITHIN: Final = LEASE_SECONDS + 5.0
"""Seconds from the death of a worker until its runs are given away, while MongoDB is there."""
_SLACK: Final = 1.0
_CLOCKS: Final = 0.05
"""Seconds that a worker's estimate of the database's clock may be wrong by."""
LOST: Final = "was lost"


def only_the_dead_and_the_deaf_are_lost(evidence: Evidence) -> Finding:
    finding = Finding(
        "I3b",
        f"only a worker that died or stood still is called lost, within {NOTICED_WITHIN:g} s; the third ends a run",
    )
    for job, told in evidence.told.items():
        started = 0.0
        for event in told:
            if event["type"] == "job.started":
                started = event["at"].timestamp()
            elif tells_of_loss(event):
                finding.look(_unfounded(evidence, job, event, started))
        finding.look(_miscounted(job, told))
    for effect in evidence.effects:
        finding.look(_unnoticed(evidence, effect))
    return finding


def tells_of_loss(event: Document) -> bool:
    """The run went to another worker, or ended because it must not: the job was paused, or lost its worker too often."""
    return _failed_for_it(event) or LOST in (event["reason"] or "")


def _failed_for_it(event: Document) -> bool:
    return str(event["type"]) == "job.failed" and event["error"]["code"] == WORKER_LOST


def _unfounded(evidence: Evidence, job: str, event: Document, started: float) -> Iterator[str]:
    """An outage is no worker's fault: one that lived through it gives its runs back, unless a handler kept it from that."""
    at = event["at"].timestamp()
    begun = [effect for effect in evidence.work.get(job, ()) if started - _CLOCKS < effect.began < at]
    # Where no handler has begun, it was lost between its claim and that: nobody knows who it was.
    if begun:
        last = begun[-1]
        since = last.began - LEASE_SECONDS
        died = evidence.deaths.get(last.pid, at) < at
        deaf = evidence.was_blocked(last.pid, since, at) and evidence.was_without_mongodb(since, at)
        yield from unless(
            died or deaf or evidence.was_frozen(last.pid, since, at),
            f"{job}: process {last.pid} was called lost at {at - evidence.began:.1f} s, and was well",
        )


def _miscounted(job: str, told: Sequence[Document]) -> Iterator[str]:
    losses, paused = 0, False
    for event in told:
        paused = (paused or event["type"] == "job.paused") and event["type"] != "job.resumed"
        losses += tells_of_loss(event)
        if _failed_for_it(event):
            yield from unless(
                losses == MAX_EXPIRIES or paused, f"{job}: a run failed for losing its worker {losses} times"
            )
        if event["run"] or event["status"] in ("cancelled", "paused", "scheduled"):
            losses = 0 if event["type"] != "job.retrying" else losses


def _unnoticed(evidence: Evidence, effect: Effect) -> Iterator[str]:
    """What became of an attempt whose worker died at it."""
    died = evidence.deaths.get(effect.pid)
    by = (died or 0.0) + NOTICED_WITHIN + _SLACK
    if died is None or effect.ended != died or evidence.was_without_mongodb(died - LEASE_SECONDS, by):
        return
    after = [event for event in evidence.told.get(effect.job, ()) if event["at"].timestamp() > effect.began]
    noticed = min((event["at"].timestamp() for event in after if event["type"] != "job.progress"), default=None)
    yield from unless(
        noticed is None or noticed <= by,
        f"{effect.job}: process {effect.pid} died at it, and nothing was done about it for "
        f"{(noticed or by) - died:.1f} s",
    )
