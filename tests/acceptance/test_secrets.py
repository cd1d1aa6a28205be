"""Of all that lets somebody in, nothing is left behind: not in MongoDB, not in Redis, and not in what processes say.

The product is run as it is used, and abused, at its most talkative; then all that was ever written anywhere is looked through.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
import redis
from click.testing import CliRunner
from pymongo import MongoClient
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from gateway.children import Child, kept
from gateway.cli import commands
from gateway.devstack import Devstack, Servers
from tests.callers import bearer, wrong_secret
from tests.conftest import StartServers
from tests.programs import DEADLINE, gateways, said
from tests.receivers import Server, answering, hang_up, serving
from tests.secrecy import files_content, findings, keep_all_writes, mongodb_content, redis_content, spellings
from tests.tokens import AUDIENCE, ISSUER, claims, token, written

pytestmark = pytest.mark.timeout(180)

NAME: Final = "secretive"
DISPATCH: Final = (
    'mutation { dispatch(input: { namespace: "demo", task: "echo", product: "p", env: "e" }) { __typename } }'
)
SET: Final = (
    "mutation ($input: SetWebhookInput!) { setWebhook(input: $input) { __typename ... on WebhookSet { secret } } }"
)
SEND: Final = "mutation ($input: DispatchInput!) { dispatch(input: $input) { __typename } }"
TASKS: Final = """
from worker.tasks import task

PASSWORD = {"type": "string", "minLength": 8, "writeOnly": True}

@task("mail.send", input={"properties": {"password": PASSWORD}, "additionalProperties": False})
async def send(context, given):
    return len(given["password"])
