"""The README is true: what it shows is run, in order, against ``jobgate dev``; what it names exists."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urljoin

import click
import httpx
import pytest
from graphql import GraphQLObjectType, OperationDefinitionNode, OperationType, build_schema, parse
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gateway.cli import commands
from gateway.settings import Settings
from gateway.urls import GRAPHQL_PATH
from jobs.feed import feed_cursor
from tests.costs import costless
from worker.context import TaskContext

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
DEADLINE: Final = 60.0
STEP: Final = 20.0
VARIES: Final = "…"
SHOWS: Final = "The subscription shows "
ADDRESS: Final = "http://127.0.0.1:8000/graphql"

_FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"`([^`\n]+)`")
_PATH: Final = re.compile(r"\.?\w[\w.-]*/[\w./-]*|\w+\.(?:md|txt|toml|graphql)|LICENSE")
_EVENT: Final = re.compile(r"`(JOB_[A-Z]+)`")
_STATUS: Final = re.compile(r"^The answer's status is `([A-Z]+)`", re.MULTILINE)

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, and the prose behind it up to the next one."""

    language: str
    text: str
    prose: str

    @property
    def promised(self) -> list[str]:
        """The events of the job just spoken of that the subscription is said to show. Progress comes as often as it likes."""
        paragraphs = self.prose.replace("\n", " ").partition(SHOWS)[2] if SHOWS in self.prose else ""
        return [event for event in _EVENT.findall(paragraphs) if event != "JOB_PROGRESS"]


def blocks() -> list[Block]:
    found = list(_FENCE.finditer(README))
    ends = [*(match.start() for match in found[1:]), len(README)]
    return [
        Block(match[1], match[2], README[match.end() : end].split("\n## ")[0])
        for match, end in zip(found, ends, strict=True)
    ]


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def prose() -> str:
    return _FENCE.sub("\n", README)


def spans() -> list[str]:
    """What the prose shows as code."""
    return _SPAN.findall(prose())


def modules() -> dict[str, str]:
    """The modules that the README has its readers write: path and text. The first line of each says where it goes."""
    shown = [block.text for block in blocks() if block.language == "python"]
    return {text.splitlines()[0].removeprefix("# "): text for text in shown}


def command_lines() -> list[list[str]]:
    """Every command that is shown, in prose or in a block, as words."""
    lines = [line for block in blocks() if block.language == "sh" for line in block.text.splitlines()]
    return [line.split() for line in [*lines, *spans()] if re.search(r"\b(jobgate|scripts/\w+)(\s|$)", line)]


def calls(program: str) -> Iterator[list[str]]:
    """The arguments of every call of a program that is shown."""
    for words in command_lines():
        for index, word in enumerate(words):
            if word.removeprefix(".venv/bin/") == program:
                yield words[index + 1 :]


# ------------------------------------------------------------------------------------------------ what it shows is run


def agrees(shown: object, answered: object) -> bool:
    """Whether an answer is the one shown, where ``…`` alone stands for anything and within a text for any characters."""
    if shown == VARIES:
        return answered is not None
    match shown, answered:
        case str(), str():
            return fnmatchcase(answered, shown.replace(VARIES, "*"))
        case dict(), dict():
            return list(shown) == list(answered) and all(agrees(shown[key], answered[key]) for key in shown)
        case list(), list():
            return len(shown) == len(answered) and all(map(agrees, shown, answered))
    return shown == answered and type(shown) is type(answered)


