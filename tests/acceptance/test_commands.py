"""The commands that look and tell: ``jobgate doctor`` and ``jobgate export-schema``."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

from gateway.devstack import Servers
from schema.build import printed_schema
from storage.client import Database
from storage.indexes import create_indexes
from storage.job_updates import NewJob
from storage.outbox import Outbox
from storage.projection import Projection
from storage.transitions import JobWriter
from tests.factories import NOW, make_job
from tests.installation import offer
from tests.programs import running, said


async def test_the_schema_is_printed_and_its_committed_copy_is_the_same() -> None:
    assert await said("export-schema") == (0, printed_schema(), "")
    assert await said("export-schema", "--check", "schema/schema.graphql") == (0, "", "")


async def test_a_schema_file_that_says_something_else_is_told_with_how_to_mend_it(tmp_path: Path) -> None:
    old = tmp_path / "old.graphql"
    complaint = f"jobgate: {old} is not the schema of this code: jobgate export-schema > {old}\n"
    assert await said("export-schema", "--check", str(old)) == (1, "", complaint)
    old.write_text("type Query { jobs: Int }\n")
    assert await said("export-schema", "--check", str(old)) == (1, "", complaint)


def findings(out: str) -> dict[str, tuple[str, str]]:
    """Verdict and detail of each line, by its subject."""
    lines = [(line[:4].strip(), *line[6:].split(": ", 1)) for line in out.splitlines()]
    return {subject: (verdict, detail) for verdict, subject, detail in lines}


async def test_doctor_finds_nothing_wrong_with_a_running_installation(
    servers: Servers, database_name: str, redis_url: str
) -> None:
    stores = {"MONGODB_URL": servers.mongodb_url, "REDIS_URL": redis_url, "JOBGATE_DATABASE": database_name}
    async with running(Servers(servers.mongodb_url, redis_url), database_name):
        status, out, err = await said("doctor", **stores)
    assert (status, err) == (0, "")
    found = findings(out)
    assert {verdict for verdict, _ in found.values()} == {"ok"}
    assert found["MongoDB"][1].endswith(f"database {database_name}")
    assert found["tasks"][1] == "demo.echo, demo.fail, demo.sleep, http.request"
    assert found["workers"][1] == "1 alive, 0 jobs queued"


async def test_doctor_tells_what_is_missing(
    servers: Servers, database: Database, database_name: str, redis_url: str
) -> None:
    await database["jobs"].drop_index("due_unpaced")
    await offer(database, "demo.echo")
    await database["jobs"].insert_one({"_id": "job_1", "status": "queued", "outbox": []})
    away = "redis://127.0.0.1:1"
    stores = {"MONGODB_URL": servers.mongodb_url, "REDIS_URL": away, "JOBGATE_DATABASE": database_name}
    status, out, _ = await said("doctor", "--tasks", "no.such.module", **stores)
    await create_indexes(database)
    found = findings(out)
    assert status == 1
    assert found["tasks"] == ("FAIL", "there is no module 'no.such.module'")
    assert found["Redis"] == ("FAIL", "Redis is unavailable: ConnectionError")
    assert found["indexes"] == (
        "FAIL",
        "missing: jobs.due_unpaced; a gateway or a worker creates them at its start",
    )
    assert found["workers"] == ("FAIL", "0 alive, 1 jobs queued")
    assert found["relay"] == ("ok", "every event is in the log")


async def test_doctor_repairs_statistics_and_tells_what_was_wrong(
    servers: Servers, database: Database, database_name: str, redis_url: str
) -> None:
    stores = {"MONGODB_URL": servers.mongodb_url, "REDIS_URL": redis_url, "JOBGATE_DATABASE": database_name}
    await JobWriter(database).insert_many([NewJob(make_job(), None, nudged=False)])
    await Outbox(database).relay(10)
    await database["events"].update_many({}, {"$set": {"before": None}})
    await Projection(database).fold()
    wrong = "shop/prd demo.echo, lifetime: job:queued +1\nstatistics: 1 counter corrected\n"
    assert await said("doctor", "--repair-stats", **stores) == (0, wrong, "")
    assert await said("doctor", "--repair-stats", **stores) == (0, "statistics: every counter was right\n", "")


async def test_doctor_tells_of_a_distribution_in_one_line_and_not_bin_by_bin(
    servers: Servers, database: Database, database_name: str, redis_url: str
) -> None:
    await JobWriter(database).insert_many([NewJob(make_job(), None, nudged=False)])
    await Outbox(database).relay(10)
    await Projection(database).fold()
    run: dict[str, Any] = {"job_id": "job_1", "status": "completed", "scheduled_for": NOW, "started_at": NOW}
    ends = [{"number": number, "completed_at": NOW + number * timedelta(seconds=2)} for number in (1, 2, 3)]
    await database["executions"].insert_many([{"_id": f"job_1:{end['number']}", **run, **end} for end in ends])
    stores = {"MONGODB_URL": servers.mongodb_url, "REDIS_URL": redis_url, "JOBGATE_DATABASE": database_name}
    status, out, _ = await said("doctor", "--repair-stats", **stores)
    found = "run:completed +3, duration in 3 bins, wait in 1 bin, longest duration 6000 ms"
    day = datetime.combine(NOW, time(), UTC)
    buckets = [f"minute from {NOW.isoformat()}", f"hour from {NOW.isoformat()}", f"day from {day.isoformat()}"]
    assert status == 0
    *lines, last = out.splitlines()
    assert sorted(lines) == sorted(f"shop/prd demo.echo, {where}: {found}" for where in ("lifetime", *buckets))
    assert last == "statistics: 24 counters corrected"


async def test_doctor_looks_at_the_embedded_servers_where_no_others_are_named() -> None:
    status, out, _ = await said("doctor")
    found = findings(out)
    assert status == 0
    assert found["mongod"][1].startswith("embedded, db version v")
    assert found["redis-server"][1].startswith("embedded, Redis server v=")
