"""A rolling restart: all workers are told to stop, one after the other, three times, while callers go on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.chaos.caller_checks import start_waits
from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Evidence
from tests.chaos.findings import Finding, unless
from tests.chaos.fleet import DRAIN_SECONDS
from tests.chaos.loader import QUIET, Loader
from tests.chaos.nemesis import Nemesis
from tests.chaos.report import judge
from tests.chaos.run import Experiment, carry_out

_ROUNDS: Final = 3
_BEFORE: Final = 2.0
_LOAD: Final = replace(QUIET, single=0.35, work_ms=(50, 6000), plain=True)
"""Some of it takes longer than a worker may drain. Nothing of it fails, so that no run is to have a second attempt. It is half
of what the workers that are left can do, so that nothing waits for want of one."""


async def roll(cluster: Cluster, folder: Path, seed: int) -> tuple[Evidence, Sequence[Finding]]:
    """Restart all workers in turn, and judge by what holds anyhow and by what holds for this."""
    evidence = await carry_out(cluster, folder, Experiment(seed, _restart_all, _LOAD))
    return evidence, [*judge(evidence), _one_attempt_each(evidence), _none_late(evidence)]


async def _restart_all(nemesis: Nemesis, loader: Loader) -> None:
    await asyncio.sleep(_BEFORE)
    for _ in range(_ROUNDS):
        for number, worker in enumerate(nemesis.members.workers):
            await nemesis.inject("worker told to stop", number)
            await worker.back()


def _one_attempt_each(evidence: Evidence) -> Finding:
    finding = Finding("R1", "every run has one attempt")
    for run in evidence.executions:
        complaint = f"run {run['number']} of {run['job_id']} has {run['attempts']} attempts"
        finding.look(unless(run["attempts"] == 1 or _got_no_turn(evidence, run), complaint))
    return finding


def _got_no_turn(evidence: Evidence, run: dict[str, Any]) -> bool:
    """Whether a process that was at this run was kept by the machine from what it had to do for it."""
    attempts = [effect for effect in evidence.work[run["job_id"]] if effect.run == run["number"]]
    return any(evidence.was_frozen(effect.pid, effect.began, effect.ended) for effect in attempts)


def _none_late(evidence: Evidence) -> Finding:
    finding = Finding("R2", f"no run starts later than the drain budget of {DRAIN_SECONDS:g} s")
    for told in evidence.told.values():
        for wait in start_waits(told):
            late = f"{wait.job} was queued for {wait.seconds:.2f} s"
            allowed = DRAIN_SECONDS + evidence.stood_still(wait.queued, wait.started)
            finding.look(unless(wait.seconds <= allowed, late))
    return finding
