"""Writing letters and handing them over: into a maildir, or to an SMTP server when there is one."""

from __future__ import annotations

import mailbox
import os
import smtplib
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from worker.context import TaskContext

SENDER: Final = "The Corner Shop <hello@shop.example>"
_SMTP_TIMEOUT: Final = 10.0


def compose(context: TaskContext, to: str, subject: str, text: str) -> EmailMessage:
    """A letter of this run: every attempt of the run composes the very same one."""
    letter = EmailMessage()
    letter["From"] = SENDER
    letter["To"] = to
    letter["Subject"] = subject
    # When the run was due, not the time now, which would differ between attempts.
    letter["Date"] = format_datetime(context.scheduled_for)
    # A worker may die between sending and saying so, and the run is then tried again. The key of the run is the same in
    # that attempt, so whoever receives the letter twice can tell that it is one.
    letter["Message-ID"] = f"<{context.run_key.replace(':', '.')}@shop.example>"
    letter.set_content(text)
    return letter


def deliver(letter: EmailMessage) -> str:
    """Hand the letter over, and tell where to."""
    smtp = os.environ.get("SHOP_SMTP")
    if smtp:
        _send(letter, smtp)
        return f"smtp://{smtp}"
    maildir = Path(os.environ.get("SHOP_MAILDIR") or ".jobgate/maildir")
    _file(letter, maildir)
    return str(maildir)


def _send(letter: EmailMessage, address: str) -> None:
    host, _, port = address.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=_SMTP_TIMEOUT) as server:
        server.send_message(letter)


def _file(letter: EmailMessage, maildir: Path) -> None:
    # `Maildir(create=True)` fails when another handler creates the folder at the same moment.
    for folder in ("cur", "new", "tmp"):
        (maildir / folder).mkdir(parents=True, exist_ok=True)
    box = mailbox.Maildir(maildir, create=False)
    if not any(filed["Message-ID"] == letter["Message-ID"] for filed in box):
        box.add(letter)
