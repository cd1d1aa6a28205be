"""The command line: ``jobgate dev | serve | worker | keys | secrets | documents | doctor | export-schema``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Final

import click

from jobs.errors import JobgateError

_COMMANDS: Final = {
    "dev": "gateway.dev:dev_command",
    "serve": "gateway.gateway_process:serve_command",
    "worker": "gateway.worker_process:worker_command",
    "keys": "gateway.keys:keys_commands",
    "secrets": "gateway.resealing:secrets_commands",
    "documents": "gateway.known_documents:documents",
    "doctor": "gateway.doctor:doctor_command",
    "export-schema": "gateway.exported_schema:export_schema_command",
}


class _Commands(Mapping[str, click.Command]):
    """Imports a command when it is asked for: no worker waits for what only a gateway needs, or keeps it in memory.

    The one place that imports anything but at the top of a file.
    """

    def __getitem__(self, name: str) -> click.Command:
        module, _, attribute = _COMMANDS[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


@click.group(commands=_Commands(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("jobgate"), prog_name="jobgate")
def commands() -> None:
    """A GraphQL gateway for background jobs. Settings come from the environment; the README lists them."""


def main() -> None:
    """Run the command line; what is expected to go wrong is told in one line."""
    try:
        commands()
    except JobgateError as error:
        sys.exit(f"jobgate: {error}")
