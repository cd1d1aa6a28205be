"""The command line: ``jobgate dev | serve | worker | doctor | export-schema``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from gateway import dev, gateway_process, worker_process
from gateway.devstack import DevstackError
from gateway.doctor import examine, repair
from gateway.settings import Settings, environment_name
from jobs.errors import JobgateError
from schema.build import printed_schema

Command = TypeVar("Command", bound=Callable[..., Any])

_READY_FD: Final = click.option("--ready-fd", type=int, hidden=True, help="Written to once the process is ready.")


def _port(command: Command) -> Command:
    option = click.option("--port", type=click.IntRange(0, 65535), help="Where the gateway listens; 0: any free port.")
    return option(command)


def _tasks(command: Command) -> Command:
    option = click.option("--tasks", multiple=True, metavar="MODULE", help="A module that declares tasks; repeatable.")
    return option(command)


def _concurrency(command: Command) -> Command:
    return click.option("--concurrency", type=click.IntRange(1, 1000), help="Runs at a time in one worker.")(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("jobgate"), prog_name="jobgate")
def commands() -> None:
    """A GraphQL gateway for background jobs. Settings come from the environment; the README lists them."""


@commands.command("dev")
@_port
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".jobgate"),
    show_default=True,
    help="Where the embedded servers keep their data.",
)
@_tasks
@_concurrency
def dev_command(port: int | None, data: Path, tasks: tuple[str, ...], concurrency: int | None) -> None:
    """Run everything in one terminal: servers, gateway and worker."""
    dev.run(_settings(port=port, tasks=tasks, concurrency=concurrency), data)


@commands.command("serve")
@click.option("--host", help="The address that the gateway listens on.")
@_port
@_READY_FD
def serve_command(host: str | None, port: int | None, ready_fd: int | None) -> None:
    """Run a gateway."""
    gateway_process.run(_settings(host=host, port=port), ready_fd=ready_fd)


@commands.command("worker")
@_tasks
@_concurrency
@_READY_FD
def worker_command(tasks: tuple[str, ...], concurrency: int | None, ready_fd: int | None) -> None:
    """Run a worker."""
    worker_process.run(_settings(tasks=tasks, concurrency=concurrency), ready_fd=ready_fd)


@commands.command("doctor")
@_tasks
@click.option(
    "--repair-stats", is_flag=True, help="Count the statistics anew and correct them, while everything goes on."
)
def doctor_command(tasks: tuple[str, ...], repair_stats: bool) -> None:
    """Tell whether everything that a gateway and a worker need is in order."""
    if repair_stats:
        for line in asyncio.run(repair(_settings(tasks=tasks))):
            click.echo(line)
        return
    findings = asyncio.run(examine(_settings(tasks=tasks)))
    for finding in findings:
        click.echo(f"{'ok  ' if finding.good else 'FAIL'}  {finding.subject}: {finding.detail}")
    sys.exit(0 if all(finding.good for finding in findings) else 1)


@commands.command("export-schema")
@click.option("--check", type=click.Path(dir_okay=False, path_type=Path), help="Fail unless this file says the same.")
def export_schema_command(check: Path | None) -> None:
    """Print the GraphQL schema."""
    schema = printed_schema()
    if check is None:
        click.echo(schema, nl=False)
    elif not check.is_file() or check.read_text(encoding="utf-8") != schema:
        raise JobgateError(f"{check} is not the schema of this code: jobgate export-schema > {check}")


def _settings(**given: object) -> Settings:
    """The settings of the environment, but for what was ``given`` on the command line. Raises ``SettingsError``."""
    overrides = {environment_name(name): _as_text(value) for name, value in given.items() if value not in (None, ())}
    return Settings.from_environment({**os.environ, **overrides})


def _as_text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def main() -> None:
    """Run the command line; what is expected to go wrong is told in one line."""
    try:
        commands()
    except (JobgateError, DevstackError) as error:
        sys.exit(f"jobgate: {error}")
