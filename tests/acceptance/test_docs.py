"""The page ``docs/operations.md`` is true: what it shows is run, in its order, and answers what it says."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from graphql import FieldNode, OperationType, build_schema

from gateway.devstack import Servers
from jobs.events import EventType
from schema.build import printed_schema
from tests.acceptance.test_readme import agrees, operation_of
from tests.costs import costless
from tests.gateway import DEADLINE, LiveGateway, serving
from tests.webhooks import KEY
from worker.builtin import builtin_tasks

PAGE: Final = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")

LATER: Final = {"viewer"}
"""Operations that get a page of their own."""

SOON: Final = "within a moment"
"""What the prose says of an answer that may have to be asked for again."""

_FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_TITLE: Final = re.compile(r"^## (.+)$", re.MULTILINE)
_NAME: Final = re.compile(r"<(\w+)>")
_WAITS: Final = re.compile(r"`(JOB_[A-Z]+)`\s+of\s+`<(\w+)>`")


@dataclass(slots=True)
class Example:
    """An operation, with the blocks of JSON that follow it."""

    section: str
    prose: str
    document: str
    blocks: list[Any] = field(default_factory=list)

    @property
    def waits(self) -> list[tuple[str, str]]:
        """Events that the prose has happened before, each with the name of its job."""
        return _WAITS.findall(self.prose)

    @property
    def variables(self) -> dict[str, Any]:
        given: dict[str, Any] = self.blocks[0] if len(self.blocks) > 1 else {}
        return given


def examples() -> list[Example]:
    found: list[Example] = []
    end = 0
    for match in _FENCE.finditer(PAGE):
        if match[1] == "graphql":
            section = _TITLE.findall(PAGE[: match.start()])[-1]
            found.append(Example(section, PAGE[end : match.start()], match[2]))
        else:
            assert match[1] == "json"
            found[-1].blocks.append(json.loads(match[2]))
        end = match.end()
    return found


class Names:
    """What names such as ``<echo>`` stand for."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def filled(self, value: Any) -> Any:
        """A value with what its names stand for."""
        match value:
            case str():
                name = _NAME.fullmatch(value)
                return self.known[name[1]] if name else value
            case dict():
                return {key: self.filled(item) for key, item in value.items()}
            case list():
                return [self.filled(item) for item in value]
        return value

    def learn(self, shown: Any, answered: Any) -> None:
        """Take from an answer what is named in it for the first time."""
        match shown, answered:
            case str(), str():
                if name := _NAME.fullmatch(shown):
                    self.known.setdefault(name[1], answered)
            case dict(), dict():
                for key in shown.keys() & answered.keys():
                    self.learn(shown[key], answered[key])
            case list(), list():
                for one, other in zip(shown, answered, strict=False):
                    self.learn(one, other)


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    """With a worker that has the built-in tasks."""
    handlers = {task.name: task.handler for task in builtin_tasks(allow_private=False)}
    async with (
        serving(servers.mongodb_url, redis_url, database_name, secret_keys=KEY) as gateway,
        gateway.worker(handlers),
    ):
        yield gateway


async def answered(gateway: LiveGateway, document: str, variables: dict[str, Any]) -> Any:
    """What an operation answers; of a subscription, its first message."""
    if operation_of(document).operation is not OperationType.SUBSCRIPTION:
        return costless(await gateway.ask(document, **variables))
    async with gateway.socket() as socket:
        await socket.subscribe("watch", document, **variables)
        message = await socket.receive()
        assert message["type"] == "next", message
        return costless(message["payload"])


async def agreed(gateway: LiveGateway, example: Example, names: Names) -> Any:
    """What an example answers, asked again and again if it may be so only in a moment."""
    variables, shown = names.filled(example.variables), example.blocks[-1]
    answer = await answered(gateway, example.document, variables)
    if SOON in example.prose:
        async with asyncio.timeout(DEADLINE):
            while not agrees(names.filled(shown), answer):
                answer = await answered(gateway, example.document, variables)
    return answer


async def test_what_is_shown_happens_from_the_top_to_the_bottom(gateway: LiveGateway) -> None:
    names = Names()
    for example in examples():
        for event, name in example.waits:
            await gateway.told(names.known[name], EventType[event])
        answer = await agreed(gateway, example, names)
        shown = example.blocks[-1]
        names.learn(shown, answer)
        assert agrees(names.filled(shown), answer), f"{example.section}: {json.dumps(answer, ensure_ascii=False)}"


def test_every_operation_has_a_section_with_an_example_of_it() -> None:
    schema = build_schema(printed_schema())
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    there = {name for root in roots if root for name in root.fields}
    assert sorted(_TITLE.findall(PAGE)) == sorted(there - LATER)
    shown = {(example.section, name) for example in examples() for name in root_fields(example.document)}
    assert {section for section in _TITLE.findall(PAGE) if (section, section) not in shown} == set()


def test_every_example_has_its_variables_and_its_answer() -> None:
    for example in examples():
        operation = operation_of(example.document)
        assert len(example.blocks) == (2 if operation.variable_definitions else 1), example.document
        declared = {variable.variable.name.value for variable in operation.variable_definitions or ()}
        assert example.variables.keys() <= declared


def root_fields(document: str) -> list[str]:
    selections = operation_of(document).selection_set.selections
    return [selection.name.value for selection in selections if isinstance(selection, FieldNode)]


def test_a_name_stands_for_what_it_was_first_given() -> None:
    names = Names()
    names.learn({"a": ["<x>"], "b": "<y>"}, {"a": ["1"], "b": "2"})
    names.learn({"a": "<x>"}, {"a": "3"})
    assert names.filled({"a": "<x>", "b": ["<y>", "…", 4]}) == {"a": "1", "b": ["2", "…", 4]}
