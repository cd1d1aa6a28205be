"""`scripts/bench timing [--singles N] [--seconds N] [--herd N]`: how late jobs are promoted and started.

First single jobs at random instants, with nothing else to do, beside bare arq with the same jobs at the same distances. Then a
herd that is due at one instant, and singles of other products due in the seconds behind it: some as urgent as the herd, some
more so. A small size for a quick look: ``--singles 100 --seconds 5 --herd 1000``.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from benchmarks.arq_anchor import lateness
from benchmarks.jobgate_side import open_side
from benchmarks.passages import Passage, Wish, out_of_turn, pass_through, worker_process
from benchmarks.servers import benchmark_servers
from gateway.devstack import Servers
from jobs.times import MILLISECOND, truncate
from storage.client import Driver

BYSTANDERS: Final = 50
"""Single jobs of each other product, due in the seconds behind the herd's instant."""

_BEHIND_MS: Final = (1_000, 5_000)
_POLL_DELAYS: Final = (0.5, 0.02)
"""How often arq looks, in seconds: as it does by itself, and as Jobgate's worker has it do."""

_LEAD: Final = timedelta(seconds=5)
_LEAD_PER_JOB: Final = timedelta(milliseconds=8)
"""Dispatching ahead takes so long at most: where it takes longer, nothing is measured."""


@dataclass(frozen=True, slots=True)
class Late:
    """How late jobs were, in milliseconds."""

    least: float
    p50: float
    p99: float
    most: float

    @classmethod
    def of(cls, late_ms: Sequence[float]) -> Late:
        ranked = sorted(late_ms)
        return cls(ranked[0], ranked[len(ranked) // 2], ranked[int(len(ranked) * 0.99)], ranked[-1])

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms, max {self.most:.1f} ms"


@click.command()
@click.option("--singles", default=1_000, show_default=True, help="Single jobs, one by one; 0 for none.")
@click.option("--seconds", default=50, show_default=True, help="The time over which the single jobs are spread.")
@click.option("--herd", default=10_000, show_default=True, help="Jobs that are due at one instant; 0 for none.")
@click.option("--concurrency", default=20, show_default=True, help="Runs at a time in the worker, and in arq's.")
def main(singles: int, seconds: int, herd: int, concurrency: int) -> None:
    """Measure, and end with status 1 if a job was early."""
    # Not on uvloop, where gateway.children fails to start a second child (EBADF).
    wrong = asyncio.run(_main(singles, seconds, herd, concurrency))
    for line in wrong:
        click.echo(f"WRONG: {line}")
    sys.exit(1 if wrong else 0)


async def _main(singles: int, seconds: int, herd: int, concurrency: int) -> list[str]:
    wrong: list[str] = []
    async with benchmark_servers() as servers:
        if singles:
            wrong += await _singles(servers, _distances(singles, 0, seconds * 1000), concurrency)
        if herd:
            wrong += await _herd(servers, herd, concurrency)
    _tell_load("at the end")
    return wrong


def _distances(count: int, start_ms: int, end_ms: int) -> list[timedelta]:
    """So many distances at random between the two, the same ones every time."""
    chance = random.Random(7)  # noqa: S311  # nothing here is secret
    return [chance.randrange(start_ms, end_ms) * MILLISECOND for _ in range(count)]


async def _singles(servers: Servers, distances: Sequence[timedelta], concurrency: int) -> list[str]:
    _tell_load("before the single jobs")
    passages = await _passages(servers, "timing_singles", [("single", 0, one) for one in distances], concurrency)
    click.echo(f"{len(passages)} single jobs, idle system:")
    started = _tell_late("jobgate", passages)
    for poll_delay in _POLL_DELAYS:
        start = _start(len(distances))
        instants = [start + distance for distance in distances]
        arq = Late.of(await lateness(servers.redis_url, instants, concurrency, poll_delay))
        click.echo(
            f"  bare arq, poll_delay {poll_delay:g} s: started late {arq}; "
            f"jobgate beside it p50 {started.p50 / arq.p50:.2f}x, p99 {started.p99 / arq.p99:.2f}x"
        )
    return _early(passages)


async def _herd(servers: Servers, herd: int, concurrency: int) -> list[str]:
    _tell_load("before the herd")
    behind = _distances(2 * BYSTANDERS, *_BEHIND_MS)
    jobs = [("herd", 0, timedelta())] * herd
    jobs += [("single", 0, distance) for distance in behind[:BYSTANDERS]]
    jobs += [("urgent single", 1, distance) for distance in behind[BYSTANDERS:]]
    passages = await _passages(servers, "timing_herd", jobs, concurrency)
    mine = _of("herd", passages)
    click.echo(
        f"{herd} jobs due at one instant: the last promoted {max(one.promoted_late_ms for one in mine) / 1000:.2f} s after it, "
        f"the last started {max(one.started_late_ms for one in mine) / 1000:.2f} s after it; "
        f"{out_of_turn(passages)} jobs promoted before one that was due earlier"
    )
    for product in ("single", "urgent single"):
        _tell_late(f"{BYSTANDERS} of product {product!r} in the seconds behind it", _of(product, passages))
    return _early(passages)


async def _passages(
    servers: Servers, database_name: str, jobs: Sequence[tuple[str, int, timedelta]], concurrency: int
) -> list[Passage]:
    """How jobs came through: of this product, of this priority, due so long after the first instant."""
    async with (
        open_side(servers.mongodb_url, servers.redis_url, database_name, Driver.MOTOR) as (services, database),
        worker_process(servers, database_name, concurrency),
    ):
        start = _start(len(jobs))
        wishes = [Wish(product, start + distance, priority) for product, priority, distance in jobs]
        return await pass_through(services, database, wishes)


def _start(jobs: int) -> datetime:
    """The first instant, with time enough before it for so many jobs to be dispatched."""
    return truncate(datetime.now(UTC)) + _LEAD + jobs * _LEAD_PER_JOB


def _of(product: str, passages: Sequence[Passage]) -> list[Passage]:
    return [passage for passage in passages if passage.product == product]


def _tell_late(name: str, passages: Sequence[Passage]) -> Late:
    promoted = Late.of([passage.promoted_late_ms for passage in passages])
    started = Late.of([passage.started_late_ms for passage in passages])
    click.echo(f"  {name}: promoted late {promoted}; started late {started}")
    return started


def _early(passages: Sequence[Passage]) -> list[str]:
    """What must not be: a job that was promoted, or started, before it was due."""
    early = {
        "promoted": Late.of([passage.promoted_late_ms for passage in passages]).least,
        "started": Late.of([passage.started_late_ms for passage in passages]).least,
    }
    return [f"a job was {what} {-least:.3f} ms early" for what, least in early.items() if least < 0]


def _tell_load(when: str) -> None:
    """Figures say little without it: the average number of processes that ran or wanted to, in the last minute."""
    click.echo(f"load {when}: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
