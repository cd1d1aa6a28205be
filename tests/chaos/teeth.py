"""For each planted bug, what to do to an installation so that the bug shows, and where it is to be seen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final

from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Evidence
from tests.chaos.findings import Finding
from tests.chaos.loader import QUIET, SINGLE, Load, Loader
from tests.chaos.nemesis import Nemesis
from tests.chaos.report import judge
from tests.chaos.run import SETTLED_WITHIN, Experiment, Script, carry_out

_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Tooth:
    """How a planted bug is provoked. ``shows_in``: the invariants that it breaks, at least one of them."""

    script: Script
    load: Load
    shows_in: tuple[str, ...]
    subscribers: int = 1
    settled_within: float = SETTLED_WITHIN


async def bite(
    cluster: Cluster, folder: Path, name: str, *, planted: bool = True
) -> tuple[Evidence, Sequence[Finding]]:
    """Provoke it; ``planted`` False: without the bug, when nothing may be found."""
    tooth = TEETH[name]
    plant = name if planted else ""
    experiment = Experiment(_SEED, tooth.script, tooth.load, plant, tooth.subscribers, tooth.settled_within)
    evidence = await carry_out(cluster, folder, experiment)
    return evidence, judge(evidence)


def _faults(*kinds: str, pause: float = 3.0) -> Script:
    async def script(nemesis: Nemesis, loader: Loader) -> None:
        await asyncio.sleep(pause)
        for target, kind in enumerate(kinds):
            await nemesis.inject(kind, target)
            await asyncio.sleep(pause)

    return script


async def _nothing(nemesis: Nemesis, loader: Loader) -> None:
    await asyncio.sleep(12)


async def _crowd(nemesis: Nemesis, loader: Loader) -> None:
    """More than the workers can do at once, so that runs are queued for a while."""
    for _ in range(3):
        await asyncio.gather(*(loader.dispatch(SINGLE, "work", {"ms": 2000}, priority=5) for _ in range(40)))
        await asyncio.sleep(2)


async def _cancel_at_the_end(nemesis: Nemesis, loader: Loader) -> None:
    """Cancel jobs about when they complete."""
    random = Random(_SEED)

    async def race() -> None:
        job = await loader.dispatch(SINGLE, "work", {"ms": 100})
        await asyncio.sleep(random.uniform(0.05, 0.2))
        await loader.cancel(job)

    for _ in range(12):
        await asyncio.gather(*(race() for _ in range(12)))


_LONG: Final = replace(QUIET, work_ms=(2500, 2500), single=0.4)

TEETH: Final = {
    "token-dropped": Tooth(
        # The second attempt is still under way when the first goes on.
        _faults(*["frozen after_effect_before_finish"] * 3),
        replace(_LONG, work_ms=(4000, 4000)),
        ("I4",),
    ),
    "w-1": Tooth(
        _faults(*["mongodb primary isolated, killed"] * 2, pause=2.0),
        replace(QUIET, single=0.04, work_ms=(20, 200)),
        ("I1",),
    ),
    "sweeper-off": Tooth(
        _faults(*["killed after_claim_before_handler"] * 2), replace(QUIET, work_ms=(800, 1500)), ("I1",)
    ),
    # Its jobs are not lost for good: arq gives the nudge out anew after 70 s.
    "nudge-id-reused": Tooth(_faults(*["killed after_claim_within_look"] * 2), QUIET, ("I1",), settled_within=30.0),
    "leadership-trusted": Tooth(_nothing, replace(QUIET, recur=0.25), ("I2", "I7")),
    "subscribe-after-read": Tooth(_nothing, replace(QUIET, single=0.04), ("I10",), subscribers=6),
    "pause-around-queued": Tooth(_crowd, replace(QUIET, recur=0.3, steer_recurring=0.1), ("I6",)),
    "cancel-reads-then-writes": Tooth(_cancel_at_the_end, QUIET, ("I2",)),
    "heartbeat-on-the-loop": Tooth(
        _faults(*["worker's loop blocked"] * 2), replace(QUIET, work_ms=(1500, 2500)), ("I3",)
    ),
    "shutdown-spends-attempt": Tooth(
        _faults(*["worker told to stop"] * 3), replace(_LONG, work_ms=(6000, 6000)), ("I15",)
    ),
    "emptied-before-logged": Tooth(_faults(*["killed before_feed_insert"] * 2), QUIET, ("I9",)),
    "chain-broken": Tooth(_nothing, replace(QUIET, recur=0.25), ("I11",)),
}
"""What the harness has to find."""
