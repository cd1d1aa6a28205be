"""``jobgate documents``: registering GraphQL documents, and telling which are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import click
from graphql import GraphQLSchema

from gateway.settings import Settings, store_urls
from jobs.errors import JobgateError
from schema.build import build_schema
from schema.known_documents import name_of, problem_of
from storage.client import close_client, open_client, open_database
from storage.known_documents import KnownDocument, KnownDocuments, document_id, plain_id

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class BadDocument(JobgateError):
    """A file holds something that cannot be registered; the message names it."""


@click.group("documents")
def documents() -> None:
    """Register the GraphQL documents that clients may name by their id."""


@documents.command("register")
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")
def register_command(files: tuple[Path, ...]) -> None:
    """Register documents: a file of one, or a JSON object of many by their ids, the SHA-256 of each. All of them or none."""
    # As the gateway has it: all of it that a suggestion could tell is in the hands of whoever can register.
    schema = build_schema()._schema  # noqa: SLF001  # Strawberry's own extensions reach it in this way
    texts = {text: name for file in files for text, name in read_documents(file, schema)}
    asyncio.run(_register(texts))
    for text, name in texts.items():
        click.echo(f"{document_id(text)}  {name}")


@documents.command("list")
def list_command() -> None:
    """List the documents that are registered: id, time and name."""
    for one in asyncio.run(_all()):
        click.echo(f"{one.id}  {one.created_at:%Y-%m-%dT%H:%M:%SZ}  {one.name}")


def read_documents(file: Path, schema: GraphQLSchema) -> Iterator[tuple[str, str]]:
    """Text and name of the documents of a file. Raises :class:`BadDocument` for the first that cannot be registered."""
    try:
        content = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadDocument(f"{file}: not text in UTF-8") from None
    for place, text in _documents(file, content):
        problem = problem_of(text, schema)
        if problem is not None:
            raise BadDocument(f"{place}: {problem}")
        yield text, name_of(text) or file.stem


def _documents(file: Path, content: str) -> Iterator[tuple[str, str]]:
    if file.suffix != ".json":
        yield str(file), content
        return
    try:
        given = json.loads(content)
    except (ValueError, RecursionError):
        raise BadDocument(f"{file}: not JSON") from None
    if not isinstance(given, dict):
        raise BadDocument(f"{file}: not an object of documents by their ids")
    for id_, text in given.items():
        place = f"{file}: {id_[:100]}"
        if not isinstance(text, str):
            raise BadDocument(f"{place}: not the text of a document")
        if plain_id(id_) != document_id(text):
            raise BadDocument(f"{place}: not the SHA-256 of its text, which is {document_id(text)}")
        yield place, text


@asynccontextmanager
async def _opened() -> AsyncIterator[KnownDocuments]:
    settings = Settings.from_environment()
    client = open_client(store_urls(settings)[0], settings.driver)
    try:
        yield KnownDocuments(open_database(client, settings.database))
    finally:
        await close_client(client)


async def _register(texts: dict[str, str]) -> None:
    async with _opened() as known:
        await known.register(texts)


async def _all() -> list[KnownDocument]:
    async with _opened() as known:
        return await known.all()
