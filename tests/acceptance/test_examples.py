"""The example shop on the whole product: its scenarios go as they should, and leave what they promise."""

from __future__ import annotations

import asyncio
import csv
import mailbox
import os
import sys
from collections import Counter
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any, Final

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler

from gateway.devstack import Servers
from gateway.devstack.ports import choose_port
from tests.programs import running

DEADLINE: Final = 90.0
ROWS: Final = 18
LETTERS: Final = Counter(
    {
        "Welcome to the Corner Shop": 1,
        "Your first order": 1,
        "What the neighbours like": 4,  # one of the series, and three by interval
        "We miss you already": 1,
        "Reminder: the dentist": 2,
    }
)

pytestmark = pytest.mark.timeout(150)


class Sink(MessageHandler):
    """An SMTP server's inbox."""

    def __init__(self) -> None:
        super().__init__()
        self.subjects: Counter[str] = Counter()

    def handle_message(self, message: Message) -> None:
        self.subjects[str(message["Subject"])] += 1


@pytest.fixture
def smtp() -> Iterator[tuple[str, Sink]]:
    """The address of a local SMTP server, and what it was sent."""
    sink = Sink()
    controller = Controller(sink, hostname="127.0.0.1", port=choose_port(None))
    controller.start()
    yield f"127.0.0.1:{controller.port}", sink
    controller.stop()


async def play(url: str) -> str:
    """Run the scenarios as the README of the examples says; what they print."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.shop.scenarios", "--url", url, "--quick"),
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode == 0, out.decode()
    return out.decode()


def settings(folder: Path, **more: str) -> dict[str, Any]:
    return {"JOBGATE_TASKS": "examples.shop.tasks", "SHOP_REPORTS": str(folder / "reports"), **more}


async def test_the_scenarios_go_as_they_should_and_letters_go_to_a_maildir(
    servers: Servers, database_name: str, redis_url: str, tmp_path: Path
) -> None:
    own_redis = Servers(servers.mongodb_url, redis_url)
    shop = settings(tmp_path, SHOP_MAILDIR=str(tmp_path / "letters"))
    async with running(own_redis, database_name, **shop) as system:
        table = await play(system.url)
    assert f"{ROWS} of {ROWS} as expected" in table
    letters = Counter(str(letter["Subject"]) for letter in mailbox.Maildir(tmp_path / "letters", create=False))
    assert letters == LETTERS
    with (tmp_path / "reports" / "sales-2026-08-31.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert (len(rows), rows[0]["time"], rows[-1]["time"]) == (240, "09:00", "16:58")


async def test_letters_go_to_a_mail_server_when_one_is_named(
    servers: Servers, database_name: str, redis_url: str, tmp_path: Path, smtp: tuple[str, Sink]
) -> None:
    address, sink = smtp
    own_redis = Servers(servers.mongodb_url, redis_url)
    async with running(own_redis, database_name, **settings(tmp_path, SHOP_SMTP=address)) as system:
        await play(system.url)
    assert sink.subjects == LETTERS
