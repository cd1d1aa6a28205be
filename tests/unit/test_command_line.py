"""The command line as a whole: what is wrong with a call is told, and a command loads no more than it needs."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from gateway.cli import commands

HELP = """
  dev            Run everything in one terminal: servers, gateway and worker.
  doctor         Tell whether everything that a gateway and a worker need...
  documents      Register the GraphQL documents that clients may name by...
  export-schema  Print the GraphQL schema.
  keys           Make, list and revoke the API keys that callers identify...
  secrets        Keep what is sealed with JOBGATE_SECRET_KEYS.
  serve          Run a gateway.
  worker         Run a worker.
"""
PAGES = {"strawberry", "starlette", "uvicorn"}
LOADED = """
import sys
from gateway.cli import commands
commands.commands[sys.argv[1]]
print(*sys.modules)
"""


def test_the_help_tells_of_every_command_in_one_line_each() -> None:
    assert CliRunner().invoke(commands, ["--help"], terminal_width=80).output.endswith(f"Commands:{HELP}")


def test_a_command_that_is_unknown_is_named_and_so_is_the_one_that_was_meant() -> None:
    result = CliRunner().invoke(commands, ["serv"])
    assert result.exit_code == 2
    assert "No such command 'serv'. Did you mean 'serve'?" in result.output


@pytest.mark.parametrize(
    ("name", "needed", "spared"),
    [
        ("serve", PAGES, set[str]()),
        ("worker", {"arq"}, PAGES),
        ("doctor", {"arq"}, PAGES),
        ("dev", {"pymongo"}, {*PAGES, "arq", "httpx"}),
        ("keys", {"pymongo"}, {*PAGES, "arq", "httpx"}),
        ("secrets", {"cryptography"}, {*PAGES, "arq", "httpx"}),
        ("documents", {"strawberry"}, {"starlette", "uvicorn"}),
        ("export-schema", {"strawberry"}, {"starlette", "uvicorn"}),
    ],
)
def test_a_command_loads_no_more_than_it_needs(name: str, needed: set[str], spared: set[str]) -> None:
    command = [sys.executable, "-c", LOADED, name]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())  # noqa: S603  # as written here
    assert needed <= loaded
    assert loaded & spared == set()
