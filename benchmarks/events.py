"""`scripts/bench events [--subscribers N] [--jobs N]`: events on their way to WebSockets.

First one gateway process with many subscribers, beside a bare Strawberry subscription that Redis pub/sub feeds: what one of
them costs in memory, how long one event takes to reach all, and how many events a second get through. Jobgate's events are
put into the log as the relay would put them, so that both sides are fed by one write. Then an idle installation with its
worker: how long it takes from a change of a job to the subscriber.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import uniform
from typing import Final

import click

from benchmarks.event_sides import ALL, EACH, Side, dispatch_one, following, open_anchor, open_gateway, open_jobgate
from benchmarks.listeners import Heard, Listeners, listening
from benchmarks.passages import worker_process
from benchmarks.servers import benchmark_servers
from benchmarks.timing import Late
from gateway.devstack import Servers

_SINGLES: Final = 20
"""Events that are sent to all, one after the other."""

_BURST_TO_ALL: Final = 100
"""Events that are sent to all at once: far fewer than may wait for one subscriber."""

_BURST_TO_ONE: Final = 10
"""Events for each subscriber alone, sent at once."""

_PAUSE: Final = 0.2
_SETTLE: Final = 1.0
"""Seconds until a subscription has begun for certain, which its protocol does not acknowledge."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one side."""

    kilobytes: float
    to_all: Late
    to_all_rate: float
    to_all_cpu: float
    """Microseconds of the server's processor that a message of the burst took: what other load disturbs least."""
    to_one_rate: float
    to_one_cpu: float


@click.command()
@click.option("--subscribers", default=1_000, show_default=True, help="WebSockets to one server process.")
@click.option(
    "--jobs", default=300, show_default=True, help="Jobs for the latency of an idle installation; 0 for none."
)
@click.option("--rounds", default=1, show_default=True, help="Rounds; anchor and Jobgate take turns. 0 for none.")
def main(subscribers: int, jobs: int, rounds: int) -> None:
    """Measure, and print each figure beside its anchor."""
    # Not on uvloop, where gateway.children fails to start a second child (EBADF).
    asyncio.run(_main(subscribers, jobs, rounds))


