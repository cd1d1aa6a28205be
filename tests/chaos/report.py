"""A run, judged and told: which invariants held, and what the faults have cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from tests.chaos import (
    bulk_checks,
    caller_checks,
    delivery_checks,
    event_checks,
    job_checks,
    loss_checks,
    schedule_checks,
)
from tests.chaos.caller_checks import in_turn, start_waits
from tests.chaos.evidence import Evidence
from tests.chaos.findings import Finding
from tests.chaos.history import Outcome
from tests.chaos.nemesis import Fault
from tests.chaos.stalls import WORTH_NOTING

CHECKS: Final[Sequence[Callable[[Evidence], Finding]]] = (
    job_checks.every_acknowledged_dispatch_is_done,
    job_checks.no_run_ends_twice,
    job_checks.attempts_overlap_only_after_a_lease,
    loss_checks.only_the_dead_and_the_deaf_are_lost,
    job_checks.stale_workers_change_nothing,
    job_checks.cancelled_jobs_do_not_start,
    job_checks.paused_jobs_do_not_start,
    schedule_checks.every_occurrence_is_taken_once,
    schedule_checks.limits_are_kept,
    event_checks.the_log_is_without_gaps,
    event_checks.subscribers_miss_nothing,
    delivery_checks.deliveries_are_complete,
    caller_checks.one_key_makes_one_job,
    caller_checks.redis_costs_time_only,
    bulk_checks.operations_on_many_are_exact,
    job_checks.shutdowns_cost_no_attempt,
    caller_checks.overload_is_told,
)

_SHOWN: Final = 5


def judge(evidence: Evidence) -> list[Finding]:
    """All invariants."""
    return [check(evidence) for check in CHECKS]


def told(evidence: Evidence, findings: Sequence[Finding]) -> Iterator[str]:
    """The table, line by line."""
    yield from _costs(evidence)
    yield ""
    for finding in findings:
        verdict = "holds" if finding.holds else f"BROKEN {len(finding.violations)}x"
        note = f" ({finding.note})" if finding.note else ""
        yield f"  {finding.name:<4} {verdict:<12} {finding.looked_at:>6}  {finding.statement}{note}"
        yield from (f"       {violation}" for violation in finding.violations[:_SHOWN])


def _costs(evidence: Evidence) -> Iterator[str]:
    yield from _sums(evidence)
    for fault, stall, wait in _recoveries(evidence):
        at = f"{fault.began - evidence.began:4.0f} s"
        yield f"    {at} {fault.kind:<40} longest stall of acknowledgements {stall:5.2f} s, of a run in the queue {wait:5.2f} s"


def _sums(evidence: Evidence) -> Iterator[str]:
    outcomes = Counter(done.outcome for done in evidence.history.of("dispatch"))
    happened = sum(fault.happened for fault in evidence.faults)
    attempts = len(evidence.effects)
    runs = len({(effect.job, effect.run) for effect in evidence.effects})
    waits = [wait for told in evidence.told.values() for wait in start_waits(told)]
    queued, turns = sorted(wait.seconds for wait in waits), sorted(turn for _, turn in in_turn(waits))
    settled = "never" if evidence.settled is None else f"{evidence.settled - evidence.healed:.1f} s after them"
    yield (
        f"  {happened} faults ({len(evidence.faults) - happened} more that met nobody) "
        f"in {evidence.healed - evidence.began:.0f} s; all was over {settled}"
    )
    yield (
        f"  dispatches: {outcomes[Outcome.OK]} acknowledged, {outcomes[Outcome.REFUSED]} refused, "
        f"{outcomes[Outcome.UNKNOWN]} unknown; {len(evidence.events)} events"
    )
    yield f"  runs: {runs} executed, {attempts - runs} attempts more: {_why(evidence)}"
    yield f"  processes that got no turn for {WORTH_NOTING:g} s or more: {_starvation(evidence)}"
    yield f"  stale results refused: {evidence.stale_finishes}; from queued to started: {_percentiles(queued)}"
    yield f"  of that, from their turn to started: {_percentiles(turns)}"
    yield f"  from a lost worker to the next attempt: {_percentiles(sorted(_rescues(evidence)))}"


def _starvation(evidence: Evidence) -> str:
    lengths = [until - since for _, since, until in evidence.stalls]
    return f"{len(lengths)} times, {max(lengths):.2f} s at most" if lengths else "none"


def _rescues(evidence: Evidence) -> Iterator[float]:
    """How long it took from the death of a worker until an attempt that it was at was begun anew, in seconds."""
    for work in evidence.work.values():
        for first, second in pairwise(work):
            if first.run == second.run and first.pid in evidence.deaths and first.ended == evidence.deaths[first.pid]:
                yield second.began - first.ended


def _why(evidence: Evidence) -> str:
    reasons: Counter[str] = Counter()
    for event in evidence.events:
        if event["type"] == "job.retrying":
            reasons["retries"] += 1
        elif event["type"] == "job.queued" and "was lost" in (event["reason"] or ""):
            reasons["workers lost"] += 1
        elif event["type"] == "job.queued" and "shut down" in (event["reason"] or ""):
            reasons["workers stopped"] += 1
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"


def _recoveries(evidence: Evidence) -> Iterator[tuple[Fault, float, float]]:
    """For each fault until the next: the longest stall of acknowledgements, and the longest wait of a run, in seconds."""
    acknowledged = sorted(done.ended for done in evidence.history.of("dispatch", outcome=Outcome.OK))
    for fault, begin, end in evidence.windows():
        times = [begin, *(at for at in acknowledged if begin < at < end)]
        stall = max((after - before for before, after in pairwise(times)), default=end - begin)
        yield fault, stall, max(_waits_within(evidence, begin, end), default=0.0)


def _waits_within(evidence: Evidence, begin: float, end: float) -> Iterator[float]:
    for events in evidence.told.values():
        for event, after in pairwise(events):
            if (
                event["type"] == "job.queued"
                and after["type"] == "job.started"
                and begin < after["at"].timestamp() < end
            ):
                yield (after["at"] - event["at"]).total_seconds()


def _percentiles(values: Sequence[float]) -> str:
    if not values:
        return "nothing"
    p50, p99 = (values[min(len(values) - 1, int(len(values) * share))] for share in (0.5, 0.99))
    return f"p50 {p50:.3f} s, p99 {p99:.2f} s, max {values[-1]:.2f} s"
