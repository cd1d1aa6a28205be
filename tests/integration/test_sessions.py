"""What was opened ends with what was shown to open it: a key that is revoked or expires, a token that expires."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.credentials import Caller
from gateway.devstack import Servers
from gateway.sessions import Sessions, is_subscription
from jobs.access import ANYBODY
from schema.known_documents import DocumentId
from storage.api_keys import ApiKeys
from storage.known_documents import KnownDocuments, document_id
from tests.callers import LAPSED, bearer, id_of, key_in
from tests.event_streams import Event
from tests.failing import FailingMongod
from tests.gateway import LiveGateway, serving, serving_for_all
from tests.tokens import AUDIENCE, ISSUER, claims, token, written

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("nothing_is_logged")]

FOLLOW: Final = "subscription { jobEvents { type } }"
WITHIN: Final = 10.0
"""Seconds, as is promised."""

LAPSED_EVENT: Final = Event("next", None, {"errors": [LAPSED]})
COMPLETE: Final = Event("complete", None, None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    servers: Servers, mongodb: MongoClient[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LiveGateway]:
    settings = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_jwks": written(tmp_path_factory.mktemp("issuer"))}
    async with serving_for_all(servers, mongodb, auth="keys,jwt", **settings) as gateway:
        yield gateway


def keys(gateway: LiveGateway) -> ApiKeys:
    return ApiKeys(gateway.gateway.database)


async def revoke(gateway: LiveGateway, text: str) -> None:
    await keys(gateway).revoke(id_of(text), gateway.services.clock.now())


async def lapsing(gateway: LiveGateway, kind: str) -> str:
    """What is good for five more seconds: time to open something."""
    if kind == "token":
        return token(claims(expires_in=0))
    return await key_in(gateway.gateway.database, expires_at=gateway.services.clock.now() + timedelta(seconds=5))


async def test_a_revocation_ends_what_is_followed_on_a_websocket_and_what_is_asked_there(gateway: LiveGateway) -> None:
    text, other = [await key_in(gateway.gateway.database) for _ in range(2)]
    async with (
        gateway.socket(additional_headers=bearer(text)) as socket,
        gateway.socket(additional_headers=bearer(other)) as another,
    ):
        for id_ in ("1", "2"):
            await socket.subscribe(id_, FOLLOW)
        await another.subscribe("1", FOLLOW)
        await gateway.until_subscribers(3)
        await revoke(gateway, text)
        async with asyncio.timeout(WITHIN):
            told = [await socket.receive() for _ in range(2)]
        assert told == [{"id": id_, "type": "error", "payload": [LAPSED]} for id_ in ("1", "2")]
        await socket.subscribe("3", 'mutation { cancel(id: "nope") { __typename } }')
        assert await socket.receive() == {"id": "3", "type": "error", "payload": [LAPSED]}
        # The ids are free, and so is what the subscriptions held; others go on.
        await socket.subscribe("1", FOLLOW)
        assert await socket.receive() == {"id": "1", "type": "error", "payload": [LAPSED]}
        await gateway.until_subscribers(1)
        await another.subscribe("2", "{ __typename }")
        assert await another.next("2", "__typename") == "Query"


async def test_a_revocation_ends_an_event_stream(gateway: LiveGateway) -> None:
    text, other = [await key_in(gateway.gateway.database) for _ in range(2)]
    async with (
        gateway.stream(FOLLOW, authorization=f"Bearer {text}") as stream,
        gateway.stream(FOLLOW, authorization=f"Bearer {other}"),
    ):
        await gateway.until_subscribers(2)
        await revoke(gateway, text)
        async with asyncio.timeout(WITHIN):
            assert await stream.rest() == [LAPSED_EVENT, COMPLETE]
        await gateway.until_subscribers(1)


@pytest.mark.parametrize("kind", ["key", "token"])
async def test_what_expires_ends_what_was_opened(gateway: LiveGateway, kind: str) -> None:
    text = await lapsing(gateway, kind)
    async with (
        gateway.socket(initialised=False) as socket,
        gateway.stream(FOLLOW, authorization=f"Bearer {text}") as stream,
    ):
        await socket.initialise(authorization=f"Bearer {text}")
        await socket.subscribe("1", FOLLOW)
        await gateway.until_subscribers(2)
        async with asyncio.timeout(5 + WITHIN):
            assert await socket.receive() == {"id": "1", "type": "error", "payload": [LAPSED]}
            assert await stream.rest() == [LAPSED_EVENT, COMPLETE]
        await socket.subscribe("2", "{ __typename }")
        assert await socket.receive() == {"id": "2", "type": "error", "payload": [LAPSED]}


async def test_a_client_that_takes_nothing_holds_up_no_other(gateway: LiveGateway) -> None:
    text = await key_in(gateway.gateway.database)
    async with (
        gateway.socket(additional_headers=bearer(text)) as deaf,
        gateway.socket(additional_headers=bearer(text)) as socket,
    ):
        for one in (deaf, socket):
            await one.subscribe("1", FOLLOW)
        await gateway.until_subscribers(2)
        # As when what is written to it has piled up.
        for websocket in gateway.websockets:
            if websocket.client == deaf.connection.local_address:
                websocket.writable.clear()
        await revoke(gateway, text)
        async with asyncio.timeout(WITHIN):
            assert await socket.receive() == {"id": "1", "type": "error", "payload": [LAPSED]}


async def test_what_is_closed_is_looked_after_no_more(gateway: LiveGateway) -> None:
    text = await key_in(gateway.gateway.database)
    async with gateway.socket(additional_headers=bearer(text)):
        async with gateway.stream(FOLLOW, authorization=f"Bearer {text}"):
            await gateway.until(lambda: [len(ends) for ends in gateway.gateway.sessions._open.values()] == [2])
        await gateway.until(lambda: [len(ends) for ends in gateway.gateway.sessions._open.values()] == [1])
    await gateway.until(lambda: not gateway.gateway.sessions._open)


async def test_what_ends_is_ended_once_and_what_cannot_lapse_never(gateway: LiveGateway) -> None:
    ended: list[str] = []
    sessions = Sessions(gateway.gateway.callers.keys, gateway.services.clock)
    text = await key_in(gateway.gateway.database)
    caller = await gateway.gateway.callers.who([f"Bearer {text}"])
    sessions.enter(caller, lambda: ended.append("key"))
    sessions.enter(Caller(ANYBODY), lambda: ended.append("anybody"))
    await sessions.run_once()
    assert ended == []
    await revoke(gateway, text)
    await sessions.run_once()
    await sessions.run_once()
    assert ended == ["key"]


async def test_what_is_on_its_way_to_an_answer_comes_to_it(
    failing_mongod: FailingMongod, redis_url: str, database_name: str
) -> None:
    """Those who ask could not know otherwise whether what they asked for was done."""
    ask = '{ job(id: "nope") { id } }'
    slow = failing_mongod.failing("find", on=f"{database_name}.jobs", blockConnection=True, blockTimeMS=4_000)
    opening = serving(failing_mongod.url, redis_url, database_name, auth="keys")
    async with opening as gateway:
        text = await key_in(gateway.gateway.database)
        async with gateway.socket(additional_headers=bearer(text)) as socket:
            with slow:
                answer = asyncio.create_task(streamed(gateway, ask, text))
                await socket.subscribe("1", ask)
                await socket.subscribe("2", FOLLOW)
                await gateway.until_subscribers(1)
                await gateway.until(lambda: [len(ends) for ends in gateway.gateway.sessions._open.values()] == [2])
                await revoke(gateway, text)
                await gateway.gateway.sessions.run_once()
                assert await socket.receive() == {"id": "2", "type": "error", "payload": [LAPSED]}
                assert await socket.next("1", "job") is None
                assert await answer == [Event("next", None, {"data": {"job": None}}), COMPLETE]


async def streamed(gateway: LiveGateway, document: str, text: str) -> list[Event]:
    async with gateway.stream(document, authorization=f"Bearer {text}") as stream:
        return await stream.rest()


@pytest.mark.parametrize(
    ("document", "name", "expected"),
    [
        (FOLLOW, None, True),
        ("query A { jobs { nodes { id } } } subscription B { jobEvents { type } }", "B", True),
        ("query A { jobs { nodes { id } } } subscription B { jobEvents { type } }", "A", False),
        ('mutation { cancel(id: "a") { __typename } }', None, False),
        ("{ __typename }", None, False),
        ("nonsense {", None, False),
        ("", None, False),
        (None, None, False),
    ],
)
async def test_only_what_is_followed_ends(
    gateway: LiveGateway, document: str | None, name: str | None, expected: bool
) -> None:
    known = KnownDocuments(gateway.gateway.database)
    assert is_subscription(document, name, known) is expected
    if document:
        # The same by its id, if it is remembered; what is not must not go on for ever.
        await known.register({document: "one"})
        named = DocumentId(document_id(document))
        assert is_subscription(named, name, known)
        assert await known.find(named) == document
        assert is_subscription(named, name, known) is expected
