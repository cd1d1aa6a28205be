"""I7 and I8: what becomes of occurrences."""

from __future__ import annotations

from collections.abc import Iterator
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
    accounted = sorted([*_taken(evidence, job["_id"]), *_passed_over(evidence, job["_id"], step)])
    if not accounted:
        return
    # A grid may begin before its job was dispatched: the job says at its dispatch what it begins with.
    first = evidence.told[job["_id"]][0]["scheduled_at"]
    expected = [first + number * step for number in range(len(accounted))]
    if accounted != expected:
        odd = next(pair for pair in zip(accounted, expected, strict=True) if pair[0] != pair[1])
        yield f"{job['_id']}: {odd[0]:%H:%M:%S.%f} where {odd[1]:%H:%M:%S.%f} was due (every {step})"


def _taken(evidence: Evidence, job: str) -> Iterator[datetime]:
    for run in evidence.runs.get(job, ()):
        yield run["scheduled_for"]


def _passed_over(evidence: Evidence, job: str, step: timedelta) -> Iterator[datetime]:
    for event in evidence.told.get(job, ()):
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
    runs = evidence.runs.get(job["_id"], [])
    if limit is not None:
        yield from unless(
            max(len(runs), job["execution_count"]) <= limit, f"{job['_id']} has run {len(runs)} times, not {limit}"
        )
    if end is not None:
        late = [run["scheduled_for"] for run in runs if run["scheduled_for"] > end]
        yield from unless(not late, f"{job['_id']} has run for {late}, after its end at {end}")
