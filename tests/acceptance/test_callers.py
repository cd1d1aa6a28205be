"""Who may call, of the product as it is run: it has to be said, and no secret stays behind in the database or in the log."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gateway.devstack import Servers
from tests.callers import bearer, wrong_secret
from tests.programs import gateways, said
from tests.tokens import AUDIENCE, ISSUER, claims, token, written

STORES = {"MONGODB_URL": "mongodb://127.0.0.1:1", "REDIS_URL": "redis://127.0.0.1:1"}
JWT = {"JOBGATE_AUTH": "jwt", "JOBGATE_JWT_ISSUER": ISSUER, "JOBGATE_JWT_AUDIENCE": AUDIENCE}
TYPENAME = {"query": "{ __typename }"}
DISPATCH = 'mutation { dispatch(input: { namespace: "a", task: "b", product: "p", env: "e" }) { __typename } }'


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"JOBGATE_AUTH": ""}, "set JOBGATE_AUTH to keys, jwt or keys,jwt, or to none to have everybody do everything"),
        (JWT, "JOBGATE_AUTH has jwt: set JOBGATE_JWT_JWKS as well"),
    ],
)
async def test_a_gateway_has_to_be_told_who_may_call(environment: dict[str, str], complaint: str) -> None:
    assert await said("serve", **STORES, **environment) == (1, "", f"jobgate: {complaint}\n")


async def test_the_development_server_says_as_well_what_tokens_need(tmp_path: Path) -> None:
    _, _, err = await said("dev", "--data", str(tmp_path), **JWT)
    assert err == "jobgate: JOBGATE_AUTH has jwt: set JOBGATE_JWT_JWKS as well\n"


async def test_keys_that_cannot_be_read_are_told_at_the_start(
    servers: Servers, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    stores = {"MONGODB_URL": servers.mongodb_url, "REDIS_URL": redis_url, "JOBGATE_DATABASE": database_name}
    file = str(tmp_path / "none.json")
    status, _, err = await said("serve", "--port", "0", **stores, **JWT, JOBGATE_JWT_JWKS=file)
    assert status == 1
    assert err.splitlines()[-1].startswith("jobgate: JOBGATE_JWT_JWKS cannot be read: ")


async def test_no_secret_stays_behind_in_the_database_or_in_the_log(
    servers: Servers, redis_url: str, database_name: str, mongodb: MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    log = tmp_path / "gateway.log"
    settings = {**JWT, "JOBGATE_AUTH": "keys,jwt", "JOBGATE_JWT_JWKS": written(tmp_path), "JOBGATE_LOG_LEVEL": "debug"}
    store = {"MONGODB_URL": servers.mongodb_url, "JOBGATE_DATABASE": database_name}
    _, out, err = await said("keys", "create", "--name", "shop", "--scope", "admin", **store)
    key = out.strip()
    shown = [key, wrong_secret(key), "jg_AAAAAAAA_" + "B" * 43, "garbage-that-is-none", token()]
    shown.append(token(claims(expires_in=-60)))
    opening = gateways(Servers(servers.mongodb_url, redis_url), database_name, 1, log, **settings)
    async with opening as [(url, _)], httpx.AsyncClient(timeout=60, trust_env=False) as http:
        asked = [await http.post(url, json=TYPENAME, headers=bearer(text)) for text in shown]
        for text in shown:
            await initialise(url, text)
        listed = await said("keys", "list", **store)
        tried = await http.post(url, json={"query": DISPATCH}, headers=bearer(key))
    assert [response.status_code for response in asked] == [200, 401, 401, 401, 200, 401]
    assert tried.json()["data"]["dispatch"]["__typename"] == "InvalidInput"
    said_by_the_gateway = log.read_text()
    assert f"refused key {key.split('_')[1]}" in said_by_the_gateway
    assert "refused a token" in said_by_the_gateway
    dumped = repr([list(collection.find({})) for collection in collections(mongodb, database_name)])
    assert key.split("_")[1] in dumped
    for secret in secrets_in(shown):
        for place in (said_by_the_gateway, dumped, err, *map(str, listed), *(response.text for response in asked)):
            assert secret not in place


def secrets_in(shown: list[str]) -> list[str]:
    """What each of them has that the others must not come to know; of a token, each of its parts but the header."""
    return [part for text in shown for part in (text.split(".")[1:] if "." in text else [text, text.split("_", 2)[-1]])]


def collections(mongodb: MongoClient[dict[str, Any]], name: str) -> list[Any]:
    return [mongodb[name][collection] for collection in mongodb[name].list_collection_names()]


async def initialise(url: str, text: str) -> None:
    """Open a WebSocket with it, twice: shown in the handshake, and in the first message."""
    address, protocols = "ws" + url.removeprefix("http"), [Subprotocol("graphql-transport-ws")]
    for headers, payload in ((bearer(text), {}), ({}, bearer(text))):
        async with connect(address, subprotocols=protocols, proxy=None, additional_headers=headers) as socket:
            await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
            with suppress(ConnectionClosed):
                await socket.recv()
