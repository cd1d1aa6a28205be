"""I9 and I10: what is told, and to whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from jobs.feed import feed_number
from tests.chaos.evidence import Document, Evidence
from tests.chaos.findings import Finding, unless
from tests.chaos.history import Operation, Outcome
from tests.chaos.subscribers import Subscriber

_TOLD_BY: Final = {
    "cancel": "job.cancelled",
    "pause": "job.paused",
    "resume": "job.resumed",
    "reschedule": "job.rescheduled",
    "retry": "job.scheduled",
    "delete": "job.deleted",
}


def the_log_is_without_gaps(evidence: Evidence) -> Finding:
    finding = Finding("I9", "each job's events are gap-free and in order, and tell of every acknowledged change")
    finding.look(_holes(evidence.events))
    for job, told in evidence.told.items():
        numbers = [event["seq"] for event in told]
        finding.look(unless(numbers == list(range(1, len(numbers) + 1)), f"{job} has the events {numbers}"))
    for stored in evidence.jobs.values():
        finding.look(_behind(stored, evidence.told.get(stored["_id"], [])))
    for kind in _TOLD_BY:
        for job, asked in _asked(evidence, kind).items():
            finding.look(_untold(kind, job, asked, evidence.told.get(job, [])))
    return finding


def _behind(job: Document, told: Sequence[Document]) -> Iterator[str]:
    yield from unless(
        len(told) == job["event_seq"], f"{job['_id']} has told {job['event_seq']} events, the log {len(told)}"
    )
    if told:
        yield from unless(
            told[-1]["status"] == job["status"], f"{job['_id']} is {job['status']}, says {told[-1]['status']}"
        )


def _asked(evidence: Evidence, kind: str) -> Mapping[str, list[Operation]]:
    """The operations of one kind that may have taken place, by their job."""
    asked: defaultdict[str, list[Operation]] = defaultdict(list)
    for done in evidence.history.of(kind):
        if done.outcome is not Outcome.REFUSED:
            asked[done.arguments["id"]].append(done)
    return asked


def _holes(events: Sequence[Document]) -> Iterator[str]:
    for number, event in enumerate(events, start=1):
        if event["_id"] != number:
            yield f"the log has {event['_id']} where {number} was next"
            return


def _untold(kind: str, job: str, asked: Sequence[Operation], told: Sequence[Document]) -> Iterator[str]:
    """Each change is told at least once, and not more often than it was asked for: a lost answer is no second request."""
    count = sum(event["type"] == _TOLD_BY[kind] for event in told)
    if kind == "retry":
        count = sum(
            before["status"] == "failed" and event["type"] == "job.scheduled" for before, event in pairwise(told)
        )
    acknowledged = sum(done.outcome is Outcome.OK for done in asked)
    yield from unless(
        count >= min(1, acknowledged), f"{kind} of {job} was acknowledged, and the log does not tell of it"
    )
    # All that are paused are resumed in the end, by an operation on many.
    if kind != "resume":
        yield from unless(
            count <= len(asked), f"{job} tells {count} times of {kind}, and was asked to {len(asked)} times"
        )


def subscribers_miss_nothing(evidence: Evidence) -> Finding:
    finding = Finding("I10", "a subscriber that goes on behind its cursor hears every later event, once and in order")
    stored = {event["_id"]: event for event in evidence.events}
    for number, subscriber in enumerate(evidence.subscribers):
        finding.look(_misheard(evidence, f"subscriber {number}", subscriber, stored))
    connections = sum(subscriber.connections for subscriber in evidence.subscribers)
    finding.note = f"{sum(len(one.heard) for one in evidence.subscribers)} events over {connections} connections"
    return finding


def _misheard(evidence: Evidence, name: str, subscriber: Subscriber, stored: Mapping[int, Document]) -> Iterator[str]:
    numbers = [feed_number(event["cursor"]) for event in subscriber.heard]
    if not numbers:
        yield f"{name} heard nothing"
        return
    expected = list(range(numbers[0], len(stored) + 1))
    if numbers != expected:
        missing = sorted(set(expected) - set(numbers))
        yield f"{name}: {len(missing)} events missing, first {missing[:3]}; {len(numbers)} heard of {len(expected)}"
    for number, event in zip(numbers, subscriber.heard, strict=True):
        known = stored.get(number)
        if known is None or (known["job_id"], known["seq"]) != (event["jobId"], event["seq"]):
            yield f"{name} heard something else under number {number} than what the log has there"
            return
    for refusal in subscriber.refusals:
        causes = [cause for defect, cause in evidence.defects.items() if defect in refusal]
        yield from unless("UNAVAILABLE" in refusal, f"{name} was refused: {refusal} {causes}")
