"""One gateway for all that is made up, and an ear for the faults that it logs."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from pymongo import MongoClient

from gateway.devstack import Servers
from tests.fuzz_runs import GIVEN, HANDFULS, SEED, Overheard
from tests.fuzzed_documents import CURSOR, JOB
from tests.gateway import LiveGateway, serving_for_all


@pytest.fixture(scope="module")
def overheard() -> Iterator[Overheard]:
    handler = Overheard()
    logging.getLogger().addHandler(handler)
    sys.stdout.write(f"JOBGATE_FUZZ={HANDFULS} JOBGATE_FUZZ_SEED={SEED if GIVEN else 'the same each time'}\n")
    yield handler
    logging.getLogger().removeHandler(handler)
    sys.stdout.write("".join(f"{count:8} {what}\n" for what, count in sorted(handler.tally.items())))
    handler.check()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    servers: Servers, mongodb: MongoClient[dict[str, Any]], overheard: Overheard
) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb) as gateway:
        yield gateway


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def known(gateway: LiveGateway) -> dict[str, str]:
    """What the marks in made up requests stand for."""
    job_id = await gateway.dispatched(schedule={"every": 86_400_000})
    await gateway.dispatched()
    page = await gateway.list(first=1)
    return {JOB: job_id, CURSOR: page["pageInfo"]["endCursor"]}
