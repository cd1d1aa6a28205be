"""I14: what operations on many jobs say that they have done."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from tests.chaos.evidence import Document, Evidence
from tests.chaos.findings import Finding, unless
from tests.chaos.history import Operation, Outcome

MANY: Final = ("cancelMany", "pauseMany", "resumeMany", "retryMany", "deleteMany")
_TOLD_WITH_REASON: Final = {"cancel": "job.cancelled", "pause": "job.paused"}


def operations_on_many_are_exact(evidence: Evidence) -> Finding:
    finding = Finding("I14", "operations on many jobs are carried out to their end, and count what they have changed")
    for operation in evidence.operations.values():
        finding.look(_unfinished(operation))
    for complaint in _miscounted_by_reason(evidence):
        finding.look(complaint)
    for done in evidence.history.of(*MANY, outcome=Outcome.OK):
        stored = evidence.operations.get(done.answer["id"])
        if stored is None:
            finding.look([f"{done.answer['id']} was acknowledged, and is not stored"])
        else:
            finding.look(_inexact(evidence, done, stored))
    return finding


def _unfinished(operation: Document) -> Iterator[str]:
    seen = operation["count"] + operation["skipped"]
    name = operation["_id"]
    yield from unless(operation["status"] == "completed", f"{name} is {operation['status']} in the end")
    yield from unless(seen == operation["matched"], f"{name} is about {operation['matched']} jobs, and has seen {seen}")


def _miscounted_by_reason(evidence: Evidence) -> Iterator[Iterator[str]]:
    told = Counter((event["type"], event["reason"]) for event in evidence.events)
    counted: defaultdict[tuple[str, str], int] = defaultdict(int)
    for operation in evidence.operations.values():
        if operation["action"] in _TOLD_WITH_REASON:
            counted[_TOLD_WITH_REASON[operation["action"]], operation["reason"]] += operation["count"]
    for (kind, reason), count in counted.items():
        changed = told[kind, reason]
        yield unless(changed == count, f"{reason}: counts {count} changed, and {changed} jobs tell {kind}")


def _inexact(evidence: Evidence, done: Operation, operation: Document) -> Iterator[str]:
    """What it matched and changed, by what was dispatched for it alone. Nobody knows what became of lost answers."""
    tags = done.arguments["filter"].get("tags")
    if tags is None:
        return
    members = [one for one in evidence.history.of("dispatch") if one.arguments["input"].get("tags") == tags]
    known = [str(one.answer["id"]) for one in members if one.outcome is Outcome.OK]
    unknown = sum(one.outcome is Outcome.UNKNOWN for one in members)
    matched, count = operation["matched"], operation["count"]
    name = f"{done.kind} {operation['_id']}"
    yield from unless(
        len(known) <= matched <= len(known) + unknown,
        f"{name} matched {matched} jobs of {len(known)} and {unknown} that are perhaps there",
    )
    changed = sum(_tells_of(done.kind, evidence.told.get(job, ())) for job in known)
    if done.kind in ("deleteMany", "retryMany"):
        yield from unless(
            changed <= count <= changed + unknown, f"{name} counts {count} changed, and {changed} of its jobs tell so"
        )


def _tells_of(kind: str, told: Sequence[Document]) -> bool:
    if kind == "deleteMany":
        return any(event["type"] == "job.deleted" for event in told)
    return any(before["status"] == "failed" and event["type"] == "job.scheduled" for before, event in pairwise(told))
