"""``jobgate keys``: made, listed, revoked; what is wrong is refused, and names the option."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from pymongo import MongoClient

from gateway.cli import commands
from gateway.devstack import Servers
from jobs.api_keys import present
from storage.client import Database
from tests.callers import key_in
from tests.programs import said

SCOPES = ("--scope", "jobs:read")


@pytest.fixture
def store(servers: Servers, database_name: str) -> dict[str, str]:
    """Of the two stores, keys need but the one."""
    return {"MONGODB_URL": servers.mongodb_url, "JOBGATE_DATABASE": database_name}


async def test_a_key_is_shown_once_and_what_is_stored_of_it_lets_nobody_in(
    store: dict[str, str], database: Database
) -> None:
    options = ["--name", "the shop", *SCOPES, "--scope", "jobs:dispatch", "--product", "shop", "--env", "prd"]
    status, out, err = await said("keys", "create", *options, "--expires-days", "30", **store)
    text = out.strip()
    key = present(text)
    assert (status, out) == (0, f"{text}\n")
    assert key is not None
    assert err == f"key {key.id} for 'the shop'; this is the only time that it is shown:\n"
    [document] = await database["api_keys"].find({}).to_list(2)
    created = document.pop("created_at")
    assert document == {
        "_id": key.id,
        "name": "the shop",
        "hash": key.digest,
        "scopes": ["jobs:dispatch", "jobs:read"],
        "products": ["shop"],
        "envs": ["prd"],
        "expires_at": created + timedelta(days=30),
        "revoked_at": None,
        "last_used_at": None,
    }


async def test_keys_are_listed_with_all_but_their_secrets(store: dict[str, str], database: Database) -> None:
    assert await said("keys", "list", **store) == (0, "there are no keys; `jobgate keys create` makes one\n", "")
    _, first, _ = await said("keys", "create", "--name", "admin", "--scope", "admin", **store)
    narrow = ["--product", "shop", "--product", "blog", "--env", "prd", "--expires-days", "1"]
    _, second, _ = await said("keys", "create", "--name", "b", *SCOPES, *narrow, **store)
    ids = [text.split("_")[1] for text in (first, second)]
    status, out, _ = await said("keys", "list", **store)
    created = (await database["api_keys"].find_one({"_id": ids[1]}))["created_at"]
    expires = (created + timedelta(days=1)).isoformat(timespec="seconds")
    assert status == 0
    assert [line.split() for line in out.splitlines()] == [
        ["ID", "NAME", "STATE", "SCOPES", "PRODUCTS", "ENVS", "EXPIRES", "LAST", "USED"],
        [ids[0], "admin", "active", "admin", "all", "all", "never", "never"],
        [ids[1], "b", "active", "jobs:read", "blog,shop", "prd", expires, "never"],
    ]
    assert not [text for text in (first, second) if text.strip().split("_", 2)[2] in out]


async def test_a_key_is_revoked_once_and_an_unknown_one_is_told(store: dict[str, str]) -> None:
    _, text, _ = await said("keys", "create", "--name", "a", *SCOPES, **store)
    id_ = text.split("_")[1]
    assert await said("keys", "revoke", id_, **store) == (0, f"key {id_} is revoked\n", "")
    again = f"key {id_} was revoked before; nothing was changed\n"
    assert await said("keys", "revoke", id_, **store) == (0, again, "")
    unknown = "jobgate: there is no key 'nope'; `jobgate keys list` shows those that there are\n"
    assert await said("keys", "revoke", "nope", **store) == (1, "", unknown)
    assert (await said("keys", "list", **store))[1].splitlines()[1].split()[2] == "revoked"


@pytest.mark.parametrize("characters", [None, len("jg_") + 8])
async def test_a_whole_key_or_its_beginning_is_revoked_and_not_named(
    store: dict[str, str], database: Database, characters: int | None
) -> None:
    text = await key_in(database)
    id_ = text.split("_")[1]
    assert await said("keys", "revoke", text[:characters], **store) == (0, f"key {id_} is revoked\n", "")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--name", "a"], "--scope"),
        (SCOPES, "--name"),
        (["--name", "a", "--scope", "jobs:dream"], "--scope"),
        (["--name", "", *SCOPES], "--name"),
        (["--name", "  ", *SCOPES], "--name"),
        (["--name", "a\nb", *SCOPES], "--name"),
        (["--name", "x" * 201, *SCOPES], "--name"),
        (["--name", "a", *SCOPES, "--product", ""], "--product"),
        (["--name", "a", *SCOPES, "--env", "x" * 129], "--env"),
        (["--name", "a", *SCOPES, "--expires-days", "0"], "--expires-days"),
        (["--name", "a", *SCOPES, "--expires-days", "-1"], "--expires-days"),
        (["--name", "a", *SCOPES, "--expires-days", "nan"], "--expires-days"),
    ],
)
def test_what_is_wrong_is_refused_and_names_the_option(
    store: dict[str, str], mongodb: MongoClient[dict[str, Any]], options: list[str], named: str
) -> None:
    result = CliRunner().invoke(commands, ["keys", "create", *options], env=store)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"'{named}'" in result.stderr.partition("Error: ")[2]
    assert mongodb[store["JOBGATE_DATABASE"]]["api_keys"].count_documents({}) == 0


async def test_the_longest_name_is_a_name(store: dict[str, str]) -> None:
    status, _, _ = await said("keys", "create", "--name", "x" * 200, *SCOPES, **store)
    assert status == 0


async def test_without_a_database_it_says_what_to_set() -> None:
    assert await said("keys", "list") == (1, "", "jobgate: set MONGODB_URL to where the keys are\n")
