"""I1 to I6 and I15: what becomes of jobs and of the attempts at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

from tests.chaos.evidence import Document, Evidence, is_over
from tests.chaos.findings import Finding, unless
from tests.chaos.fleet import DRAIN_SECONDS, GRACE_SECONDS, LEASE_SECONDS
from tests.chaos.history import Outcome
from tests.chaos.ledger import Effect, End
from tests.chaos.loss_checks import LOST, tells_of_loss
from tests.chaos.tasks import NOT_YET
from tests.lifecycle_tables import first_forbidden

HEARTBEAT: Final = LEASE_SECONDS / 3
_SLACK: Final = 1.0
"""Seconds that a machine with two cores may be late with anything, while a dozen processes start and die on it."""
_EXIT_SLACK: Final = 6.0


def every_acknowledged_dispatch_is_done(evidence: Evidence) -> Finding:
    finding = Finding("I1", "every acknowledged dispatch is executed at least once, and is over in time")
    for done in evidence.history.of("dispatch", outcome=Outcome.OK):
        finding.look(_undone(evidence, str(done.answer["id"])))
    finding.violations += evidence.leftovers
    return finding


def _undone(evidence: Evidence, job: str) -> Iterator[str]:
    told = evidence.told.get(job)
    if not told:
        yield f"{job} was acknowledged, and is not in the log"
        return
    status = told[-1]["status"]
    yield from unless(is_over(status), f"{job} is {status} in the end")
    ends = {(effect.run, effect.end) for effect in evidence.work.get(job, ())}
    for event in told:
        run = event["run"]
        if run and run["status"] == "completed":
            yield from unless(
                (run["number"], End.DONE) in ends, f"{job}: no handler came to the end of run {run['number']}"
            )
        elif run and run["status"] == "failed" and event["error"]["code"] == NOT_YET:
            yield from unless((run["number"], End.FAILED) in ends, f"{job}: no handler failed in run {run['number']}")


def no_run_ends_twice(evidence: Evidence) -> Finding:
    finding = Finding("I2", "no run ends twice, and what is over never changes but by a retry")
    for job, told in evidence.told.items():
        finding.look(_impossible(job, told))
    return finding


def _impossible(job: str, told: Sequence[Document]) -> Iterator[str]:
    steps = [(_short(event), "gone" if _short(event) == "deleted" else event["status"]) for event in told]
    at = first_forbidden(steps)
    if at is not None:
        yield f"{job}: nothing may lead to {steps[at]} after {steps[max(0, at - 3) : at]}"
    ended = [event["execution_count"] for event in told if _short(event) == "completed" and event["run"]]
    yield from unless(len(ended) == len(set(ended)), f"{job}: a run is completed twice: {ended}")


def attempts_overlap_only_after_a_lease(evidence: Evidence) -> Finding:
    finding = Finding("I3", "two attempts are under way at once only where a worker stood still for a lease")
    for job, work in evidence.work.items():
        finding.look(_overlaps(evidence, job, work))
    return finding


def _overlaps(evidence: Evidence, job: str, work: Sequence[Effect]) -> Iterator[str]:
    for first, second in combinations(work, 2):
        if second.began >= first.ended:
            continue
        yield from unless(
            _was_frozen_before_it_began(evidence, second, first)
            or _could_not_stop_once_lost(evidence, job, first, second),
            f"{job}: attempt {second.attempt} began {first.ended - second.began:.2f} s before attempt {first.attempt} "
            f"of process {first.pid} had ended ({first.end}, {first.task})",
        )


def _was_frozen_before_it_began(evidence: Evidence, older: Effect, younger: Effect) -> bool:
    """Whether an attempt stood still between its claim and its first line, and was given to another meanwhile."""
    is_older = (older.run, older.attempt) < (younger.run, younger.attempt)
    return is_older and evidence.was_frozen(older.pid, younger.began, older.began)


def _could_not_stop_once_lost(evidence: Evidence, job: str, first: Effect, second: Effect) -> bool:
    told = evidence.told.get(job, ())
    lost = any(first.began < event["at"].timestamp() <= second.began for event in told if tells_of_loss(event))
    return lost and _could_not_stop(evidence, first)


def _could_not_stop(evidence: Evidence, effect: Effect) -> bool:
    """Whether nobody could tell the handler that its lease is over. A blocked loop is no excuse while MongoDB is there."""
    blocked = evidence.was_blocked(effect.pid, effect.began, effect.ended)
    away = evidence.was_without_mongodb(effect.began, effect.ended)
    return evidence.was_frozen(effect.pid, effect.began, effect.ended) or (blocked and away)


def _stood_still(evidence: Evidence, pid: int, since: float, until: float) -> bool:
    return evidence.was_frozen(pid, since, until) or evidence.was_blocked(pid, since, until)


def stale_workers_change_nothing(evidence: Evidence) -> Finding:
    finding = Finding("I4", "a worker that has lost its lease changes nothing")
    finding.note = f"{evidence.stale_finishes} stale results refused"
    for run in evidence.executions:
        if isinstance(run["result"], dict) and "attempt" in run["result"]:
            told, began = run["result"]["attempt"], run["attempts"]
            whose = f"run {run['number']} of {run['job_id']}"
            finding.look(
                unless(told == began, f"{whose}: attempt {began} had the lease, attempt {told} has its result")
            )
    return finding


def cancelled_jobs_do_not_start(evidence: Evidence) -> Finding:
    finding = Finding("I5", "nothing starts or completes after its cancellation; a handler is told within a heartbeat")
    for told in evidence.told.values():
        finding.look(_after(told, "cancelled", ("started", "completed"), until=("scheduled",)))
    for done in evidence.history.of("cancel", outcome=Outcome.OK):
        finding.look(_goes_on(evidence, done.answer["id"], done.ended))
    return finding


def _goes_on(evidence: Evidence, job: str, cancelled: float) -> Iterator[str]:
    for effect in evidence.work.get(job, ()):
        late = effect.began > cancelled + _SLACK
        if late and not _stood_still(evidence, effect.pid, cancelled, effect.began):
            yield f"{job}: a handler began {effect.began - cancelled:.2f} s after the cancellation was acknowledged"
        stopped_in_time = effect.ended <= cancelled + HEARTBEAT + 1 + _SLACK
        if not stopped_in_time and effect.end is not End.LOST and not _unheard(evidence, effect, cancelled):
            yield f"{job}: its handler went on for {effect.ended - cancelled:.2f} s after the cancellation"


def _unheard(evidence: Evidence, effect: Effect, cancelled: float) -> bool:
    """Whether the worker could not be told in time: Redis is not needed for that, MongoDB is."""
    by_then = cancelled + HEARTBEAT + 1
    return _stood_still(evidence, effect.pid, cancelled, by_then) or evidence.was_without_mongodb(
        cancelled - 5, by_then
    )


def paused_jobs_do_not_start(evidence: Evidence) -> Finding:
    finding = Finding("I6", "nothing starts while it is paused")
    for told in evidence.told.values():
        finding.look(_after(told, "paused", ("started",), until=("resumed",)))
    for done in evidence.history.of("pause", outcome=Outcome.OK):
        finding.look(_starts_while_paused(evidence, done.answer["id"], done.ended))
    return finding


def _starts_while_paused(evidence: Evidence, job: str, paused: float) -> Iterator[str]:
    resumed = [
        *(one.began for one in evidence.history.of("resume") if one.arguments["id"] == job and one.ended > paused),
        evidence.healed,
    ]
    for effect in evidence.work.get(job, ()):
        if paused + _SLACK < effect.began < min(resumed) and not _stood_still(
            evidence, effect.pid, paused, effect.began
        ):
            yield f"{job}: a handler began {effect.began - paused:.2f} s after the pause was acknowledged"


def _after(told: Sequence[Document], what: str, forbidden: Sequence[str], until: Sequence[str]) -> Iterator[str]:
    """Complaints of what is told between one event and another."""
    within = False
    for event in told:
        kind = _short(event)
        within = (within or kind == what) and kind not in until
        if within and kind in forbidden:
            yield f"{event['job_id']}: {kind} (event {event['seq']}) after {what}"


def shutdowns_cost_no_attempt(evidence: Evidence) -> Finding:
    finding = Finding("I15", "a worker that is told to stop ends in time; that costs no attempt and doubles nothing")
    for job, told in evidence.told.items():
        finding.look(_miscounted(job, told, {run["number"]: run for run in evidence.runs.get(job, ())}))
    for fault in evidence.faults:
        for pid in fault.pids if fault.kind == "worker told to stop" else ():
            took = evidence.deaths.get(pid, float("inf")) - fault.began
            finding.look(
                unless(took < DRAIN_SECONDS + GRACE_SECONDS + _EXIT_SLACK, f"process {pid} took {took:.1f} s to stop")
            )
    return finding


def _miscounted(job: str, told: Sequence[Document], runs: dict[int, Document]) -> Iterator[str]:
    """Attempts are one, and one more for each worker that was lost and each failure that is tried again."""
    attempts, begun = 1, 0
    for event in told:
        kind = _short(event)
        if kind == "started":
            begun = attempts
        elif kind == "retrying" or (kind == "queued" and LOST in (event["reason"] or "")):
            attempts += 1
        elif event["run"]:
            run = runs.get(event["run"]["number"])
            if run is not None and run["attempts"] != begun:
                yield f"run {run['number']} of {job} counts {run['attempts']} attempts, and has begun {begun}"
            attempts = 1
        elif kind in ("cancelled", "paused", "scheduled"):
            attempts = 1


def _short(event: Document) -> str:
    return str(event["type"]).removeprefix("job.")
