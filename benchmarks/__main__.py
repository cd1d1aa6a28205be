"""`scripts/bench [--jobs N] [--rounds N]`: drain rate beside bare arq, dispatch rate, and start latency."""

from __future__ import annotations

import asyncio
import statistics
import time

import click
import uvloop

from benchmarks.arq_anchor import drain_rate
from benchmarks.jobgate_side import dispatch_many, no_op_worker, open_side, until, worker_config
from benchmarks.servers import benchmark_servers
from gateway.devstack import Servers
from storage.client import Driver

CONCURRENCY = 100


@click.command()
@click.option("--jobs", default=5000, show_default=True, help="No-op jobs in each round of the drain.")
@click.option("--rounds", default=3, show_default=True, help="Rounds; anchor and Jobgate take turns.")
@click.option("--singles", default=200, show_default=True, help="Single jobs for the start latency.")
@click.option("--driver", type=click.Choice([driver.value for driver in Driver]), default=Driver.MOTOR.value)
def main(jobs: int, rounds: int, singles: int, driver: str) -> None:
    """Measure, and print each figure beside its anchor."""
    uvloop.run(_main(jobs, rounds, singles, Driver(driver)))


async def _main(jobs: int, rounds: int, singles: int, driver: Driver) -> None:
    async with benchmark_servers() as servers:
        ratios = []
        for round_ in range(rounds):
            anchor = await drain_rate(servers.redis_url, jobs, CONCURRENCY)
            ours, dispatched = await _drain(servers, f"bench_{round_}", jobs, driver)
            ratios.append(ours / anchor)
            click.echo(
                f"round {round_ + 1}: bare arq {anchor:.0f} jobs/s, jobgate {ours:.0f} jobs/s = {ours / anchor:.2f}x; "
                f"dispatch {dispatched:.0f} jobs/s"
            )
        click.echo(f"drain of {jobs} no-op jobs beside bare arq: median {statistics.median(ratios):.2f}x")
        latencies = sorted(await _singles(servers, singles, driver))
        p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
        click.echo(f"dispatch call to handler start, idle worker, {singles} jobs: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


async def _drain(servers: Servers, name: str, jobs: int, driver: Driver) -> tuple[float, float]:
    """Jobs per second from the first start until all are committed, and dispatches per second before that."""
    config = worker_config(servers.mongodb_url, servers.redis_url, name, driver, CONCURRENCY)
    starts: list[tuple[float, float]] = []
    async with open_side(servers.mongodb_url, servers.redis_url, name, driver) as (services, database):
        dispatched = await dispatch_many(services, jobs)
        async with no_op_worker(config, starts):
            await until(database, jobs)
            ended = time.time()
    return jobs / (ended - starts[0][0]), dispatched


async def _singles(servers: Servers, count: int, driver: Driver) -> list[float]:
    config = worker_config(servers.mongodb_url, servers.redis_url, "bench_singles", driver, CONCURRENCY)
    starts: list[tuple[float, float]] = []
    async with (
        open_side(servers.mongodb_url, servers.redis_url, "bench_singles", driver) as (services, database),
        no_op_worker(config, starts),
    ):
        for _ in range(count):
            await dispatch_many(services, 1)
            await asyncio.sleep(0.05)
        await until(database, count)
    return [(started - sent) * 1000 for started, sent in starts]


if __name__ == "__main__":
    main()
