"""I7 and I8: what becomes of occurrences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from tests.chaos.evidence import Document, Evidence
from tests.chaos.findings import Finding, unless
from tests.chaos.loader import CRON


def every_occurrence_is_taken_once(evidence: Evidence) -> Finding:
    finding = Finding("I7", "each occurrence is run once, or told to be passed over, and none is left out")
    for job in evidence.jobs.values():
        recurrence = job["recurrence"]
        if recurrence is not None:
            step = timedelta(minutes=1) if job["product"] == CRON else timedelta(milliseconds=recurrence["every"])
            finding.look(_unaccounted(evidence, job, step))
    return finding


def _unaccounted(evidence: Evidence, job: Document, step: timedelta) -> Iterator[str]:
    told = evidence.told.get(job["_id"])
    if not told:
        return
    taken = list(_taken(told))
    accounted = sorted([*taken, *_passed_over(told, step)])
    # A grid may begin before its job was dispatched: the job says at its dispatch what it begins with.
    first = told[0]["scheduled_at"]
    if job["status"] == "completed":
        yield from _ended_early(job, len(taken), first + len(accounted) * step)
    expected = [first + number * step for number in range(len(accounted))]
    if accounted != expected:
        odd = next(pair for pair in zip(accounted, expected, strict=True) if pair[0] != pair[1])
        yield f"{job['_id']}: {odd[0]:%H:%M:%S.%f} where {odd[1]:%H:%M:%S.%f} was due (every {step})"


def _ended_early(job: Document, runs: int, following: datetime) -> Iterator[str]:
    limit, end = job["recurrence"]["max_executions"], job["recurrence"]["end_date"]
    is_exhausted = (limit is not None and runs >= limit) or (end is not None and following > end)
    yield from unless(
        is_exhausted, f"{job['_id']} ended after {runs} of {limit} runs, with {following} to come (end {end})"
    )


def _taken(told: Sequence[Document]) -> Iterator[datetime]:
    """By the log, which has every run that ended; the history would refuse a second one for the same occurrence."""
    for event in told:
        if event["run"]:
            yield event["run"]["scheduled_for"]


def _passed_over(told: Sequence[Document], step: timedelta) -> Iterator[datetime]:
    for event in told:
        passed = event.get("passed_over")
        if passed is not None:
            yield from (passed["first"] + number * step for number in range(passed["count"]))


def limits_are_kept(evidence: Evidence) -> Finding:
    finding = Finding("I8", "no job runs more often than its limit, nor for an instant after its end date")
    for job in evidence.jobs.values():
        if job["recurrence"] is not None:
            finding.look(_beyond(evidence, job))
    return finding


def _beyond(evidence: Evidence, job: Document) -> Iterator[str]:
    limit, end = job["recurrence"]["max_executions"], job["recurrence"]["end_date"]
    runs = [event["run"] for event in evidence.told.get(job["_id"], ()) if event["run"]]
    if limit is not None:
        yield from unless(
            max(len(runs), job["execution_count"]) <= limit, f"{job['_id']} has run {len(runs)} times, not {limit}"
        )
    if end is not None:
        late = [run["scheduled_for"] for run in runs if run["scheduled_for"] > end]
        yield from unless(not late, f"{job['_id']} has run for {late}, after its end at {end}")
