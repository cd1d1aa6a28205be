"""``jobgate doctor``: what a gateway and a worker need, looked at one by one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from gateway import command_options
from gateway.command_options import settings_of
from gateway.devstack import DevstackError
from gateway.devstack.binaries import find_mongod, find_redis_server
from gateway.settings import Settings, store_urls
from gateway.worker_process import worker_tasks
from jobs.errors import JobgateError
from jobs.statistics import OF_JOBS, OF_RUNS, Counters
from storage.census import Census, take_census
from storage.client import check_server, close_client, open_client, open_database
from storage.clock import DatabaseClock
from storage.recount import Correction, repair_statistics
from storage.redis import close_redis, open_redis

_SKEW_ALLOWED: Final = timedelta(seconds=2)
_LATE: Final = timedelta(seconds=30)
"""An event that has waited longer for the log tells that nobody relays."""

_ANSWER_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    subject: str
    good: bool
    detail: str


@click.command("doctor")
@command_options.tasks
@click.option(
    "--repair-stats", is_flag=True, help="Count the statistics anew and correct them, while everything goes on."
)
def doctor_command(tasks: tuple[str, ...], repair_stats: bool) -> None:
    """Tell whether everything that a gateway and a worker need is in order."""
    settings = settings_of(tasks=tasks)
    if repair_stats:
        for line in asyncio.run(repair(settings)):
            click.echo(line)
        return
    findings = asyncio.run(examine(settings))
    for finding in findings:
        click.echo(f"{'ok  ' if finding.good else 'FAIL'}  {finding.subject}: {finding.detail}")
    sys.exit(0 if all(finding.good for finding in findings) else 1)


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything; what cannot be looked at is a finding that is not good."""
    return [
        _tasks(settings),
        *(await _mongodb(settings)),
        await _redis(settings),
    ]


async def repair(settings: Settings) -> list[str]:
    """Count the statistics anew and tell, line by line, which counters were wrong.

    Raises ``SettingsError``, ``StoreUnavailable``, ``UnsupportedStore``, ``RepairUnderWay``.
    """
    mongodb_url, _ = store_urls(settings)
    client = open_client(mongodb_url, settings.driver)
    try:
        await check_server(client)
        owner = f"doctor:{os.getpid()}:{os.urandom(4).hex()}"
        corrections = await repair_statistics(open_database(client, settings.database), owner)
    finally:
        await close_client(client)
    if not corrections:
        return ["statistics: every counter was right"]
    wrong = sum(len(one.change.counts) + len(one.change.longest) for one in corrections)
    return [*map(_corrected, corrections), f"statistics: {wrong} {'counter' if wrong == 1 else 'counters'} corrected"]


def _corrected(correction: Correction) -> str:
    cell = correction.cell
    origin = cell.origin
    when = "" if cell.start is None else f" from {cell.start.isoformat()}"
    where = f"{origin.product}/{origin.env} {origin.namespace}.{origin.task}"
    return f"{where}, {cell.level}{when}: {', '.join(_changes(correction.change))}"


def _changes(change: Counters) -> Iterator[str]:
    """Each counter with its difference, but of a distribution only how many of its bins: there may be hundreds."""
    plain = {name: by for name, by in change.counts.items() if name.startswith((OF_JOBS, OF_RUNS))}
    yield from (f"{name} {by:+}" for name, by in sorted(plain.items()))
    bins = Counter(name.partition(":")[0] for name in change.counts.keys() - plain.keys())
    yield from (f"{name} in {n} {'bin' if n == 1 else 'bins'}" for name, n in sorted(bins.items()))
    yield from (f"longest {name} {length} ms" for name, length in sorted(change.longest.items()))


def _tasks(settings: Settings) -> Finding:
    try:
        registry = worker_tasks(settings)
    except JobgateError as error:
        return Finding("tasks", False, str(error))
    return Finding("tasks", True, ", ".join(definition.name for definition in registry.definitions()))


async def _mongodb(settings: Settings) -> list[Finding]:
    if settings.mongodb_url is None:
        return [_embedded("mongod", find_mongod)]
    client = open_client(settings.mongodb_url, settings.driver)
    try:
        await check_server(client)
        database = open_database(client, settings.database)
        clock = DatabaseClock(database)
        await clock.synchronise()
        skew = datetime.now(UTC) - clock.now()
        census = await take_census(database)
    except JobgateError as error:
        return [Finding("MongoDB", False, str(error))]
    finally:
        await close_client(client)
    return [Finding("MongoDB", True, f"{census.version}, database {settings.database}"), _clock(skew), *_judged(census)]


async def _redis(settings: Settings) -> Finding:
    if settings.redis_url is None:
        return _embedded("redis-server", find_redis_server)
    try:
        redis = await open_redis(settings.redis_url, settings.database)
    except JobgateError as error:
        return Finding("Redis", False, str(error))
    await close_redis(redis)
    return Finding("Redis", True, "answers")


def _clock(skew: timedelta) -> Finding:
    told = f"{skew.total_seconds():+.1f} s against the database's, by which jobs come due"
    return Finding("clock", abs(skew) <= _SKEW_ALLOWED, told)


def _judged(census: Census) -> list[Finding]:
    idle = census.workers == 0 and census.waiting > 0
    return [
        Finding("indexes", not census.missing_indexes, _missing(census.missing_indexes)),
        Finding("workers", not idle, f"{census.workers} alive, {census.waiting} jobs queued"),
        Finding("relay", census.oldest_untold < _LATE, _untold(census)),
    ]


def _missing(indexes: list[str]) -> str:
    return f"missing: {', '.join(indexes)}; a gateway or a worker creates them at its start" if indexes else "all there"


def _untold(census: Census) -> str:
    if not census.oldest_untold:
        return "every event is in the log"
    return f"the oldest event that is not in the log yet is {census.oldest_untold.total_seconds():.1f} s old"


def _embedded(name: str, find: Callable[[], Path]) -> Finding:
    """Whether `jobgate dev` could start a server of its own: a library that it needs may be missing."""
    try:
        program = find()
        answer = subprocess.run(  # noqa: S603  # a program of our choice
            [program, "--version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
        )
    except (DevstackError, OSError, subprocess.TimeoutExpired) as error:
        return Finding(name, False, str(error))
    said = (answer.stdout or answer.stderr).strip().splitlines() or ["nothing"]
    return Finding(name, answer.returncode == 0, f"embedded, {said[0]}")
