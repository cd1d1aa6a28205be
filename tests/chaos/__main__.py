"""``scripts/chaos``: runs with faults, by seed; or with planted bugs, to see whether they are found."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Evidence
from tests.chaos.findings import Finding
from tests.chaos.report import judge, told
from tests.chaos.rolling import roll
from tests.chaos.run import Experiment, carry_out, faults_for
from tests.chaos.teeth import TEETH, bite


def main() -> int:
    """0 when everything held, or every planted bug was found."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.5, help="how long each run is under faults")
    parser.add_argument(
        "--seed", type=int, action="append", help="what decides the faults and the load; can be repeated"
    )
    parser.add_argument(
        "--rolling", action="store_true", help="restart all workers in turn, three times, and nothing else"
    )
    parser.add_argument("--teeth", nargs="*", metavar="BUG", help=f"plant bugs, all or some of: {', '.join(TEETH)}")
    parser.add_argument(
        "--control", action="store_true", help="with --teeth: do the same without the bugs: nothing may be found"
    )
    parser.add_argument("--keep", action="store_true", help="keep the logs and the data, and say where")
    options = parser.parse_args()
    # Told to stop, as by Ctrl-C: what is frozen could not end with us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="jobgate-chaos-"))
    try:
        return asyncio.run(_run(options, folder))
    finally:
        if options.keep:
            print(f"kept in {folder}")
        else:
            shutil.rmtree(folder)


async def _run(options: argparse.Namespace, folder: Path) -> int:
    async with _started(folder) as cluster:
        if options.teeth is not None:
            return await _bite(cluster, folder, options.teeth or list(TEETH), planted=not options.control)
        held = []
        for seed in options.seed or [1]:
            print(
                f"seed {seed}, " + ("rolling restart" if options.rolling else f"{options.minutes:g} minutes"),
                flush=True,
            )
            if options.rolling:
                held.append(_show(*await roll(cluster, folder, seed)))
            else:
                held.append(_show(*await _torment(cluster, folder, seed, options.minutes)))
        return 0 if all(held) else 1


async def _torment(cluster: Cluster, folder: Path, seed: int, minutes: float) -> tuple[Evidence, Sequence[Finding]]:
    evidence = await carry_out(cluster, folder, Experiment(seed, faults_for(60 * minutes, seed)))
    findings = judge(evidence)
    for finding in findings:
        finding.violations += [] if finding.looked_at else ["there was nothing to look at"]
    return evidence, findings


def _show(evidence: Evidence, findings: Sequence[Finding]) -> bool:
    print("\n".join(told(evidence, findings)), flush=True)
    return all(finding.holds for finding in findings)


async def _bite(cluster: Cluster, folder: Path, names: list[str], *, planted: bool) -> int:
    as_expected = 0
    for name in names:
        evidence, findings = await bite(cluster, folder, name, planted=planted)
        broken = [finding for finding in findings if not finding.holds]
        found = any(finding.name in TEETH[name].shows_in for finding in broken) if planted else bool(broken)
        as_expected += found is planted
        print(
            f"{'found' if found else 'nothing':<8} {name:<26} broken: {' '.join(f.name for f in broken) or 'nothing'}"
        )
        for finding in broken:
            print(f"          {finding.name}: {finding.violations[0]}", flush=True)
        if found is not planted:
            print("\n".join(told(evidence, findings)), flush=True)
    what = "planted bugs found" if planted else "found to be in order without their bugs"
    print(f"{as_expected} of {len(names)} {what}")
    return 0 if as_expected == len(names) else 1


@asynccontextmanager
async def _started(folder: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(folder)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
