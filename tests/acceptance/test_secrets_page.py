"""The page ``docs/secrets.md`` is true where it shows files, names and numbers."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, Final

from jobs.secret_inputs import MASK, MAX_PLACE, MAX_SECRETS
from jobs.secret_places import secret_places
from tests.programs import said
from tests.webhooks import KEY
from worker.executor import UNREADABLE
from worker.http_credentials import read_credentials
from worker.http_headers import PROVING
from worker.tasks import TaskDefinition, define

PAGE: Final = (Path(__file__).parents[2] / "docs" / "secrets.md").read_text(encoding="utf-8")
BLOCKS: Final = dict(re.findall(r"^```(\w+)\n(.*?)^```\n", PAGE, re.MULTILINE | re.DOTALL))

MODULE: Final = """
from worker.tasks import task

@task("mail.send", input={"properties": {"password": {"writeOnly": True}}})
async def send(context, given):
    pass
"""


def shown_task() -> TaskDefinition:
    """The task of the page, as its code declares it."""
    found: dict[str, Any] = {}

    def task(name: str, *, input: Any) -> Any:
        def declare(handler: Any) -> None:
            found["task"] = define(name, handler, input=input)

        return declare

    exec(BLOCKS["python"], {"task": task})  # noqa: S102  # the page is ours
    definition: TaskDefinition = found["task"]
    return definition


def test_the_task_that_it_shows_has_a_secret() -> None:
    schema = shown_task().input_schema
    assert schema is not None
    assert list(secret_places(schema, {"to": "a", "smtp": {"password": "b"}})) == [("smtp", "password")]


def test_the_credentials_that_it_shows_are_credentials() -> None:
    read = read_credentials(BLOCKS["json"].replace("…", "a-secret"), allow_http=False)
    assert {name: one.header for name, one in read.items()} == {
        "billing": "authorization",
        "crm": "authorization",
        "maps": "x-api-key",
    }
    assert [name for name, one in read.items() if one.is_for("blog", "prd")] == ["billing", "maps"]


def test_names_and_numbers_are_those_of_the_code() -> None:
    assert f"An input has {MAX_SECRETS} secrets at most" in PAGE
    assert f"the names that lead to one have {MAX_PLACE // 1000} 000 characters at most" in PAGE
    assert MASK in PAGE
    assert f"`{UNREADABLE}`" in PAGE
    named = re.search(r"Inputs that have the headers (.*) are not dispatched", PAGE)
    assert named is not None
    assert sorted(re.findall(r"`(.*?)`", named[1].lower())) == sorted(PROVING)


async def test_a_worker_does_not_start_where_its_tasks_lack_a_key(tmp_path: Path) -> None:
    (tmp_path / "keyless_mail.py").write_text(MODULE)
    told = "mail.send: their inputs have secrets, and JOBGATE_SECRET_KEYS is not set"
    settings = {
        "MONGODB_URL": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100",
        "REDIS_URL": "redis://127.0.0.1:1",
        "PYTHONPATH": str(tmp_path),
    }
    (_, out, _), (code, _, err), (_, with_key, _) = await asyncio.gather(
        said("doctor", "--tasks", "keyless_mail", **settings),
        said("worker", "--tasks", "keyless_mail", **settings),
        said("doctor", "--tasks", "keyless_mail", JOBGATE_SECRET_KEYS=KEY, **settings),
    )
    assert f"FAIL  tasks: {told}" in out
    assert (code, told in err) == (1, True)
    assert "ok    tasks: " in with_key
