"""I9 and I10: what is told, and to whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    for kind, event_type in _TOLD_BY.items():
        for done in evidence.history.of(kind, outcome=Outcome.OK):
            finding.look(_untold(evidence, done, event_type))
    return finding


def _holes(events: Sequence[Document]) -> Iterator[str]:
    for number, event in enumerate(events, start=1):
        if event["_id"] != number:
            yield f"the log has {event['_id']} where {number} was next"
            return


def _untold(evidence: Evidence, done: Operation, event_type: str) -> Iterator[str]:
    job = done.arguments["id"]
    told = any(event["type"] == event_type for event in evidence.told.get(job, ()))
    yield from unless(told, f"{done.kind} of {job} was acknowledged, and the log has no {event_type}")


def subscribers_miss_nothing(evidence: Evidence) -> Finding:
    finding = Finding("I10", "a subscriber that goes on behind its cursor hears every later event, once and in order")
    stored = {event["_id"]: event for event in evidence.events}
    for number, subscriber in enumerate(evidence.subscribers):
        finding.look(_misheard(f"subscriber {number}", subscriber, stored))
    connections = sum(subscriber.connections for subscriber in evidence.subscribers)
    finding.note = f"{sum(len(one.heard) for one in evidence.subscribers)} events over {connections} connections"
    return finding


def _misheard(name: str, subscriber: Subscriber, stored: Mapping[int, Document]) -> Iterator[str]:
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
    yield from (f"{name} was refused: {refusal}" for refusal in subscriber.refusals if "UNAVAILABLE" not in refusal)
