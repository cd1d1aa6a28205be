"""Options that several commands of ``jobgate`` have, and how they become settings."""

from __future__ import annotations

import os
from typing import Final

import click

from gateway.settings import Settings, environment_name

ready_fd: Final = click.option("--ready-fd", type=int, hidden=True, help="Written to once the process is ready.")
port: Final = click.option("--port", type=click.IntRange(0, 65535), help="Where the gateway listens; 0: any free port.")
tasks: Final = click.option(
    "--tasks", multiple=True, metavar="MODULE", help="A module that declares tasks; repeatable."
)
concurrency: Final = click.option("--concurrency", type=click.IntRange(1, 1000), help="Runs at a time in one worker.")


def settings_of(**given: object) -> Settings:
    """The settings of the environment, but for what was ``given`` on the command line. Raises ``SettingsError``."""
    overrides = {environment_name(name): _as_text(value) for name, value in given.items() if value not in (None, ())}
    return Settings.from_environment({**os.environ, **overrides})


def _as_text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