class Subscription:
    """The README's subscription on a WebSocket: all that it has shown."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.shown: list[dict[str, Any]] = []

    async def begin(self, document: str) -> None:
        """From the very first event on: nothing tells when a subscription that begins now has begun."""
        await self._send({"type": "connection_init"})
        assert (await self._receive())["type"] == "connection_ack"
        payload = {"query": document, "variables": {"after": feed_cursor(0)}}
        await self._send({"type": "subscribe", "id": "watch", "payload": payload})

    async def follow(self, job_id: str, promised: list[str]) -> None:
        """Wait until it has shown these events of a job, and no others, but for those that were shown before."""
        while len(self._of(job_id)) < len(promised):
            message = await self._receive()
            assert message["type"] == "next", message
            assert "errors" not in message["payload"], message
            self.shown.append(costless(message["payload"]))
        assert self._of(job_id) == promised

    def _of(self, job_id: str) -> list[str]:
        events = [payload["data"]["jobEvents"] for payload in self.shown]
        return [one["type"] for one in events if one["jobId"] == job_id and one["type"] != "JOB_PROGRESS"]

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send(json.dumps(message))

    async def _receive(self) -> dict[str, Any]:
        while True:
            message: dict[str, Any] = json.loads(await self._socket.recv())
            if message["type"] != "ping":
                return message
            await self._send({"type": "pong"})


class Reader:
    """Somebody who follows the README from the top, and looks whether what it says is what happens."""

    def __init__(self, url: str, http: httpx.AsyncClient, subscription: Subscription) -> None:
        self._url = url
        self._http = http
        self._subscription = subscription
        self._answer: dict[str, Any] = {}
        self._job_id = ""
        self._told: dict[str, list[str]] = {}
        self.followed: list[str] = []
        """The names of the operations done."""

    async def read(self, block: Block) -> None:
        async with asyncio.timeout(STEP):
            match block.language:
                case "graphql":
                    await self._paste(block.text)
                case "sh" if block.text.startswith("curl "):
                    await self._curl(block.text)
                case "json":
                    self._compare(json.loads(block.text))
            if status := _STATUS.search(block.prose):
                assert [result["status"] for result in self._answer["data"].values()] == [status[1]]
            if block.promised:
                told = self._told.setdefault(self._job_id, [])
                told += block.promised
                await self._subscription.follow(self._job_id, told)

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a request answers: never errors, never a problem."""
        return self._checked(await self._http.post(self._url, json=request))

    def _checked(self, response: httpx.Response) -> dict[str, Any]:
        answer: dict[str, Any] = response.json()
        assert response.status_code == 200, answer
        assert "errors" not in answer, answer
        for result in answer["data"].values():
            assert result is not None, answer
            assert result.get("__typename", "Job") == "Job", answer
        return costless(answer)

    async def _paste(self, document: str) -> None:
        operation = operation_of(document)
        assert operation.name is not None
        self.followed.append(operation.name.value)
        if operation.operation is OperationType.SUBSCRIPTION:
            await self._subscription.begin(document)
            return
        known = {"id": self._job_id, "at": (datetime.now(UTC) + timedelta(seconds=5)).isoformat()}
        wanted = [variable.variable.name.value for variable in operation.variable_definitions or ()]
        self._answer = await self._ask({"query": document, "variables": {name: known[name] for name in wanted}})
        if operation.operation is OperationType.MUTATION:
            assert "__typename" in document
            [result] = self._answer["data"].values()
            self._job_id = result["id"]

    async def _curl(self, command: str) -> None:
        words = shlex.split(command)
        options = list(pairwise(words))
        assert ADDRESS in words
        headers = dict(value.split(": ", 1) for option, value in options if option == "-H")
        response = await self._http.post(self._url, content=dict(options)["--data"], headers=headers)
        self._answer = self._checked(response)

    def _compare(self, shown: dict[str, Any]) -> None:
        if "jobEvents" in shown["data"]:
            arrived = self._subscription.shown
            assert any(agrees(shown, payload) for payload in arrived), (shown, arrived)
        else:
            assert agrees(shown, self._answer), (shown, self._answer)


def operation_of(document: str) -> OperationDefinitionNode:
    [definition] = parse(document).definitions
    assert isinstance(definition, OperationDefinitionNode)
    return definition


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The folder with the modules that the README has its readers write."""
    for path, text in modules().items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
async def url(written: Path) -> AsyncIterator[str]:
    """Where a ``jobgate dev`` that has those tasks serves GraphQL."""
    with (written / "dev.log").open("wb") as log:
        arguments = ["--port", "0", "--data", str(written / "data"), *tasks_options()]
        process = await start(written, "dev", *arguments, stderr=log)
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), DEADLINE)).decode()
        assert line.startswith("ready http://127.0.0.1:"), (written / "dev.log").read_text()
        yield line.split()[1]
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        try:
            status = await asyncio.wait_for(process.wait(), DEADLINE)
        except TimeoutError:
            process.kill()
            raise
    assert status == 0


async def start(folder: Path, *arguments: str, stderr: int | IO[bytes]) -> asyncio.subprocess.Process:
    """``jobgate`` in a folder, with the settings that it has of itself."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *arguments),
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not _is_setting(name)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )


