"""``jobgate documents``: what clients may name is registered by those who deploy them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from gateway.devstack import Servers
from storage.client import Database
from storage.known_documents import document_id
from tests.programs import said

READ: Final = "query Read { jobs { nodes { id } } }"
BARE: Final = "{ __typename }"
TWO: Final = "query A { __typename } query B { __typename }"


def environment(servers: Servers, name: str) -> dict[str, str]:
    return {"MONGODB_URL": servers.mongodb_url, "REDIS_URL": servers.redis_url, "JOBGATE_DATABASE": name}


async def test_documents_are_registered_and_listed(
    servers: Servers, database: Database, database_name: str, tmp_path: Path
) -> None:
    stores = environment(servers, database_name)
    one, many = tmp_path / "bare.graphql", tmp_path / "many.json"
    one.write_text(BARE)
    many.write_text(json.dumps({document_id(READ): READ, "sha256:" + document_id(TWO): TWO}))
    names = {BARE: "bare", READ: "Read", TWO: "A, B"}
    told = "".join(f"{document_id(text)}  {name}\n" for text, name in names.items())
    assert await said("documents", "register", str(one), str(many), **stores) == (0, told, "")
    status, out, err = await said("documents", "list", **stores)
    assert (status, err) == (0, "")
    listed = [(line.split("  ")[0], line.split("  ")[2]) for line in out.splitlines()]
    assert listed == sorted((document_id(text), name) for text, name in names.items())
    stored = {one["_id"]: one["text"] async for one in database["documents"].find()}
    assert stored == {document_id(text): text for text in names}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"x": "{ __typename }"}', f": x: not the SHA-256 of its text, which is {document_id(BARE)}"),
        (b'{"x": 5}', ": x: not the text of a document"),
        (b"[]", ": not an object of documents by their ids"),
        (b"{", ": not JSON"),
        (b"\xff", ": not text in UTF-8"),
        (
            json.dumps({document_id("{ nope }"): "{ nope }"}).encode(),
            f": {document_id('{ nope }')}: Cannot query field 'nope' on type 'Query'. Did you mean 'node'?",
        ),
    ],
)
async def test_a_bad_one_is_named_and_none_is_registered(
    servers: Servers, database: Database, database_name: str, tmp_path: Path, content: bytes, complaint: str
) -> None:
    good, bad = tmp_path / "good.graphql", tmp_path / "bad.json"
    good.write_text(READ)
    bad.write_bytes(content)
    status, out, err = await said("documents", "register", str(good), str(bad), **environment(servers, database_name))
    assert (status, out, err) == (1, "", f"jobgate: {bad}{complaint}\n")
    assert await database["documents"].count_documents({}) == 0
