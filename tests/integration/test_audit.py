"""The audit: what no event tells of is noted before it is done, and so is, where it is wanted, who is handed payloads."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from gateway.devstack import Servers
from jobs.access import EVERYWHERE, Reach, Scope
from jobs.audit import AuditAction, AuditEntry, AuditFilter
from jobs.cursors import encode_cursor
from jobs.errors import StoreUnavailable
from jobs.feed import feed_cursor
from jobs.origins import CredentialKind, Origin, OriginFilter
from jobs.times import EPOCH, to_milliseconds
from storage.audit import AuditLog
from storage.client import Database
from storage.delivery_plan import DeliveryPlan
from storage.events import EventLog
from storage.operations import Operations
from storage.retention import Pruned, Retention
from tests.ageing import DAY, MINUTE, ago, left
from tests.callers import bearer, id_of, key_in
from tests.factories import NOW
from tests.failing import FailingMongod
from tests.gateway import LIST, serving
from tests.integration.test_graphql_webhooks import URL
from tests.integration.test_indexes import Explained, event
from tests.integration.test_origins import READER, Shop, origin, shop
from tests.programs import said
from tests.webhooks import SET

AUDIT: Final = """
    query ($filter: AuditFilter, $first: Int! = 50, $after: String) {
        audit(filter: $filter, first: $first, after: $after) {
            nodes { id at action by subjects origin { address credentialKind credential issuer } }
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        }
    }
