"""I12, I13 and I16: what callers can rely on."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.chaos.bulk_checks import MANY
from tests.chaos.evidence import Document, Evidence
from tests.chaos.findings import Finding, unless
from tests.chaos.fleet import GATEWAYS
from tests.chaos.history import Operation, Outcome

ANSWERED_WITHIN: Final = 12.0
"""Seconds: ten, and two for a machine that has a dozen processes on two cores."""
SEARCHED_WITHIN: Final = 45.0
"""Seconds for operations on many jobs, which may look for them for 30."""
STARTED_WITHIN: Final = 20.0
"""Seconds at most until a run is started whose turn it is, outages included."""

_HONEST: Final = frozenset({"UNAVAILABLE", "TRANSITION_REFUSED", "NOT_FOUND", "FILTER_TIMEOUT", "INVALID_INPUT"})
"""The last, since a call that has to wait can come after the end date that it asks for."""


def one_key_makes_one_job(evidence: Evidence) -> Finding:
    finding = Finding("I12", "all dispatches with one idempotency key make one job, and answer its id")
    answered: defaultdict[str, set[str]] = defaultdict(set)
    for done in evidence.history.of("dispatch"):
        key = done.arguments["input"].get("idempotencyKey")
        if key:
            answered[key] |= {done.answer["id"]} if done.outcome is Outcome.OK else set()
    made: defaultdict[str, set[str]] = defaultdict(set)
    for event in evidence.events:
        if event["idempotency_key"]:
            made[event["idempotency_key"]].add(event["job_id"])
    for key, ids in answered.items():
        finding.look(unless(len(made[key]) <= 1 and ids <= made[key], f"{key} made {made[key]}, answered {ids}"))
    return finding


def redis_costs_time_only(evidence: Evidence) -> Finding:
    finding = Finding(
        "I13", f"without what Redis holds, runs start later, and within {STARTED_WITHIN:g} s once it is their turn"
    )
    for wait, turn in in_turn(wait for told in evidence.told.values() for wait in start_waits(told)):
        finding.look(
            unless(
                turn <= STARTED_WITHIN,
                f"{wait.job} was queued for {wait.seconds:.1f} s before it started, {turn:.1f} s of them as the next one",
            )
        )
    return finding


@dataclass(frozen=True, slots=True)
class StartWait:
    """One run, from queued to started: seconds since the epoch."""

    job: str
    queued: float
    started: float

    @property
    def seconds(self) -> float:
        return self.started - self.queued


def start_waits(told: Sequence[Document]) -> Iterator[StartWait]:
    """The waits of a job's runs."""
    queued = None
    for event in told:
        if event["type"] == "job.queued":
            queued = event["at"].timestamp()
        elif event["type"] == "job.started" and queued is not None:
            yield StartWait(event["job_id"], queued, event["at"].timestamp())


def in_turn(waits: Iterable[StartWait]) -> Iterator[tuple[StartWait, float]]:
    """Each with the seconds that it waited after the last start of one that had been queued before it.

    What comes before that is how much there is to do on how fast a machine; a run that was forgotten is passed by all that
    were queued earlier, and goes on waiting.
    """
    starts: list[float] = []
    for wait in sorted(waits, key=lambda one: one.queued):
        place = bisect_right(starts, wait.started)
        turn_since = max(wait.queued, starts[place - 1]) if place else wait.queued
        yield wait, wait.started - turn_since
        starts.insert(place, wait.started)


def overload_is_told(evidence: Evidence) -> Finding:
    finding = Finding(
        "I16", f"what cannot be done is refused within {ANSWERED_WITHIN:g} s, honestly, with a time to ask again"
    )
    stored = {job["input"].get("call") for job in evidence.jobs.values()}
    for done in evidence.history.of():
        finding.look([*_dishonest(evidence, done), *_stored_all_the_same(done, stored)])
    refused = sum(done.code == "UNAVAILABLE" for done in evidence.history.of())
    finding.note = f"{refused} operations answered UNAVAILABLE"
    return finding


def _dishonest(evidence: Evidence, done: Operation) -> Iterator[str]:
    if done.outcome is Outcome.OPEN:
        yield f"a {done.kind} was never answered"
        return
    within = SEARCHED_WITHIN if done.kind in MANY else ANSWERED_WITHIN
    if not _was_frozen(evidence, done):
        yield from unless(
            done.seconds - evidence.stood_still(done.sent, done.ended) <= within,
            f"a {done.kind} of gateway {done.gateway} at {done.began - evidence.began:.0f} s took {done.seconds:.1f} s "
            f"({done.outcome} {done.code})",
        )
    if done.answer and done.outcome is not Outcome.OK:
        defect = evidence.defects.get(done.answer.get("extensions", {}).get("correlationId"), "")
        yield from unless(done.code in _HONEST, f"a {done.kind} was answered {done.code}: {done.answer} {defect}")
    if done.code == "UNAVAILABLE":
        again = done.answer["extensions"].get("retryAfter", 0)
        yield from unless(again > 0, f"a {done.kind} was refused without a time to ask again: {done.answer}")


def _was_frozen(evidence: Evidence, done: Operation) -> bool:
    """Whether the gateway that was asked stood still meanwhile."""
    return any(
        fault.kind == "gateway frozen"
        and fault.target % GATEWAYS == done.gateway
        and fault.began < done.ended
        and done.sent < fault.healed
        for fault in evidence.faults
    )


def _stored_all_the_same(done: Operation, stored: set[int]) -> Iterator[str]:
    if done.kind == "dispatch" and done.outcome is Outcome.REFUSED:
        call = done.arguments["input"]["input"].get("call")
        yield from unless(
            call is None or call not in stored, f"a dispatch was refused ({done.code}) and stored: {done.answer}"
        )
