"""Clients that others have written, each as a function that asks one operation of a gateway and yields what it hears."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import Any, Final, Protocol

from gql import Client as GqlClient
from gql import GraphQLRequest
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport
from graphql import OperationDefinitionNode, OperationType, parse

from tests.clients.node import FOLDER, check_installed, node


class Client(Protocol):
    """One operation; ``errors`` beside or instead of ``data`` are yielded as results are."""

    def __call__(
        self, url: str, document: str, variables: Mapping[str, Any]
    ) -> AsyncGenerator[dict[str, Any], None]: ...


async def told_by(program: str, *arguments: str) -> AsyncGenerator[dict[str, Any], None]:
    """What a program beside this file prints: JSON, a line each."""
    check_installed()
    process = await asyncio.create_subprocess_exec(
        *(str(node()), str(FOLDER / program), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            yield json.loads(line)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _by_program(
    program: str, url: str, document: str, variables: Mapping[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    return told_by(program, url, json.dumps({"query": document, "variables": variables}))


async def _by_gql(url: str, document: str, variables: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    request = GraphQLRequest(document, variable_values=dict(variables))
    transport = WebsocketsTransport(url="ws" + url.removeprefix("http"), connect_args={"proxy": None})
    async with GqlClient(transport=transport, execute_timeout=20) as session:
        try:
            if _is_subscription(document):
                async for data in session.subscribe(request):
                    yield {"data": data}
            else:
                yield {"data": await session.execute(request)}
        except TransportQueryError as refusal:
            yield {"data": refusal.data, "errors": refusal.errors}


def _is_subscription(document: str) -> bool:
    return any(
        isinstance(definition, OperationDefinitionNode) and definition.operation is OperationType.SUBSCRIPTION
        for definition in parse(document).definitions
    )


CLIENTS: Final[Mapping[str, Client]] = {
    "graphql-ws": partial(_by_program, "graphql_ws.mjs"),
    "graphql-sse": partial(_by_program, "graphql_sse.mjs"),
    "gql": _by_gql,
}
