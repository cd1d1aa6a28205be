"""``jobgate keys``: API keys are made, listed and revoked by whoever can reach the database, and by nobody else."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import starmap
from typing import Any, Final, NamedTuple

import click
from uuid_utils import uuid7

from gateway.settings import Settings, SettingsError
from jobs.access import EVERYWHERE, Reach, Scope
from jobs.api_keys import LONGEST_NAME, ApiKey, meant, new_key
from jobs.audit import ID_PREFIX, AuditAction, AuditEntry
from jobs.origins import CredentialKind, Origin, told
from storage.api_keys import ApiKeys
from storage.audit import AuditLog
from storage.client import check_server, close_client, open_client, open_database
from storage.clock import DatabaseClock

_LONGEST_LABEL: Final = 128
_MOST_DAYS: Final = 36_500
_COLUMNS: Final = ("ID", "NAME", "STATE", "SCOPES", "PRODUCTS", "ENVS", "EXPIRES", "LAST USED")
_NONE: Final = "there are no keys; `jobgate keys create` makes one"


Check = Callable[[click.Context, click.Parameter, Any], Any]


def _of_one_line(longest: int) -> Check:
    """Refuses, naming the option, what is no text of one line and of this length at most."""

    def check(_: click.Context, __: click.Parameter, value: Any) -> Any:
        for text in value if isinstance(value, tuple) else (value,):
            if not text.strip() or len(text) > longest or not text.isprintable():
                raise click.BadParameter(f"must be 1 to {longest} printable characters, not spaces alone")
        return value

    return check


class _Opened(NamedTuple):
    keys: ApiKeys
    audit: AuditLog
    now: datetime

    async def note(self, action: AuditAction, key_id: str) -> None:
        """Note what is about to be done to a key, by whom on which machine. Raises ``StoreUnavailable``."""
        origin = Origin(CredentialKind.COMMAND, address=told(socket.gethostname()))
        entry = AuditEntry(f"{ID_PREFIX}{uuid7().hex}", self.now, action, _user(), origin, (key_id,))
        await self.audit.note(entry, EVERYWHERE)


@click.group("keys")
def keys_commands() -> None:
    """Make, list and revoke the API keys that callers identify themselves with."""


@keys_commands.command("create")
@click.option("--name", callback=_of_one_line(LONGEST_NAME), required=True, help="What events remember as the actor.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    required=True,
    help="What may be done with it; repeatable.",
)
@click.option(
    "--product", "products", callback=_of_one_line(_LONGEST_LABEL), multiple=True, help="Repeatable; all unless given."
)
@click.option(
    "--env", "envs", callback=_of_one_line(_LONGEST_LABEL), multiple=True, help="Repeatable; all unless given."
)
@click.option("--expires-days", type=click.IntRange(1, _MOST_DAYS), help="Days that it lives; for ever unless given.")
def create_command(
    name: str, scopes: tuple[str, ...], products: tuple[str, ...], envs: tuple[str, ...], expires_days: int | None
) -> None:
    """Make a key. It is printed once, and stored nowhere."""
    reach = Reach(frozenset(products) or None, frozenset(envs) or None)
    age = None if expires_days is None else timedelta(days=expires_days)
    text, key = asyncio.run(_create(name, frozenset(map(Scope, scopes)), reach, age))
    # The key alone goes to where a script reads.
    click.echo(f"key {key.id} for {name!r}; this is the only time that it is shown:", err=True)
    click.echo(text)


@keys_commands.command("list")
def list_command() -> None:
    """Show all keys, but for their secrets."""
    for line in asyncio.run(_list()):
        click.echo(line)


@keys_commands.command("revoke")
@click.argument("key_id", metavar="ID")
def revoke_command(key_id: str) -> None:
    """Have a key open nothing any more, everywhere within ten seconds.

    The whole key will do as well, or its beginning, and is not shown.
    """
    key_id = meant(key_id)
    revoked = asyncio.run(_revoke(key_id))
    click.echo(f"key {key_id} is revoked" if revoked else f"key {key_id} was revoked before; nothing was changed")


@asynccontextmanager
async def _opened() -> AsyncIterator[_Opened]:
    """The keys, and the time by the clock of the database. Raises ``SettingsError``, ``StoreUnavailable``."""
    settings = Settings.from_environment(os.environ)
    if settings.mongodb_url is None:
        raise SettingsError("set MONGODB_URL to where the keys are")
    client = open_client(settings.mongodb_url, settings.driver)
    try:
        await check_server(client)
        database = open_database(client, settings.database)
        clock = DatabaseClock(database)
        await clock.synchronise()
        yield _Opened(ApiKeys(database), AuditLog(database), clock.now())
    finally:
        await close_client(client)


async def _create(name: str, scopes: frozenset[Scope], reach: Reach, age: timedelta | None) -> tuple[str, ApiKey]:
    async with _opened() as opened:
        text, presented = new_key()
        expires_at = None if age is None else opened.now + age
        key = ApiKey(presented.id, name, presented.digest, scopes, reach, opened.now, expires_at)
        await opened.note(AuditAction.CREATE_KEY, key.id)
        await opened.keys.insert(key)
    return text, key


async def _list() -> list[str]:
    async with _opened() as opened:
        rows = [_row(key, opened.now) for key in await opened.keys.list_all()]
    return _aligned([_COLUMNS, *rows]) if rows else [_NONE]


async def _revoke(key_id: str) -> bool:
    async with _opened() as opened:
        key = await opened.keys.find(key_id)
        if key is not None and key.revoked_at is None:
            await opened.note(AuditAction.REVOKE_KEY, key_id)
        return await opened.keys.revoke(key_id, opened.now)


def _user() -> str:
    """Who gives this command, as the system knows them, whatever they say in ``LOGNAME``; by number where it has no name."""
    user = os.getuid()
    try:
        return told(pwd.getpwuid(user).pw_name) or str(user)
    except KeyError:
        return str(user)


def _row(key: ApiKey, now: datetime) -> tuple[str, ...]:
    return (
        key.id,
        key.name,
        key.state(now).value,
        ",".join(sorted(key.scopes)),
        _named(key.reach.products),
        _named(key.reach.envs),
        _instant(key.expires_at),
        _instant(key.last_used_at),
    )


def _named(reached: frozenset[str] | None) -> str:
    return "all" if reached is None else ",".join(sorted(reached))


def _instant(at: datetime | None) -> str:
    return "never" if at is None else at.isoformat(timespec="seconds")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(starmap(str.ljust, zip(row, widths, strict=True))).rstrip() for row in rows]
