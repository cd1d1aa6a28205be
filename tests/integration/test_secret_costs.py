"""What secrets of inputs cost others: nothing is opened while they wait, and nothing is read that nobody opens."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import pytest

from gateway.devstack import Servers
from jobs.access import ANYBODY, EVERYWHERE
from jobs.dispatch import TaskTerms
from jobs.input_schemas import schema_text
from jobs.secret_inputs import SealedPart
from resolvers.dispatching import dispatch
from storage.registry import Registry, TaskCard
from storage.sealing import Sealer
from storage.secret_inputs import InputSecrets
from tests.factories import make_request
from tests.gateway import LiveGateway, serving
from tests.webhooks import SETTINGS

GIVEN: Final = {"password": "correct-horse-battery"}


class Watched(InputSecrets):
    """Knows which threads have opened anything."""

    def __init__(self, sealer: Sealer) -> None:
        super().__init__(sealer)
        self.threads: list[threading.Thread] = []

    def open(self, job_id: str, part: SealedPart) -> bytes:
        self.threads.append(threading.current_thread())
        return super().open(job_id, part)


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name, **SETTINGS) as gateway:
        terms = TaskTerms(input_schema=schema_text({"properties": {"password": {"writeOnly": True}}}))
        await Registry(gateway.gateway.database).offer([TaskCard("demo", "echo", None, terms)])
        yield gateway


async def test_the_secrets_of_a_repeated_request_are_compared_beside_the_loop(gateway: LiveGateway) -> None:
    secrets = Watched(Sealer([b"k" * 32]))
    services = replace(gateway.services, secrets=secrets)
    request = make_request(input=GIVEN, idempotency_key="k")
    first = await dispatch(services, ANYBODY, request)
    assert secrets.threads == []
    assert (await dispatch(services, ANYBODY, request)).id == first.id
    assert len(secrets.threads) == 1
    assert threading.current_thread() not in secrets.threads


async def test_jobs_that_are_listed_are_read_without_their_secrets(gateway: LiveGateway) -> None:
    job_id = await gateway.dispatched(input=GIVEN)
    whole = await gateway.services.jobs.find(EVERYWHERE, job_id)
    assert whole is not None
    assert len(whole.secrets) == 1
    assert await gateway.services.jobs.find_many(EVERYWHERE, [job_id]) == {job_id: replace(whole, secrets=())}
