"""An installation on the MongoDB that fails as it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from storage.client import Database, Driver
from tests.conftest import opened
from tests.failing import FailingMongod
from tests.installation import Installation, installed, offer


@pytest.fixture
async def database(failing_mongod: FailingMongod, database_name: str) -> AsyncIterator[Database]:
    async with opened(failing_mongod.url, database_name, Driver.MOTOR) as database:
        yield database


@pytest.fixture
async def installation(
    database: Database, failing_mongod: FailingMongod, redis_url: str
) -> AsyncIterator[Installation]:
    await offer(database, "demo.echo")
    async with installed(database, failing_mongod.url, redis_url) as installation:
        yield installation
