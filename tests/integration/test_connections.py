"""How many connections that last one gateway takes: the others are told to come again, and answers go on as ever."""

import pytest

from gateway.devstack import Servers
from tests.gateway import LiveGateway, serving

pytestmark = pytest.mark.usefixtures("nothing_is_logged")

FOLLOW = "subscription { jobEvents { type } }"
ENOUGH = "this gateway serves as many connections as it can: try again later, or another one"


async def check_full(gateway: LiveGateway) -> None:
    async with gateway.socket(initialised=False) as socket:
        assert socket.connection.subprotocol == "graphql-transport-ws"
        assert await socket.closed() == (1013, ENOUGH)
    headers = {"accept": "text/event-stream"}
    refused = await gateway.http.post("/graphql", json={"query": FOLLOW}, headers=headers)
    error = {"message": ENOUGH, "extensions": {"code": "UNAVAILABLE"}}
    assert (refused.status_code, refused.json()) == (503, {"errors": [error]})
    assert await gateway.data("{ __typename }") == {"__typename": "Query"}


async def test_streams_and_websockets_have_their_number(servers: Servers, database_name: str, redis_url: str) -> None:
    async with serving(servers.mongodb_url, redis_url, database_name, max_connections=2) as gateway:
        streams = gateway._server._streams
        async with gateway.socket():
            async with gateway.stream(FOLLOW):
                await gateway.until_subscribers(1)
                await check_full(gateway)
            await gateway.until(lambda: not streams.are_enough)
            async with gateway.socket():
                await check_full(gateway)
            await gateway.until(lambda: not streams.are_enough)
            async with gateway.stream(FOLLOW):
                await gateway.until_subscribers(1)