"""
INPUT: Final = "query ($id: ID!) { job(id: $id) { id input } }"
FOLLOW: Final = "subscription ($after: String) { jobEvents(after: $after) { job { input } } }"
PAYLOADS: Final = frozenset({*READER, Scope.PAYLOADS_READ})


@pytest.fixture
async def reading(servers: Servers, redis_url: str, database_name: str) -> AsyncIterator[Shop]:
    """A gateway that notes who reads what, and somebody who reads."""
    async with shop(servers, redis_url, database_name, audit_reads=True) as there:
        reader = await key_in(there.gateway.gateway.database, name="ann", scopes=PAYLOADS)
        yield Shop(there.gateway, there.admin, reader)


async def entries(there: Shop, **wanted: object) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = (await there.data(there.admin, AUDIT, filter=wanted))["audit"]["nodes"]
    return nodes


async def told(there: Shop, **wanted: object) -> list[tuple[str, str, list[str]]]:
    """What was done, by whom and to what, the oldest first."""
    return [(one["action"], one["by"], one["subjects"]) for one in reversed(await entries(there, **wanted))]


# ---------------------------------------------------------------- reads of payloads


async def test_who_is_handed_an_input_is_noted_with_the_job_and_from_where(reading: Shop) -> None:
    job_id = await reading.dispatched(reading.other, input={"card": 1})
    assert (await reading.data(reading.other, INPUT, id=job_id))["job"]["input"] == {"card": 1}
    [entry] = await entries(reading)
    assert (entry["action"], entry["by"], entry["subjects"]) == ("READ_PAYLOADS", "ann", [job_id])
    assert entry["origin"] == origin(reading.other)


async def test_a_list_is_one_entry_with_all_of_its_jobs(reading: Shop) -> None:
    jobs = [await reading.dispatched(reading.other) for _ in range(5)]
    await reading.data(reading.other, LIST, first=3)
    [(action, _, subjects)] = await told(reading)
    assert (action, subjects) == ("READ_PAYLOADS", jobs[:1:-1])


async def test_what_is_not_handed_out_is_not_noted(reading: Shop) -> None:
    job_id = await reading.dispatched(reading.other)
    blind = await key_in(reading.gateway.gateway.database, scopes=READER)
    await reading.data(blind, "query ($id: ID!) { job(id: $id) { input result } }", id=job_id)
    await reading.data(reading.other, "query ($id: ID!) { job(id: $id) { status } }", id=job_id)
    # There is none yet.
    await reading.data(reading.other, "query ($id: ID!) { job(id: $id) { result } }", id=job_id)
    assert await entries(reading) == []


async def test_a_result_is_noted_in_the_job_and_in_its_history(reading: Shop) -> None:
    async def echo(_: object, value: Any) -> Any:
        return {"answer": 1}

    async with reading.gateway.worker({"demo.echo": echo}):
        job_id = await reading.dispatched(reading.other)
        async with asyncio.timeout(20):
            while not await reading.gateway.gateway.database["events"].find_one({"type": "job.completed"}):
                await reading.gateway.http.get("/healthz")
    for document in ("job(id: $id) { result }", "history(jobId: $id) { executions { result } }"):
        before = len(await entries(reading))
        await reading.data(reading.other, f"query ($id: ID!) {{ {document} }}", id=job_id)
        assert (await told(reading))[before:] == [("READ_PAYLOADS", "ann", [job_id])]


async def test_a_mutation_that_answers_with_the_input_is_noted(reading: Shop) -> None:
    job_id = await reading.dispatched(reading.other)
    await reading.data(reading.other, "mutation ($id: ID!) { cancel(id: $id) { ... on Job { input } } }", id=job_id)
    assert await told(reading) == [("READ_PAYLOADS", "ann", [job_id])]


async def test_whoever_follows_is_noted_with_each_input(reading: Shop) -> None:
    async with reading.gateway.socket(initialised=False) as socket:
        await socket.initialise(**bearer(reading.other))
        await socket.subscribe("1", FOLLOW, after=feed_cursor(0))
        job_id = await reading.dispatched(reading.other, input=7)
        assert (await socket.next("1", "jobEvents"))["job"]["input"] == 7
    assert (await told(reading))[0] == ("READ_PAYLOADS", "ann", [job_id])


async def test_event_streams_as_well(reading: Shop) -> None:
    job_id = await reading.dispatched(reading.other, input=7)
    authorization = bearer(reading.other)["authorization"]
    async with reading.gateway.stream(FOLLOW, authorization=authorization, after=feed_cursor(0)) as stream:
        assert (await stream.told("jobEvents"))["job"]["input"] == 7
    assert (await told(reading))[0] == ("READ_PAYLOADS", "ann", [job_id])


async def test_unless_it_is_wanted_nothing_of_it_is_noted(servers: Servers, redis_url: str, database_name: str) -> None:
    async with shop(servers, redis_url, database_name) as there:
        job_id = await there.dispatched(there.admin)
        await there.data(there.admin, INPUT, id=job_id)
        assert await entries(there) == []


@pytest.mark.usefixtures("nothing_is_logged")
async def test_what_cannot_be_noted_is_not_handed_out(
    failing_mongod: FailingMongod, redis_url: str, database_name: str
) -> None:
    terms: dict[str, Any] = {"audit_reads": True, "auth": "none"}
    async with serving(failing_mongod.url, redis_url, database_name, **terms) as gateway:
        jobs = [await gateway.dispatched(input="SECRET-INPUT") for _ in range(3)]
        refusing: dict[str, Any] = {
            "errorCode": 11602,
            "errorLabels": [],
        }  # InterruptedDueToReplStateChange, which may pass
        with failing_mongod.failing("insert", on=f"{database_name}.audit", **refusing):
            answers = [await gateway.ask(INPUT, id=jobs[0]), await gateway.ask(LIST, first=3)]
            cancelling = "mutation ($id: ID!) { cancel(id: $id) { ... on Job { input } } }"
            answers.append(await gateway.ask(cancelling, id=jobs[0]))
            async with gateway.socket() as socket:
                await socket.subscribe("1", FOLLOW, after=feed_cursor(0))
                answers.append((await socket.receive())["payload"])
        for answer in answers:
            assert "SECRET-INPUT" not in str(answer)
            assert {error["extensions"]["code"] for error in answer["errors"]} == {"UNAVAILABLE"}, answer
        # What was to be done was done all the same: the error is about what was to be read, and says where.
        assert answers[2]["errors"][0]["path"] == ["cancel", "input"]
        assert (await gateway.job(jobs[0]))["status"] == "CANCELLED"


# ---------------------------------------------------------------- what no event tells of


async def test_what_is_done_to_webhooks_and_their_deliveries_is_noted(
    servers: Servers, redis_url: str, database_name: str
) -> None:
    async with shop(servers, redis_url, database_name) as there:
        hook: dict[str, object] = {"url": URL, "events": ["JOB_SCHEDULED"]}
        for _ in range(2):
            webhook = (await there.data(there.admin, SET, input=hook))["setWebhook"]["webhook"]["id"]
        await there.dispatched(there.other)
        await there.relayed()
        services, database = there.gateway.services, there.gateway.gateway.database
        await DeliveryPlan(database, services.webhooks).extend(services.clock.now())
        delivery = (await database["deliveries"].find_one({}))["_id"]
        again = "mutation ($id: ID!) { redeliver(deliveryId: $id) { __typename } }"
        await there.data(there.admin, again, id=delivery)
        delete = "mutation ($id: ID!) { deleteWebhook(id: $id) { __typename } }"
        for _ in range(2):
            await there.data(there.admin, delete, id=webhook)
        # Nothing was refused, or not there, that is told of.
        await there.data(there.admin, SET, input={**hook, "url": "nonsense"})
        await there.data(there.admin, again, id=delivery)
        assert await told(there) == [
            ("SET_WEBHOOK", "root", [webhook]),
            ("SET_WEBHOOK", "root", [webhook]),
            ("REDELIVER", "root", [delivery]),
            ("DELETE_WEBHOOK", "root", [webhook]),
        ]
        assert [entry["origin"] for entry in await entries(there)] == [origin(there.admin)] * 4


def running_operation() -> dict[str, Any]:
    """As stored: ``op_1``, which another process is at."""
    counts = {"matched": 9, "count": 0, "skipped": 0, "dry_run": False, "delay_ms": 0, "products": None, "envs": None}
    said_of_it = {"reason": None, "actor": None, "created_at": NOW, "completed_at": None, "owner": "another"}
    leased = {"lease_until": NOW + 10_000 * DAY, "session": None}
    return {"_id": "op_1", "action": "cancel", "status": "running", **counts, **said_of_it, **leased}


async def test_that_an_operation_was_stopped_is_noted_once(
    servers: Servers, redis_url: str, database_name: str
) -> None:
    async with shop(servers, redis_url, database_name) as there:
        stop = 'mutation { stopBulkOperation(id: "op_1") { status } }'
        assert await there.data(there.admin, stop) == {"stopBulkOperation": None}
        await there.gateway.gateway.database["operations"].insert_one(running_operation())
        for _ in range(2):
            assert await there.data(there.admin, stop) == {"stopBulkOperation": {"status": "STOPPED"}}
        assert await told(there) == [("STOP_BULK_OPERATION", "root", ["op_1"])]


async def test_keys_that_are_made_and_revoked_are_noted_with_who_has_given_the_command(
    servers: Servers, redis_url: str, database_name: str
) -> None:
    store = {"MONGODB_URL": servers.mongodb_url, "JOBGATE_DATABASE": database_name}
    async with shop(servers, redis_url, database_name) as there:
        # Whoever gives a command is not believed as to who they are.
        store |= dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME"), "somebody-else")
        _, out, _ = await said("keys", "create", "--name", "a", "--scope", "jobs:read", **store)
        for _ in range(2):
            await said("keys", "revoke", id_of(out), **store)
        await said("keys", "revoke", "unknown", **store)
        revoked, created = await entries(there)
        assert (created["action"], revoked["action"]) == ("CREATE_KEY", "REVOKE_KEY")
        for entry in (created, revoked):
            assert entry["subjects"] == [id_of(out)]
            assert entry["by"] == pwd.getpwuid(os.getuid()).pw_name
            assert entry["origin"] == {
                "address": entry["origin"]["address"],
                "credentialKind": "COMMAND",
                "credential": None,
                "issuer": None,
            }
            assert entry["origin"]["address"]
        assert out.strip().split("_", 2)[2] not in str(await entries(there))


# ---------------------------------------------------------------- reading it


def made(number: int, *, off: timedelta = timedelta(0)) -> str:
    """The id of an entry that was made in this minute, by a clock that is so much off: in the order of its time."""
    return f"aud_{to_milliseconds(NOW + number * MINUTE + off - EPOCH):012x}{number:020}"


def entry(number: int, **changes: Any) -> AuditEntry:
    whole: dict[str, Any] = {
        "id": made(number),
        "at": NOW + number * MINUTE,
        "action": AuditAction.READ_PAYLOADS,
        "by": f"by_{number % 3}",
        "origin": Origin(CredentialKind.KEY, f"key_{number % 5}", None, f"192.0.2.{number % 7}"),
        "subjects": (f"job_{number % 11}", "job_x"),
    }
    return AuditEntry(**{**whole, **changes})


async def numbers(log: AuditLog, reach: Reach = EVERYWHERE, size: int = 200, **wanted: Any) -> list[int]:
    page = await log.page(reach, AuditFilter(**wanted), size, None)
    return [int(one.id[-20:]) for one in page.items]


async def test_an_entry_is_read_as_it_was_noted(any_database: Database) -> None:
    log = AuditLog(any_database)
    one = entry(1, origin=Origin(CredentialKind.TOKEN, None, "https://issuer.example", None))
    await log.note(one, EVERYWHERE)
    assert (await log.page(EVERYWHERE, AuditFilter(), 10, None)).items == [one]


async def test_it_is_had_by_each_condition_and_by_all_of_them(database: Database) -> None:
    log = AuditLog(database)
    for number in range(1, 40):
        action = AuditAction.SET_WEBHOOK if number % 2 else AuditAction.READ_PAYLOADS
        await log.note(entry(number, action=action), EVERYWHERE)
    every = range(39, 0, -1)
    for wanted, expected in (
        ({}, list(every)),
        ({"origin": OriginFilter(by=("by_1",))}, [number for number in every if number % 3 == 1]),
        ({"origin": OriginFilter(credential=("key_1", "key_2"))}, [n for n in every if n % 5 in (1, 2)]),
        ({"origin": OriginFilter(address=("192.0.2.6",))}, [number for number in every if number % 7 == 6]),
        ({"subjects": ("job_10",)}, [number for number in every if number % 11 == 10]),
        ({"actions": (AuditAction.SET_WEBHOOK,)}, [number for number in every if number % 2]),
        ({"actions": ()}, []),
        ({"from_": NOW + 38 * MINUTE}, [39, 38]),
        ({"to": NOW + 3 * MINUTE}, [2, 1]),
        (
            {"origin": OriginFilter(by=("by_1",)), "subjects": ("job_x",), "from_": NOW + 30 * MINUTE},
            [37, 34, 31],
        ),
    ):
        assert await numbers(log, **wanted) == expected, wanted


async def test_it_is_read_by_index_and_no_further_than_its_page(database: Database) -> None:
    log = AuditLog(database)
    documents = [
        {
            "_id": made(n),
            "at": NOW + n * MINUTE,
            "action": "webhook.set" if n % 40 == 1 else "key.created" if n % 40 == 2 else "payloads.read",
            "by": f"by_{n % 40}",
            "origin": {"kind": "key", "credential": f"k{n % 40}", "issuer": None, "address": f"a{n % 40}"},
            "subjects": [f"job_{n % 40}"],
            "products": None,
            "envs": None,
        }
        for n in range(4000)
    ]
    await database["audit"].insert_many(documents)
    await database.command("profile", 2)
    for wanted in (
        AuditFilter(),
        AuditFilter(origin=OriginFilter(by=("by_1", "by_2"))),
        AuditFilter(origin=OriginFilter(credential=("k1", "k2", "k3"))),
        AuditFilter(origin=OriginFilter(address=("a1",), by=("by_1",))),
        AuditFilter(subjects=("job_1", "job_2")),
        AuditFilter(actions=(AuditAction.SET_WEBHOOK,)),
        AuditFilter(actions=(AuditAction.SET_WEBHOOK, AuditAction.CREATE_KEY)),
        AuditFilter(from_=NOW + 100 * MINUTE),
    ):
        page = await log.page(EVERYWHERE, wanted, 20, None)
        assert (len(page.items), page.has_next) == (20, True)
        await log.page(EVERYWHERE, wanted, 20, page.items[-1].id)
    explained = Explained(database)
    await explained.check(most=22, collection="audit")
    # What clocks may be off is looked at beside.
    await database.command("profile", 0)
    await database["system.profile"].drop()
    await database.command("profile", 2)
    for wanted in (
        AuditFilter(from_=NOW + 100 * MINUTE, to=NOW + 130 * MINUTE),
        AuditFilter(to=NOW + 2000 * MINUTE),
        AuditFilter(from_=NOW + 100 * MINUTE, to=NOW + 101 * MINUTE, actions=(AuditAction.READ_PAYLOADS,)),
    ):
        assert (await log.page(EVERYWHERE, wanted, 50, None)).items
    await explained.check(most=150, collection="audit")
    await database.command("profile", 0)


async def test_it_is_had_by_its_time_though_the_clock_of_its_id_was_off(database: Database) -> None:
    log = AuditLog(database)
    for number, off in ((1, -50), (2, 0), (3, 50)):
        await log.note(entry(number, id=made(number, off=off * MINUTE)), EVERYWHERE)
    assert await numbers(log, from_=NOW + MINUTE, to=NOW + 4 * MINUTE) == [3, 2, 1]
    # In the first and the last year, there is no hour beyond.
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert await numbers(log, from_=first, to=last) == [3, 2, 1]
    assert await numbers(log, to=first) == await numbers(log, from_=last) == []


async def test_what_a_newer_version_has_noted_is_left_out_and_pages_go_on_behind_it(database: Database) -> None:
    log = AuditLog(database)
    for number in range(1, 6):
        await log.note(entry(number), EVERYWHERE)
    newer = {"_id": {"$in": [made(3), made(4)]}}
    await database["audit"].update_many(newer, {"$set": {"action": "something.new"}})
    for wanted in (
        {},
        {"subjects": ("job_x",)},
        {"origin": OriginFilter(address=tuple(f"192.0.2.{n}" for n in range(7)))},
    ):
        page = await log.page(EVERYWHERE, AuditFilter(**wanted), 2, None)
        assert ([one.id for one in page.items], page.has_next) == ([made(5), made(2)], True)
        rest = await log.page(EVERYWHERE, AuditFilter(**wanted), 2, made(5))
        assert ([one.id for one in rest.items], rest.has_next) == ([made(2), made(1)], False)


async def test_what_somebody_asked_for_is_found_in_the_log_by_index(database: Database) -> None:
    def asked(n: int) -> dict[str, Any]:
        # Every second one was asked for by somebody.
        by = {"kind": "key", "credential": f"k{n % 40}", "issuer": None, "address": f"a{n % 7}"}
        return event(n) | ({"actor": f"by_{n % 40}", "origin": by} if n % 2 else {})

    await database["events"].insert_many([asked(n) for n in range(1, 4001)])
    await database.command("profile", 2)
    log = EventLog(database)
    for wanted, decided in (
        (one := OriginFilter(by=("by_1", "by_3")), one),
        # What the index does not decide must not have much be looked at in vain.
        (OriginFilter(credential=("k1",), address=("a100",)), OriginFilter(credential=("k1",))),
        (one := OriginFilter(address=("a1", "a2", "a3")), one),
    ):
        found = (await log.read_of(EVERYWHERE, wanted, 2000, 10)).events
        assert len(found) == 10
        numbers = [event.number for event in found]
        assert min(numbers) > 2000
        assert numbers == sorted(numbers)
        assert all(decided.matches(event.actor, event.origin) for event in found)
    await Explained(database).check(most=12, collection="events")
    await database.command("profile", 0)


async def test_pages_lead_on_to_what_was_done_before(database: Database) -> None:
    log = AuditLog(database)
    for number in range(1, 6):
        await log.note(entry(number), EVERYWHERE)
    first = await log.page(EVERYWHERE, AuditFilter(), 3, None)
    assert ([one.id[-1] for one in first.items], first.has_next, first.has_previous) == (["5", "4", "3"], True, False)
    rest = await log.page(EVERYWHERE, AuditFilter(), 3, first.items[-1].id)
    assert ([one.id[-1] for one in rest.items], rest.has_next, rest.has_previous) == (["2", "1"], False, True)


SHOP: Final = Reach(frozenset({"shop"}), frozenset({"prd"}))


@pytest.mark.parametrize(
    ("doer", "reader", "is_seen"),
    [
        (EVERYWHERE, EVERYWHERE, True),
        (SHOP, EVERYWHERE, True),
        (SHOP, SHOP, True),
        (SHOP, Reach(frozenset({"shop", "blog"}), None), True),
        (EVERYWHERE, SHOP, False),
        (Reach(frozenset({"shop", "blog"}), frozenset({"prd"})), SHOP, False),
        (Reach(frozenset({"shop"}), None), SHOP, False),
        (Reach(frozenset({"blog"}), frozenset({"prd"})), SHOP, False),
    ],
)
async def test_an_entry_is_seen_by_those_who_reach_all_that_its_maker_could_have(
    database: Database, doer: Reach, reader: Reach, is_seen: bool
) -> None:
    log = AuditLog(database)
    await log.note(entry(1), doer)
    assert await numbers(log, reader) == ([1] if is_seen else [])


async def test_what_cannot_be_looked_for_is_refused(servers: Servers, redis_url: str, database_name: str) -> None:
    many = [str(number) for number in range(51)]
    async with shop(servers, redis_url, database_name) as there:
        for wanted, message in (
            ({"subjects": many}, "filter.subjects: 51 values, more than the 50 allowed"),
            ({"origin": {}}, "filter.origin: give at least one of by, credential and address"),
            ({"origin": {"credential": many}}, "filter.origin.credential: 51 values, more than the 50 allowed"),
            ({"from": "2026-01-02", "to": "2026-01-01"}, "filter.to: is before from"),
        ):
            answer = await there.ask(there.admin, AUDIT, filter=wanted)
            assert [error["message"] for error in answer["errors"]] == [message]
        for cursor in ("x", feed_cursor(1), encode_cursor(["audit", "job_1"]), encode_cursor(["audit", 1])):
            answer = await there.ask(there.admin, AUDIT, after=cursor)
            assert answer["errors"][0]["extensions"]["code"] == "BAD_CURSOR"
        answer = await there.ask(there.admin, AUDIT, first=201)
        assert answer["errors"][0]["message"] == "first: must be between 0 and 200, not 201"
        assert (await there.ask(there.other, AUDIT))["errors"][0]["extensions"]["scope"] == "admin"


async def test_pages_of_the_api_lead_on(servers: Servers, redis_url: str, database_name: str) -> None:
    async with shop(servers, redis_url, database_name) as there:
        log = AuditLog(there.gateway.gateway.database)
        for number in range(1, 6):
            await log.note(entry(number), EVERYWHERE)
        seen: list[str] = []
        after, more = None, True
        while more:
            page = (await there.data(there.admin, AUDIT, first=2, after=after))["audit"]
            seen += [one["id"] for one in page["nodes"]]
            after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        assert seen == [made(number) for number in (5, 4, 3, 2, 1)]


async def test_entries_go_at_their_age(any_database: Database) -> None:
    for name, age in (("old", 2 * DAY), ("young", 2 * DAY - MINUTE)):
        await any_database["audit"].insert_one({"_id": name})
        await any_database["audit"].update_one({"_id": name}, [{"$set": {"at": ago(age)}}])
    assert await Retention(any_database).prune_audit(2 * DAY) == Pruned(1, more=False)
    assert await left(any_database, "audit") == {"young"}


async def test_an_operation_that_takes_several_tries_to_be_stopped_is_noted_once(
    servers: Servers, redis_url: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, tries = Operations.stop, [0]

    async def at_second(self: Operations, *given: Any) -> Any:
        tries[0] += 1
        if tries[0] == 1:
            raise StoreUnavailable("MongoDB", "it is elsewhere")
        return await stop(self, *given)

    async with shop(servers, redis_url, database_name) as there:
        begun = await there.data(
            there.admin, 'mutation { cancelMany(filter: {tags: ["none"]}) { ... on BulkOperation { id } } }'
        )
        operation = {"_id": begun["cancelMany"]["id"]}
        await there.gateway.gateway.database["operations"].update_one(
            operation, {"$set": {"status": "running", "owner": "another", "lease_until": NOW + 10_000 * DAY}}
        )
        monkeypatch.setattr(Operations, "stop", at_second)
        stopping = "mutation ($id: ID!) { stopBulkOperation(id: $id) { status } }"
        answer = await there.data(there.admin, stopping, id=operation["_id"])
        assert answer == {"stopBulkOperation": {"status": "STOPPED"}}
        assert [action for action, *_ in await told(there)] == ["STOP_BULK_OPERATION"]
    assert tries == [2]
