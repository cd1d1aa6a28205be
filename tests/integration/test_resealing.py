"""A key of secrets that is replaced: all that older ones have sealed is sealed anew, and can be opened as before."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from jobs.access import EVERYWHERE
from jobs.dispatch import TaskTerms, new_job
from jobs.events import EventType
from jobs.filters import JobFilter
from jobs.input_schemas import schema_text
from storage.client import Database
from storage.clock import DatabaseClock
from storage.documents import job_from_document, job_to_document
from storage.resealing import Resealed, Resealing
from storage.sealing import Sealer
from storage.secret_inputs import InputSecrets
from storage.webhooks import NewWebhook, Webhooks
from tests.factories import NOW, make_request
from tests.programs import said

OLD_KEY, NEW_KEY = b"o" * 32, b"n" * 32
OLD, NEW, BOTH = Sealer([OLD_KEY]), Sealer([NEW_KEY]), Sealer([NEW_KEY, OLD_KEY])
TERMS: Final = TaskTerms(input_schema=schema_text({"additionalProperties": {"writeOnly": True}}))
GIVEN: Final = {"a": "hunter2", "b": [1, 2]}
FIRST, SECOND = b"1" * 32, b"2" * 32


@pytest.fixture
async def now(database: Database) -> datetime:
    clock = DatabaseClock(database)
    await clock.synchronise()
    return clock.now()


def document(number: int, sealer: Sealer = OLD, value: Any = GIVEN) -> dict[str, Any]:
    request = make_request(input=value)
    seal = InputSecrets(sealer).seal
    job = new_job(request, TERMS, job_id=f"job_{number}", now=NOW, path=(), seal=seal)
    return job_to_document(job) | {"outbox": [], "event_seq": 1}


async def set_secrets(database: Database, now: datetime, *secrets: bytes, sealer: Sealer = OLD) -> None:
    for secret in secrets:
        asked = (EventType.JOB_FAILED,)
        new = NewWebhook("https://e.example", asked, JobFilter(), None, None, 0, secret, now, payloads=True)
        await Webhooks(database, sealer).set(new, "wh_1")


async def inputs(database: Database, sealer: Sealer) -> list[Any]:
    found = database["jobs"].find({}).sort("_id", 1)
    return [InputSecrets(sealer).whole_input(job_from_document(one)) async for one in found]


async def test_inputs_are_sealed_anew_batch_by_batch_and_once(any_database: Database) -> None:
    await any_database["jobs"].insert_many(
        [document(number, value={"n": number} if number % 2 else {}) for number in range(7)]
    )
    await any_database["jobs"].insert_one(document(7, NEW))
    resealing = Resealing(any_database, BOTH, batch=2)
    before = {one["_id"]: one async for one in any_database["jobs"].find({})}
    assert await resealing.inputs() == Resealed(done=3)
    assert await inputs(any_database, NEW) == [{"n": n} if n % 2 else {} for n in range(7)] + [GIVEN]
    after = {one["_id"]: one async for one in any_database["jobs"].find({})}
    assert {id_ for id_ in after if after[id_] != before[id_]} == {"job_1", "job_3", "job_5"}
    for id_ in after:
        assert {**after[id_], "secrets": None} == {**before[id_], "secrets": None} or "secrets" not in before[id_]
    assert await resealing.inputs() == Resealed()


async def test_what_no_key_opens_is_counted_and_left(database: Database) -> None:
    await database["jobs"].insert_many([document(1), document(2, Sealer([b"x" * 32]))])
    assert await Resealing(database, BOTH).inputs() == Resealed(done=1, unreadable=1)
    assert await Resealing(database, BOTH).inputs() == Resealed(unreadable=1)


async def test_a_webhook_signs_with_all_its_secrets_as_before(database: Database, now: datetime) -> None:
    await set_secrets(database, now, FIRST, SECOND)
    assert await Resealing(database, BOTH).webhooks() == Resealed(done=1)
    assert list(await Webhooks(database, NEW).secrets_of("wh_1", now)) == [SECOND, FIRST]
    assert await Resealing(database, BOTH).webhooks() == Resealed()


async def test_a_secret_before_that_no_key_opens_holds_nothing_up(database: Database, now: datetime) -> None:
    await set_secrets(database, now, FIRST)
    await set_secrets(database, now, SECOND, sealer=Sealer([b"x" * 32, OLD_KEY]))
    both = Sealer([NEW_KEY, b"x" * 32])
    assert await Resealing(database, both).webhooks() == Resealed(done=1)
    assert list(await Webhooks(database, NEW).secrets_of("wh_1", now)) == [SECOND]
    await database["webhooks"].update_one({}, {"$set": {"secret.key": "gone"}})
    assert await Resealing(database, both).webhooks() == Resealed(unreadable=1)


async def test_a_webhook_that_is_set_meanwhile_has_the_last_word(database: Database, now: datetime) -> None:
    await set_secrets(database, now, FIRST)
    [read] = await database["webhooks"].find({}).to_list(1)
    await set_secrets(database, now, SECOND)
    resealing = Resealing(database, BOTH)
    # As it was read before it was set: what it is to become is decided from that.
    counted = await resealing._batch_of(database["webhooks"], [read], _webhook)
    assert counted == Resealed(changed=1)
    assert (await Webhooks(database, BOTH).secrets_of("wh_1", now))[0] == SECOND
    assert await Webhooks(database, BOTH).find(EVERYWHERE, "wh_1") is not None


def _webhook(document: Any, opening: Any) -> Any:
    return {"secret": opening.reseal(document["secret"], document["_id"])}


async def test_the_command_tells_what_it_has_done(servers: Servers, database: Database, now: datetime) -> None:
    keys = ",".join(b64encode(key).decode() for key in (NEW_KEY, OLD_KEY))
    settings = {"MONGODB_URL": servers.mongodb_url, "JOBGATE_DATABASE": database.name, "JOBGATE_SECRET_KEYS": keys}
    await database["jobs"].insert_many([document(1), document(2)])
    await set_secrets(database, now, FIRST)
    assert await said("secrets", "rotate", **settings) == (0, "webhooks: 1 sealed anew\njobs: 2 sealed anew\n", "")
    assert await inputs(database, NEW) == [GIVEN, GIVEN]
    await database["jobs"].insert_one(document(3, Sealer([b"x" * 32])))
    told = (
        "webhooks: 0 sealed anew\njobs: 0 sealed anew\njobs: 1 have a secret that none of JOBGATE_SECRET_KEYS opens\n"
    )
    assert await said("secrets", "rotate", **settings) == (1, told, "")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({}, "set MONGODB_URL to where the secrets are"),
        ({"MONGODB_URL": "mongodb://127.0.0.1:1"}, "set JOBGATE_SECRET_KEYS, the new key before the others"),
    ],
)
async def test_the_command_says_what_to_set(settings: dict[str, str], complaint: str) -> None:
    assert await said("secrets", "rotate", **settings) == (1, "", f"jobgate: {complaint}\n")