def _is_setting(name: str) -> bool:
    return name in {setting for setting, _, _ in Settings.described()} or name.startswith("JOBGATE_")


def tasks_options() -> list[str]:
    """What the README has its readers start ``scripts/dev`` with, to run the tasks that they have written."""
    names = [path.removesuffix(".py").replace("/", ".") for path in modules()]
    options = ["--tasks", *names]
    assert options in list(calls("scripts/dev"))
    return options


async def test_what_is_shown_happens_from_the_top_to_the_bottom(url: str) -> None:
    subprotocols = [Subprotocol("graphql-transport-ws")]
    async with (
        httpx.AsyncClient(timeout=STEP) as http,
        connect("ws" + url.removeprefix("http"), subprotocols=subprotocols, max_queue=None) as socket,
    ):
        reader = Reader(url, http, Subscription(socket))
        for block in blocks():
            await reader.read(block)
        assert reader.followed[0] == "Watch"
        assert len(reader.followed) == sum(block.language == "graphql" for block in blocks())
        await check_routes(url, http)
        await check_synchronous_task(reader)


async def check_routes(url: str, http: httpx.AsyncClient) -> None:
    routes = {span for span in spans() if re.fullmatch(r"/[a-z]+", span)}
    assert routes == {"/healthz", "/readyz"}
    for route in routes:
        assert (await http.get(urljoin(url, route))).status_code == 200


async def check_synchronous_task(reader: Reader) -> None:
    """The one task of the README that it does not dispatch itself."""
    fields = "__typename ... on Job { id } ... on Problem { code message }"
    given = 'namespace: "newsletter", task: "add_up", product: "tour", env: "dev", input: { below: 1000 }'
    events = " ".join(f"`JOB_{event}`" for event in ("SCHEDULED", "QUEUED", "STARTED", "COMPLETED"))
    dispatch = f"mutation AddUp {{ dispatch(input: {{ {given} }}) {{ {fields} }} }}"
    await reader.read(Block("graphql", dispatch, SHOWS + events))
    await reader.read(Block("graphql", "query Sum($id: ID!) { job(id: $id) { status result errorCode } }", ""))
    answer = {"data": {"job": {"status": "COMPLETED", "result": sum(range(1000)), "errorCode": None}}}
    await reader.read(Block("json", json.dumps(answer), ""))


@pytest.mark.parametrize(
    ("shown", "answered", "expected"),
    [
        ({"id": "job_…", "n": 1}, {"id": "job_17", "n": 1}, True),
        ({"id": "job_…"}, {"id": "17"}, False),
        ({"ms": "…"}, {"ms": 12}, True),
        ({"ms": "…"}, {"ms": None}, False),
        ({"n": 1}, {"n": 1, "more": 2}, False),
        ([1, 2], [1], False),
        ({"n": 1}, {"n": True}, False),
        ({"n": None}, {"n": None}, True),
    ],
)
def test_answers_are_compared_but_for_what_varies(shown: object, answered: object, expected: bool) -> None:
    assert agrees(shown, answered) is expected


# ------------------------------------------------------------------------------------------------ what it names exists


def test_the_table_of_settings_is_that_of_the_code() -> None:
    rows = [line.strip("| ").split("|") for line in section("Settings").splitlines() if line.startswith("| `")]
    told = [(name.strip(" `"), default.strip(" `"), meaning.strip()) for name, default, meaning in rows]
    assert told == list(Settings.described())


def test_every_setting_that_is_named_exists() -> None:
    known = {name for name, _, _ in Settings.described()}
    named = set(re.findall(r"\b(?:JOBGATE_[A-Z_]+|[A-Z]+_URL)\b", README))
    assert named >= known
    assert named - known == set()


