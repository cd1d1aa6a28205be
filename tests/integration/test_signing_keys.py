"""The keys that tokens are signed with: from a file or a server, and how often that is asked."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import SettingsError
from gateway.signing_keys import AT_MOST_EVERY, READ_EVERY, SigningKeys
from tests.receivers import Reply, answering, serving
from tests.tokens import key_set

OCT = {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"}
MINUTE = AT_MOST_EVERY.total_seconds()


class Watch:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def changing(*texts: str) -> Reply:
    """Answers one key set after the other, the last of them from then on."""
    left = list(texts)

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = left.pop(0) if len(left) > 1 else left[0]
        await answering("200 OK", text.encode(), "application/json")(reader, writer)

    return reply


async def test_a_file_is_read_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(key_set())
    keys = SigningKeys(str(file))
    await keys.start()
    found = [await keys.find(kid) for kid in ("rsa", "ec", "ed", "nope", "../../etc/passwd", None)]
    assert [key is not None for key in found] == [True, True, True, False, False, False]


@pytest.mark.parametrize(
    "text", [None, "", "[]", "{}", '{"keys": []}', '{"keys": 7}', "nonsense", json.dumps({"keys": [OCT]})]
)
async def test_without_keys_the_gateway_does_not_start(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "keys.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=r"JOBGATE_JWT_JWKS cannot be read: ."):
        await SigningKeys(str(file)).start()


async def test_secret_keys_and_those_for_encryption_are_none(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    [rsa] = [key for key in json.loads(key_set())["keys"] if key["kid"] == "rsa"]
    file.write_text(key_set(OCT, {**rsa, "kid": "locks", "use": "enc"}, {**rsa, "kid": "signs", "use": "sig"}))
    keys = SigningKeys(str(file))
    await keys.start()
    assert await keys.find("secret") is None
    assert await keys.find("locks") is None
    assert await keys.find("signs") is not None


async def test_a_key_without_an_id_is_found_by_none(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    [rsa] = [key for key in json.loads(key_set())["keys"] if key.pop("kid") == "rsa"]
    file.write_text(json.dumps({"keys": [rsa]}))
    keys = SigningKeys(str(file))
    await keys.start()
    assert await keys.find(None) is not None


async def test_an_unknown_key_is_looked_for_at_most_once_a_minute() -> None:
    watch = Watch()
    async with serving(changing(key_set(without="ec"), key_set())) as server:
        keys = SigningKeys(server.url(), watch)
        await keys.start()
        watch.seconds += MINUTE - 1
        assert await keys.find("ec") is None
        assert server.connections == 1
        watch.seconds += 1
        # All at once: one asks for all.
        assert None not in await asyncio.gather(*(keys.find("ec") for _ in range(10)))
        assert await keys.find("nope") is None
        assert server.connections == 2


async def test_a_key_that_is_withdrawn_is_good_for_some_minutes_and_not_for_ever() -> None:
    watch = Watch()
    async with serving(changing(key_set(), key_set(without="ec"))) as server:
        keys = SigningKeys(server.url(), watch)
        await keys.start()
        watch.seconds += READ_EVERY.total_seconds() - 1
        assert await keys.keep_fresh() == MINUTE
        assert await keys.find("ec") is not None
        watch.seconds += 1
        await keys.keep_fresh()
        assert await keys.find("ec") is None
        assert server.connections == 2


async def test_what_is_known_stays_good_while_the_issuer_is_away(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    async with serving(changing(key_set(), "nonsense")) as server:
        keys = SigningKeys(server.url(), watch)
        await keys.start()
        watch.seconds += MINUTE
        assert await keys.find("nope") is None
        assert await keys.find("rsa") is not None
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage().startswith("the keys that tokens are signed with cannot be read: ")


async def silent(reader: asyncio.StreamReader, _: Any) -> None:
    await reader.read()


@pytest.mark.parametrize(
    "reply", [answering("500 Oh", key_set().encode()), answering("302 Found", Location="/x"), silent]
)
async def test_a_server_that_answers_no_keys_is_not_waited_for_nor_followed(reply: Reply) -> None:
    async with serving(reply) as server:
        with pytest.raises(SettingsError, match=r"JOBGATE_JWT_JWKS cannot be read: ."):
            # Long enough for a busy machine to connect: it is not to do so twice.
            await SigningKeys(server.url(), within=timedelta(seconds=2)).start()
        assert server.connections == 1
