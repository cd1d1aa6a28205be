"""Dispatch the shop's scenarios, watch them to their end, and tell whether they went as they should.

``python -m examples.shop.scenarios --url http://127.0.0.1:8000/graphql --quick``
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx
from websockets.exceptions import WebSocketException

from examples.shop.cases import Case, all_cases
from examples.shop.client import Gateway, JsonObject, Refused
from examples.shop.expectations import differences
from examples.shop.feed import JobFeed, open_feed
from examples.shop.table import print_table

_HEADER: Final = ("scenario", "what", "task", "status", "runs", "retries", "last error", "verdict")
_PROBES: Final = 15
_PROBE_SECONDS: Final = 2.0


@dataclass(slots=True)
class Played:
    """A case and what has come of it so far."""

    case: Case
    job: JsonObject = field(default_factory=dict)
    """As it was last seen; empty when its dispatch was refused."""
    complaints: list[str] = field(default_factory=list)

    def row(self) -> tuple[str, ...]:
        verdict = "NOT as expected: " + "; ".join(self.complaints) if self.complaints else "as expected"
        facts = [self.job.get(name) for name in ("status", "executionCount", "retryCount", "lastError")]
        shown = ["–" if fact is None else str(fact) for fact in facts]
        return (self.case.scenario, self.case.what, self.case.task, *shown, verdict)


async def play(url: str, *, quick: bool) -> bool:
    """Run all scenarios; True when every job did what was expected of it."""
    tag, began = f"shop-{secrets.token_hex(4)}", time.monotonic()
    print(f"{url}, every job tagged {tag}")
    async with httpx.AsyncClient(timeout=30) as http, open_feed(url, tag) as feed:
        gateway = Gateway(http, url)
        await await_feed(gateway, feed, tag)
        played = [await _begin(gateway, case, tag) for case in all_cases(quick=quick)]
        await _follow(feed, played, seconds=60 if quick else 120)
        for one in played:
            await _judge(gateway, feed, one)
    print_table(_HEADER, [one.row() for one in played])
    print(f"{feed.size} events in {time.monotonic() - began:.1f} s")
    return _tell_sum(played)


async def await_feed(gateway: Gateway, feed: JobFeed, tag: str) -> None:
    """Return when the subscription is known to be open: the protocol does not acknowledge it, but an event of it does."""
    probe = {"namespace": "demo", "task": "echo", "product": "shop", "env": "example", "tags": [tag]}
    for _ in range(_PROBES):
        await gateway.dispatch(probe)
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return await feed.follow_until(lambda: feed.size > 0)
        except TimeoutError:
            continue
    raise Refused("the subscription shows no events")


async def _begin(gateway: Gateway, case: Case, tag: str) -> Played:
    played = Played(case)
    try:
        played.job = await gateway.dispatch(case.request(tag))
        if case.act is not None:
            played.complaints += await case.act(gateway, played.job)
    except Refused as refusal:
        played.complaints.append(str(refusal))
    return played


async def _follow(feed: JobFeed, played: Sequence[Played], seconds: float) -> None:
    """Wait until all jobs are over; those that are not when the time is up get a complaint."""
    watched = [one for one in played if one.job]
    try:
        async with asyncio.timeout(seconds):
            await feed.follow_until(lambda: all(feed.is_over(one.job["id"]) for one in watched))
    except TimeoutError:
        for one in watched:
            if not feed.is_over(one.job["id"]):
                print(f"still open after {seconds:g} s: {one.case.scenario}, {one.case.what} ({one.job['id']})")
                one.complaints.append(f"still open after {seconds:g} s")


async def _judge(gateway: Gateway, feed: JobFeed, played: Played) -> None:
    if played.job:
        record = await gateway.record(played.job["id"])
        played.job = record["job"]
        played.complaints += differences(played.case.expected, record, feed.of(played.job["id"]))


def _tell_sum(played: Sequence[Played]) -> bool:
    good = sum(not one.complaints for one in played)
    print(f"{good} of {len(played)} as expected")
    return good == len(played)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.shop.scenarios", description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000/graphql", help="where the gateway is")
    parser.add_argument("--quick", action="store_true", help="nothing that waits for a full minute")
    given = parser.parse_args()
    try:
        good = asyncio.run(play(given.url, quick=given.quick))
    except (Refused, httpx.HTTPError, OSError, WebSocketException) as error:
        sys.exit(f"{given.url}: {type(error).__name__}: {error}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
