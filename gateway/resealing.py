"""``jobgate secrets rotate``: seals all secrets by the newest key, so that the others need not be kept."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Final

import click

from gateway.settings import Settings, SettingsError
from storage.client import check_server, close_client, open_client, open_database
from storage.resealing import Resealed, Resealing
from storage.sealing import Sealer

_CHANGED: Final = "changed meanwhile and were left: run this once more"
_UNREADABLE: Final = "have a secret that none of JOBGATE_SECRET_KEYS opens"


@click.group("secrets")
def secrets_commands() -> None:
    """Keep what is sealed with JOBGATE_SECRET_KEYS."""


@secrets_commands.command("rotate")
def rotate_command() -> None:
    """Seal the secrets of webhooks and of inputs by the first key. To be repeated at will."""
    webhooks, jobs = asyncio.run(_rotate())
    for line in (*_told("webhooks", webhooks), *_told("jobs", jobs)):
        click.echo(line)
    sys.exit(1 if any(one.changed or one.unreadable for one in (webhooks, jobs)) else 0)


async def _rotate() -> tuple[Resealed, Resealed]:
    settings = Settings.from_environment()
    if settings.mongodb_url is None:
        raise SettingsError("set MONGODB_URL to where the secrets are")
    if not settings.sealing_keys:
        raise SettingsError("set JOBGATE_SECRET_KEYS, the new key before the others")
    client = open_client(settings.mongodb_url, settings.driver)
    try:
        await check_server(client)
        resealing = Resealing(open_database(client, settings.database), Sealer(settings.sealing_keys))
        return await resealing.webhooks(), await resealing.inputs()
    finally:
        await close_client(client)


def _told(what: str, counted: Resealed) -> Iterator[str]:
    yield f"{what}: {counted.done} sealed anew"
    if counted.changed:
        yield f"{what}: {counted.changed} {_CHANGED}"
    if counted.unreadable:
        yield f"{what}: {counted.unreadable} {_UNREADABLE}"