"""
FOLLOW: Final = "subscription { jobEvents { type } }"


@dataclass
class Secrets:
    """All that was shown, given or chosen."""

    known: dict[str, str] = field(default_factory=dict)
    """Each, and what it is."""

    def add(self, what: str, text: str) -> str:
        self.known[text] = what
        return text

    def exact(self) -> Mapping[bytes, str]:
        """Every spelling of each, and of each part of it that nobody could guess."""
        return {
            spelling: what
            for text, what in self.known.items()
            for part in parts(text)
            for spelling in spellings(part)
            if len(spelling) >= 12
        }


def parts(text: str) -> Iterator[bytes]:
    yield text.encode()
    if text.startswith("jg_"):
        yield text.split("_", 2)[2].encode()
    elif text.startswith("ey"):
        yield text.rpartition(".")[2].encode()
    elif text.startswith("whsec_"):
        yield text.removeprefix("whsec_").encode()
        yield base64.b64decode(text.removeprefix("whsec_"))


@dataclass
class System:
    """The product as processes, and all that is secret about it."""

    stack: Devstack
    servers: Servers
    url: str
    gateway: Child
    worker: Child
    http: httpx.AsyncClient
    secrets: Secrets
    admin: str
    token: str
    receiver: Server
    """Whom jobs call with a credential: it repeats that, and refuses."""

    async def ask(self, shown: str, query: str, **variables: object) -> httpx.Response:
        return await self.http.post(self.url, json={"query": query, "variables": variables}, headers=bearer(shown))


def passwords(stack: Devstack, known: Secrets) -> Servers:
    """The same servers, entered with passwords: what they are called with is as secret as anything."""
    for_mongodb, for_redis = (known.add("a password", secrets.token_urlsafe(24)) for _ in range(2))
    with MongoClient[dict[str, Any]](stack.mongod.url) as client:
        client.admin.command("createUser", "jobgate", pwd=for_mongodb, roles=["root"])
    with redis.Redis.from_url(stack.redis.url) as client:
        client.execute_command("ACL", "SETUSER", "jobgate", "on", f">{for_redis}", "~*", "&*", "+@all")
    keep_all_writes(stack.redis.url)
    mongodb = stack.mongod.url.replace("mongodb://", f"mongodb://jobgate:{for_mongodb}@") + "&authSource=admin"
    return Servers(mongodb, stack.redis.url.replace("redis://", f"redis://jobgate:{for_redis}@"))


@asynccontextmanager
async def system(stack: Devstack, folder: Path) -> AsyncIterator[System]:
    known = Secrets()
    servers = passwords(stack, known)
    sealing = [known.add("a sealing key", base64.b64encode(secrets.token_bytes(32)).decode()) for _ in range(2)]
    settings = {
        "JOBGATE_AUTH": "keys,jwt",
        "JOBGATE_JWT_ISSUER": ISSUER,
        "JOBGATE_JWT_AUDIENCE": AUDIENCE,
        "JOBGATE_JWT_JWKS": written(folder),
        "JOBGATE_SECRET_KEYS": ",".join(sealing),
        "JOBGATE_LOG_LEVEL": "debug",
        "JOBGATE_ALLOW_PRIVATE_ADDRESSES": "true",
        "JOBGATE_AUDIT_READS": "true",
        "JOBGATE_GRAPHIQL": "true",
        "JOBGATE_INTROSPECTION": "true",
        "JOBGATE_TRUSTED_PROXIES": "127.0.0.1",
        **{f"JOBGATE_{kind}_PER_SECOND": "1000" for kind in ("MUTATIONS", "SUBSCRIPTIONS", "CONNECTIONS")},
        "JOBGATE_COST_PER_SECOND": "100000",
    }
    store = {"MONGODB_URL": servers.mongodb_url, "JOBGATE_DATABASE": NAME}
    admin = known.add("a key", (await said("keys", "create", "--name", "a", "--scope", "admin", **store))[1].strip())
    shown = known.add("a token", token(claims(scope="admin", products="*", jti="the id of a token")))
    environment = {**os.environ, **settings, **store, "REDIS_URL": servers.redis_url}
    log = folder / "worker.log"
    (folder / "secretive_tasks.py").write_text(TASKS)
    credential = known.add("a credential", secrets.token_urlsafe(24))
    async with (
        serving(answering("401 No", credential.encode())) as receiver,
        gateways(servers, NAME, 1, folder / "gateway.log", **settings) as [(url, gateway)],
        httpx.AsyncClient(trust_env=False, timeout=DEADLINE) as http,
    ):
        # Where nothing is looked for: this file is to have it.
        file = folder.with_name(f"{folder.name}-credentials")
        file.write_text(json.dumps({"billing": {"origins": [receiver.url("")], "bearer": credential}}))
        environment |= {"JOBGATE_HTTP_CREDENTIALS": str(file), "PYTHONPATH": str(folder)}
        async with kept(Child("worker", ["worker", "--tasks", "secretive_tasks"], environment, log=log)) as worker:
            yield System(stack, servers, url, gateway, worker, http, known, admin, shown, receiver)


# ---------------------------------------------------------------- what is done with them


async def show_what_is_good_and_what_is_not(there: System) -> None:
    known = there.secrets
    bad = [
        known.add("a key with another secret", wrong_secret(there.admin)),
        known.add("a key that is none", "jg_AAAAAAAA_" + secrets.token_urlsafe(32)),
        known.add("what is none", secrets.token_urlsafe(40)),
        known.add("an expired token", token(claims(expires_in=-60))),
        known.add("a token of others", token(claims(aud="others"))),
        known.add("a broken token", there.token[:-10] + "AAAAAAAAAA"),
        known.add("a long thing", "x" * 20_000 + secrets.token_urlsafe(32)),
    ]
    for shown in (there.admin, there.token, *bad):
        good = shown in (there.admin, there.token)
        assert (await there.ask(shown, DISPATCH)).status_code == (200 if good else 401)
        for stream in ({"accept": "text/event-stream"}, {"accept": "application/graphql-response+json"}):
            request = {"query": "{ jobs { nodes { id input result } } }"}
            answer = await there.http.post(there.url, json=request, headers={**stream, **bearer(shown)})
            assert answer.status_code == (200 if good else 401)
        if len(shown) < 4_000:  # in the first line of a handshake, which has to be short
            await open_sockets(there, shown)
    for basic in ("Basic ", "bearer  ", "Token "):
        password = known.add("a password", secrets.token_urlsafe(24))
        encoded = base64.b64encode(f"user:{password}".encode()).decode()
        answer = await there.http.post(there.url, json={"query": FOLLOW}, headers={"authorization": basic + encoded})
        assert answer.status_code == 401
    twice = [("authorization", f"Bearer {there.admin}")] * 2
    assert (await there.http.post(there.url, json={"query": FOLLOW}, headers=twice)).status_code == 401


async def open_sockets(there: System, shown: str) -> None:
    """Open WebSockets with it: in the handshake, in the first message, and in messages that are none."""
    address = "ws" + there.url.removeprefix("http")
    protocols = [Subprotocol("graphql-transport-ws")]
    inits: list[tuple[dict[str, Any], object]] = [
        (bearer(shown), {"type": "connection_init"}),
        ({}, {"type": "connection_init", "payload": bearer(shown)}),
        ({}, {"type": "connection_init", "payload": {"authorization": {"of": shown}}}),
        ({}, {"type": "connection_init", "payload": shown}),
        ({}, {"type": shown}),
        ({}, [shown]),
        ({"cookie": f"key={shown}"}, {"type": "connection_init", "payload": {"key": shown}}),
    ]
    for headers, first in inits:
        with suppress(InvalidStatus, ConnectionClosed):
            async with connect(
                *(f"{address}?access_token={shown}",), subprotocols=protocols, proxy=None, additional_headers=headers
            ) as socket:
                await socket.send(json.dumps(first))
                await socket.recv()
                subscribe = {"query": f"subscription {{ jobEvents {{ type }} }} # {shown}", "operationName": shown}
                await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": subscribe}))
                await socket.recv()


async def show_it_where_it_does_not_belong(there: System) -> None:
    shown = there.admin
    good = bearer(shown)
    misplaced: list[tuple[str, dict[str, Any]]] = [
        ("", {"json": {"query": f'{{ job(id: "{shown}") {{ id }} }}'}}),
        ("", {"json": {"query": f"{{ job(id: {shown}) {{ id }} }}"}}),
        ("", {"json": {"query": f"{{ {shown} }}"}}),
        ("", {"json": {"query": f"query {shown} {{ nothing }}", "operationName": there.token}}),
        (
            "",
            {
                "json": {
                    "query": "query ($id: ID!) { job(id: $id) { id } }",
                    "variables": {"id": shown, "x": there.token},
                }
            },
        ),
        (
            "",
            {"json": {"query": "query ($n: Int!) { events(first: $n) { nodes { seq } } }", "variables": {"n": shown}}},
        ),
        ("", {"json": {"query": "{ viewer { name } }", "variables": shown}}),
        ("", {"json": {"query": "{ viewer { name } }", "extensions": {"key": shown}}}),
        ("", {"json": {"query": f'{{ events(after: "{there.token}") {{ nodes {{ seq }} }} }}'}}),
        ("", {"json": {"query": f'{{ jobs(filter: {{ tags: ["{shown}"] }}) {{ nodes {{ id }} }} }}'}}),
        ("", {"json": {"query": f'{{ audit(filter: {{ origin: {{ by: ["{shown}"] }} }}) {{ nodes {{ id }} }} }}'}}),
        ("", {"json": {"documentId": shown}}),
        ("", {"json": {"documentId": [shown]}}),
        ("", {"json": [shown]}),
        (
            "",
            {
                "content": f'{{"query": "{{ viewer {{ name }} }}", "key": {shown}',
                "headers": {"content-type": "application/json"},
            },
        ),
        ("", {"content": shown.encode() + b"\xff", "headers": {"content-type": "application/json"}}),
        ("", {"content": shown, "headers": {"content-type": "text/plain"}}),
        (f"?key={shown}&access_token={there.token}", {"json": {"query": "{ viewer { name } }"}}),
        (f"/{shown}", {"json": {}}),
        ("", {"json": {"query": "{ viewer { name } }"}, "headers": {"x-api-key": shown, "cookie": f"key={shown}"}}),
        ("", {"json": {"query": "{ viewer { name } }"}, "headers": {"x-forwarded-for": shown}}),
        (
            "",
            {
                "json": {"query": "{ viewer { name } }"},
                "headers": {"last-event-id": shown, "accept": "text/event-stream"},
            },
        ),
    ]
    for path, request in misplaced:
        headers = {**good, **request.pop("headers", {})}
        await there.http.post(there.url + path, headers=headers, **request)
        await there.http.post(there.url + path, headers=request.get("headers", {}), **request)
    await there.http.get(there.url, params={"query": FOLLOW, "key": shown, "authorization": f"Bearer {there.token}"})


async def set_webhooks(there: System) -> None:
    """Those that are reached, refuse, hang up and are not there; each with one secret after the other; and wrong ones."""
    known = there.secrets
    async with (
        serving(answering("204 No Content")) as good,
        serving(answering("500 No")) as bad,
        serving(hang_up) as gone,
    ):
        for url in (good.url("/a"), bad.url("/b"), gone.url("/c"), "http://127.0.0.1:1/d"):
            for _ in range(2):
                secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
                given = {"url": url, "events": ["JOB_SCHEDULED"], "secret": known.add("a given secret", secret)}
                answer = (await there.ask(there.admin, SET, input=given)).json()
                assert answer["data"]["setWebhook"] == {"__typename": "WebhookSet", "secret": None}, answer
            del given["secret"]
            chosen = (await there.ask(there.admin, SET, input=given)).json()["data"]["setWebhook"]["secret"]
            known.add("a chosen secret", chosen)
        password = known.add("a password", secrets.token_urlsafe(24))
        short = known.add("a short secret", "whsec_" + base64.b64encode(secrets.token_bytes(16)).decode())
        wrong: list[dict[str, object]] = [
            {"url": f"https://user:{password}@hooks.example.com/"},
            {"secret": short},
            {"secret": known.add("a secret of another kind", secrets.token_urlsafe(30))},
            {"secret": [short]},
            {"secrets": short},
        ]
        for change in wrong:
            answer = (await there.ask(there.admin, SET, input={**given, **change})).json()
            assert "WebhookSet" not in str(answer)
        await there.ask(there.admin, DISPATCH)
        await until(there, "deliveries", {"status": "delivered"}, 1)
        # Each of the others was tried at least, with the secrets of before beside the new one.
        await until(there, "deliveries", {"attempts.0": {"$exists": True}}, 4)
        assert {header for _, headers, _ in good.requests for header in headers} >= {"webhook-signature"}


async def give_them_to_jobs(there: System) -> None:
    """In inputs, right and wrong, and as credentials; where they do not belong, too."""
    known = there.secrets
    password = known.add("an input", secrets.token_urlsafe(24))
    call = {"url": there.receiver.url("/invoices"), "method": "GET"}
    right: list[tuple[str, dict[str, Any]]] = [
        ("mail.send", {"password": password}),
        ("http.request", {**call, "credential": "billing"}),
    ]
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("mail.send", {"password": [password]}),
        ("mail.send", {"password": password, "user": "ann"}),
        ("mail.send", {"password": known.add("a short input", secrets.token_urlsafe(9))[:7]}),
        ("http.request", {**call, "headers": {"Authorization": f"Bearer {password}"}}),
        ("http.request", {**call, "headers": {"cookie": password}}),
    ]
    for name, given in (*right, *wrong):
        namespace, _, task = name.partition(".")
        wanted = {"namespace": namespace, "task": task, "product": "p", "env": "e", "input": given}
        answer = (await there.ask(there.admin, SEND, input={**wanted, "idempotencyKey": str(given.keys())})).json()
        expected = "Job" if (name, given) in right else "InvalidInput"
        assert answer["data"]["dispatch"] == {"__typename": expected}, answer
        await there.ask(there.admin, SEND, input={**wanted, "idempotencyKey": str(given.keys())})
        await there.ask(there.admin, SEND, input={**wanted, "retries": password})
    await until(there, "jobs", {"namespace": "mail", "status": "completed"}, 1)
    await until(there, "jobs", {"namespace": "http", "status": "failed"}, 1)
    assert any(f"Bearer {known_as(known, 'a credential')}" in str(headers) for _, headers, _ in there.receiver.requests)


def known_as(known: Secrets, what: str) -> str:
    return next(text for text, said in known.known.items() if said == what)


async def until(there: System, collection: str, wanted: dict[str, Any], count: int) -> None:
    with MongoClient[dict[str, Any]](there.stack.mongod.url) as client:
        async with asyncio.timeout(DEADLINE):
            while client[NAME][collection].count_documents(wanted) < count:
                await there.http.get(there.url.replace("/graphql", "/healthz"))


async def use_commands(there: System, folder: Path) -> None:
    servers = there.servers
    store = {"MONGODB_URL": servers.mongodb_url, "REDIS_URL": servers.redis_url, "JOBGATE_DATABASE": NAME}
    document = folder / "document.graphql"
    document.write_text("query Who { viewer { name } }")
    made, words = await used("keys", "create", "--name", "b", "--scope", "jobs:read", **store)
    key = there.secrets.add("a key to be revoked", made.strip())
    bad_key = there.secrets.add("a bad sealing key", base64.b64encode(secrets.token_bytes(31)).decode())
    password = there.secrets.add("a password", secrets.token_urlsafe(24))
    told = [
        words,
        *await used("documents", "register", str(document), **store),
        *await used("keys", "revoke", key, **store),
        *await used("keys", "revoke", key[:-1], **store),
        *await used("keys", "list", **store),
        *await used("doctor", **store),
        *await used("serve", **store, JOBGATE_SECRET_KEYS=bad_key),
        *await used("keys", "list", **{**store, "MONGODB_URL": f"mongodb://jobgate:{password}@["}),
        *await used("keys", "list", **{**store, "MONGODB_URL": f"{password}@example"}),
    ]
    assert f"key {key.split('_')[1]} is revoked" in str(told)
    (folder / "commands.log").write_text("\n".join(told))


async def used(*arguments: str, **environment: str) -> tuple[str, str]:
    """What a command prints, and what it complains of. Within this process: to start another takes a second each time."""
    result = await asyncio.to_thread(CliRunner().invoke, commands, arguments, env=environment)
    return result.stdout, result.stderr + str(result.exception or "")


async def break_things(there: System) -> None:
    """The worker dies at what it is at, and the stores are away for a while; Redis forgets the password meanwhile."""
    assert there.worker.pid is not None
    os.kill(there.worker.pid, signal.SIGKILL)
    await there.ask(there.admin, DISPATCH)
    await asyncio.gather(there.stack.redis.restart(), there.stack.mongod.restart())
    async with asyncio.timeout(DEADLINE):
        while "AuthenticationError" not in (await there.http.get(there.url.replace("/graphql", "/readyz"))).text:
            await there.ask(there.admin, "{ jobs { nodes { id } } }")


# ---------------------------------------------------------------- and that it is nowhere


def look_through(there: System, folder: Path) -> list[str]:
    """Where any of it is, in all that the servers have ever been given and all that was said."""
    exact = there.secrets.exact()
    stack = there.stack
    contents = itertools.chain(
        mongodb_content(there.servers.mongodb_url),
        redis_content(stack.redis.url),
        files_content(folder),
    )
    return [finding for place, data in contents for finding in findings(place, data, exact)]


def plant(there: System, folder: Path) -> None:
    """Leave a secret behind in each kind of place, in another spelling each."""
    key = there.admin
    with MongoClient[dict[str, Any]](there.stack.mongod.url) as client:
        client[NAME]["planted"].insert_one({"deep": [{"header": base64.b64encode(f"Bearer {key}".encode()).decode()}]})
        client[NAME]["gone"].insert_one({"_id": key})
        client[NAME].drop_collection("gone")
    keep_all_writes(there.stack.redis.url)  # it was started anew
    with redis.Redis.from_url(there.stack.redis.url) as client_:
        client_.hset("planted", "field", key)
        client_.zadd("gone", {key.split("_", 2)[2]: 1})
        client_.delete("gone")
    (folder / "planted.log").write_text(quote(there.token, safe=""))


async def test_nothing_that_lets_somebody_in_is_left_behind(own_servers: StartServers, tmp_path: Path) -> None:
    stack = await own_servers()
    async with system(stack, tmp_path) as there:
        await show_what_is_good_and_what_is_not(there)
        await show_it_where_it_does_not_belong(there)
        await set_webhooks(there)
        await give_them_to_jobs(there)
        await use_commands(there, tmp_path)
        assert look_through(there, tmp_path) == []
        await break_things(there)
        assert look_through(there, tmp_path) == []
        logs = {name: (tmp_path / f"{name}.log").read_text() for name in ("gateway", "worker")}
        assert f"refused key {there.admin.split('_')[1]}" in logs["gateway"]
        assert "AuthenticationError" in logs["gateway"]
        # And where something is, it is found.
        plant(there, tmp_path)
        found = " ".join(look_through(there, tmp_path))
        for place in (f"{NAME}.planted", "local.oplog.rs", "Redis 0", "appendonly.aof", "planted.log"):
            assert f"in {place}" in found, place