async def _main(subscribers: int, jobs: int, rounds: int) -> None:
    async with benchmark_servers() as servers:
        for number in range(rounds):
            async with open_anchor(servers) as anchor:
                bare = await _measured(anchor, subscribers)
            async with open_jobgate(servers, f"events_{number}") as jobgate:
                ours = await _measured(jobgate, subscribers)
            _tell(subscribers, bare, ours)
        if jobs:
            await _latency(servers, jobs)
    click.echo(f"load at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def _tell(subscribers: int, bare: Figures, ours: Figures) -> None:
    for name, one in (("bare strawberry", bare), ("jobgate", ours)):
        click.echo(
            f"{name}: {one.kilobytes:.0f} kB a subscriber; one event to {subscribers}: {one.to_all}; "
            f"events that all want: {one.to_all_rate:.1f}/s = {one.to_all_rate * subscribers:.0f} messages/s, "
            f"{one.to_all_cpu:.0f} us each; events that one wants: {one.to_one_rate:.0f}/s, {one.to_one_cpu:.0f} us each"
        )
    click.echo(
        f"jobgate beside it: memory {ours.kilobytes / bare.kilobytes:.2f}x; p50 {ours.to_all.p50 / bare.to_all.p50:.2f}x, "
        f"p99 {ours.to_all.p99 / bare.to_all.p99:.2f}x; events that all want {ours.to_all_rate / bare.to_all_rate:.2f}x, "
        f"processor {ours.to_all_cpu / bare.to_all_cpu:.2f}x; "
        f"events that one wants {ours.to_one_rate / bare.to_one_rate:.2f}x, "
        f"processor {ours.to_one_cpu / bare.to_one_cpu:.2f}x"
    )


async def _measured(side: Side, subscribers: int) -> Figures:
    async with listening(side.port, [side.wanting_all()] * 20) as listeners:
        await _begun(side, listeners, [("job_0", ALL)], 20)
    before = _resident(side.pid)
    async with listening(side.port, [side.wanting_all()] * subscribers) as listeners:
        await _begun(side, listeners, [("job_0", ALL)], subscribers)
        kilobytes = (_resident(side.pid) - before) / subscribers
        late = [one for _ in range(_SINGLES) for one in await _single(side, listeners, subscribers)]
        to_all_rate, to_all_cpu = await _burst(side, listeners, [("job_0", ALL)] * _BURST_TO_ALL, subscribers)
    ids = [f"job_{number}" for number in range(subscribers)]
    async with listening(side.port, [side.wanting(job_id) for job_id in ids]) as listeners:
        await _begun(side, listeners, [(job_id, EACH) for job_id in ids], subscribers)
        to_one_rate, to_one_cpu = await _burst(side, listeners, [(job_id, EACH) for job_id in ids] * _BURST_TO_ONE, 1)
    return Figures(kilobytes, Late.of(late), to_all_rate, to_all_cpu, to_one_rate, to_one_cpu)


async def _begun(side: Side, listeners: Listeners, events: Sequence[tuple[str, str]], messages: int) -> None:
    """Wait until all take part: everybody has heard something."""
    await asyncio.sleep(_SETTLE)
    await side.publish(events)
    await listeners.until(messages)
    await listeners.taken()


async def _single(side: Side, listeners: Listeners, subscribers: int) -> list[float]:
    """Milliseconds that one event took to each of them."""
    await asyncio.sleep(_PAUSE)
    sent = await side.publish([("job_0", ALL)])
    await listeners.until(subscribers)
    return [(arrived - sent) * 1000 for arrived in _arrivals(await listeners.taken())]


async def _burst(
    side: Side, listeners: Listeners, events: Sequence[tuple[str, str]], each_to: int
) -> tuple[float, float]:
    """Events a second, from when the first arrives until the last has arrived everywhere; and what a message costs."""
    messages, before = len(events) * each_to, _processor_time(side.pid)
    await side.publish(events)
    await listeners.until(messages)
    spent = _processor_time(side.pid) - before
    arrived = _arrivals(await listeners.taken())
    return len(events) / (max(arrived) - min(arrived)), spent / messages * 1_000_000


def _arrivals(heard: Sequence[Heard]) -> list[float]:
    return [arrived for one in heard for arrived in one.monotonic]


def _resident(pid: int) -> float:
    """The memory that a process has of its own and shared, in kB. Linux only."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def _processor_time(pid: int) -> float:
    """The seconds of a processor that a process has had. Linux only."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, after_name[11:13])) / os.sysconf("SC_CLK_TCK")


async def _latency(servers: Servers, jobs: int) -> None:
    """Jobs one by one, each of which tells of four events: scheduled, queued, started, completed."""
    name = "events_latency"
    acknowledged: list[float] = []
    wanted = [following({"product": ["idle"]})]
    async with (
        open_gateway(servers, name) as (port, _, services, _),
        worker_process(servers, name, 20),
        listening(port, wanted, compressed=False) as listeners,
    ):
        await asyncio.sleep(_SETTLE)
        for number in range(jobs):
            await dispatch_one(services, "idle")
            acknowledged.append(time.monotonic())
            await listeners.until(4 * (number + 1))
            # Until nothing of the last one is under way, and never in step with what looks around every so often.
            await asyncio.sleep(_PAUSE * uniform(1, 1.5))  # noqa: S311  # nothing secret hangs on it
        [heard] = await listeners.taken()
    events = [json.loads(text)["payload"]["data"]["jobEvents"] for text in heard.text]
    since_at = [
        (arrived - datetime.fromisoformat(event["at"]).timestamp()) * 1000
        for arrived, event in zip(heard.wall, events, strict=True)
    ]
    by_type = [event["type"] for event in events]
    click.echo(f"{jobs} jobs one by one, idle installation, to one subscriber:")
    # The answer is what tells of the commit of JOB_SCHEDULED; JOB_QUEUED takes a worker and one more write.
    for place, kind in enumerate(("JOB_SCHEDULED", "JOB_QUEUED")):
        late = [(arrived - sent) * 1000 for arrived, sent in zip(heard.monotonic[place::4], acknowledged, strict=True)]
        click.echo(f"  from the answer to dispatch to {kind}: {Late.of(late)}")
    click.echo(f"  from an event's own time, before its write, all {len(events)} events: {Late.of(since_at)}")
    for kind in dict.fromkeys(by_type):
        some = [one for one, of_type in zip(since_at, by_type, strict=True) if of_type == kind]
        click.echo(f"    {kind}: {Late.of(some)}")


if __name__ == "__main__":
    main()