def test_every_file_that_is_named_exists() -> None:
    words = {word for span in spans() for word in span.split()}
    paths = {word for word in words if _PATH.fullmatch(word)} - modules().keys()
    made_by_the_first_start = {path for path in paths if path.startswith(".venv/")}
    assert {"scripts/dev", "scripts/test", "examples/README.md", "jobs/"} < paths
    assert sorted(path for path in paths - made_by_the_first_start if not (ROOT / path).exists()) == []
    assert made_by_the_first_start == {".venv/bin/jobgate"}
    assert sorted(path for path in paths if path.startswith("scripts/") and not os.access(ROOT / path, os.X_OK)) == []


def test_every_subcommand_and_every_option_that_is_named_exists() -> None:
    called = {"scripts/dev": [["dev", *arguments] for arguments in calls("scripts/dev")], "jobgate": calls("jobgate")}
    seen = set()
    for arguments in (one for some in called.values() for one in some if one):
        if arguments == ["--help"]:
            continue
        command = commands.commands[arguments[0]]
        seen.add(arguments[0])
        if isinstance(command, click.Group):
            command = command.commands[arguments[1]]
        known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        assert {word for word in arguments[1:] if word.startswith("-")} <= known, arguments
    assert seen == commands.commands.keys()


def test_options_without_a_command_are_options_of_one() -> None:
    groups = [command for command in commands.commands.values() if isinstance(command, click.Group)]
    every = [*commands.commands.values(), *(command for group in groups for command in group.commands.values())]
    known = {name for command in every for option in command.params for name in option.opts}
    assert {span.split()[0] for span in spans() if span.startswith("--")} <= known


def test_the_defaults_that_the_command_line_shows_are_the_defaults() -> None:
    defaults = {f"--{name.removeprefix('JOBGATE_').lower()}": value for name, value, _ in Settings.described()}
    data = next(option for option in commands.commands["dev"].params if option.name == "data")
    assert isinstance(data, click.Option)
    defaults["--data"] = str(data.default)
    shown = [pair for line in section("The command line").splitlines() for pair in pairwise(line.strip("| `").split())]
    compared = {(option, value.strip("`")) for option, value in shown if option in defaults and option != "--tasks"}
    assert {option for option, _ in compared} == {"--data", "--port", "--host", "--concurrency"}
    assert {(option, value) for option, value in compared if defaults[option] != value} == set()


def test_all_that_a_context_is_said_to_have_is_there() -> None:
    named = set(re.findall(r"\bcontext\.(\w+)", README)) - {"import"}
    assert named
    assert sorted(name for name in named if not hasattr(TaskContext, name)) == []


async def test_the_tasks_that_readers_write_can_be_loaded(written: Path) -> None:
    """By the doctor, as it is shown: here they would be declared for all other tests, too."""
    options = tasks_options()
    assert ["doctor", *options] in list(calls("jobgate"))
    process = await start(written, "doctor", *options, stderr=asyncio.subprocess.STDOUT)
    out, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode == 0, out.decode()
    assert re.search(r"^ok +tasks: .*newsletter.add_up, newsletter.send$", out.decode(), re.MULTILINE)


@pytest.mark.parametrize(("kind", "name"), [("Mutations", "Mutation"), ("Queries", "Query"), ("Of a job", "Job")])
def test_what_is_said_to_be_missing_is_what_is_missing(kind: str, name: str) -> None:
    missing = fields("tests/contract.graphql", name) - fields("schema/schema.graphql", name)
    said = re.findall(rf"^- \*\*{kind}:\*\*(.*?)^- ", section("What is not there yet"), re.MULTILINE | re.DOTALL)
    assert {span for item in said for span in _SPAN.findall(item)} == missing


def fields(schema: str, name: str) -> set[str]:
    type_ = build_schema((ROOT / schema).read_text(encoding="utf-8")).type_map[name]
    assert isinstance(type_, GraphQLObjectType)
    return set(type_.fields)


def test_no_address_but_the_loopback_is_named() -> None:
    hosts = set(re.findall(r"\b\w+://([^/:\s'`…]+)", README))
    assert hosts == {"127.0.0.1"}
    assert GRAPHQL_PATH in ADDRESS
    assert ADDRESS in README
