"""What most of these tests stand on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.devstack import Servers
from storage.client import Database
from tests.installation import Installation, installed, offer


@pytest.fixture
async def installation(database: Database, servers: Servers, redis_url: str) -> AsyncIterator[Installation]:
    """An installation in this test's database, where jobs of the task ``demo.echo`` can be dispatched."""
    await offer(database, "demo.echo")
    async with installed(database, servers.mongodb_url, redis_url) as installation:
        yield installation
