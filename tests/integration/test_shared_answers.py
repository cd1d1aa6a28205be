"""One event for many subscriptions that ask the same of it: executed once; and never the answer to another question."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from gateway.devstack import Servers
from jobs.feed import feed_cursor
from schema import shared_answers
from tests.gateway import LiveGateway, serving

Question = tuple[str, dict[str, Any], str | None]

PLAIN: Final[Question] = ("subscription { jobEvents { cursor type jobId seq } }", {}, None)
IN_PARTS: Final[Question] = (
    "subscription Q($after: String) { jobEvents(after: $after) { cursor ... on JobEvent { type } ...More } } "
    "fragment More on JobEvent { jobId number: seq }",
    {},
    "Q",
)
SWITCHED: Final = "subscription ($on: Boolean!) { jobEvents { cursor type @include(if: $on) } }"
SWITCHED_PART: Final = (
    "subscription ($on: Boolean!) { jobEvents { cursor ...More @include(if: $on) } } fragment More on JobEvent { type }"
)
TWO: Final = "subscription A { jobEvents { cursor type } } subscription B { jobEvents { cursor seq } }"
ABOUT_JOB: Final = "subscription ($after: String) { jobEvents(after: $after) { cursor job { status } } }"
WITH_JOB: Final[Question] = (ABOUT_JOB, {}, None)


@pytest.fixture
async def gateway(servers: Servers, database_name: str, redis_url: str) -> AsyncIterator[LiveGateway]:
    async with serving(servers.mongodb_url, redis_url, database_name) as gateway:
        yield gateway


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The events for which a selection was executed, once for each time."""
    events: list[Any] = []
    execute = StrawberryGraphQLCoreExecutionContext.execute_operation

    def noted(self: StrawberryGraphQLCoreExecutionContext, serially: bool | None = None) -> Any:
        if self.operation.operation.value == "subscription":
            events.append(self.root_value)
        return execute(self, serially)

    monkeypatch.setattr(StrawberryGraphQLCoreExecutionContext, "execute_operation", noted)
    return events


async def answers(gateway: LiveGateway, *questions: Question) -> list[list[dict[str, Any]]]:
    """What each of them is told of a job that is dispatched: of two events."""
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(gateway.socket()) for _ in questions]
        for socket, (query, variables, name) in zip(sockets, questions, strict=True):
            asked = {"query": query, "variables": variables, "operationName": name}
            await socket.send({"type": "subscribe", "id": "1", "payload": asked})
        await gateway.until_subscribers(len(questions))
        await gateway.dispatched()
        told = [[await socket.next("1", "jobEvents") for _ in range(2)] for socket in sockets]
    await gateway.until_subscribers(0)
    return told


@pytest.mark.parametrize("question", [PLAIN, IN_PARTS])
async def test_what_many_ask_alike_is_executed_once(
    gateway: LiveGateway, executed: list[Any], question: Question
) -> None:
    first, *others = await answers(gateway, *[question] * 3)
    assert others == [first, first]
    assert [event["type"] for event in first] == ["JOB_SCHEDULED", "JOB_QUEUED"]
    assert [event["cursor"] for event in first] == [feed_cursor(1), feed_cursor(2)]
    assert len(executed) == 2


@pytest.mark.parametrize(
    ("one", "other", "keys"),
    [
        (PLAIN, IN_PARTS, (["cursor", "type", "jobId", "seq"], ["cursor", "type", "jobId", "number"])),
        ((SWITCHED, {"on": True}, None), (SWITCHED, {"on": False}, None), (["cursor", "type"], ["cursor"])),
        ((SWITCHED_PART, {"on": True}, None), (SWITCHED_PART, {"on": False}, None), (["cursor", "type"], ["cursor"])),
        ((TWO, {}, "A"), (TWO, {}, "B"), (["cursor", "type"], ["cursor", "seq"])),
        (WITH_JOB, WITH_JOB, (["cursor", "job"], ["cursor", "job"])),
    ],
    ids=["documents", "variables", "variables of a part", "operations", "more than the event"],
)
async def test_each_question_has_its_own_answer(
    gateway: LiveGateway, executed: list[Any], one: Question, other: Question, keys: tuple[list[str], list[str]]
) -> None:
    told = await answers(gateway, one, other)
    assert tuple(list(events[0]) for events in told) == keys
    assert len(executed) == 4


async def test_the_job_is_told_as_it_is_now_however_often_it_is_asked_for(gateway: LiveGateway) -> None:
    await answers(gateway, WITH_JOB)
    [job_id] = [node["id"] for node in (await gateway.list())["nodes"]]
    await gateway.data("mutation ($id: ID!) { cancel(id: $id) { __typename } }", id=job_id)
    async with gateway.socket() as socket:
        await socket.subscribe("1", ABOUT_JOB, after=feed_cursor(0))
        assert (await socket.next("1", "jobEvents"))["job"] == {"status": "CANCELLED"}


async def test_answers_are_not_kept_for_ever(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_answers, "_KEPT", 3)
    monkeypatch.setattr(shared_answers, "_told", {})
    for _ in range(3):
        await answers(gateway, PLAIN)
    assert [asked[0] for asked in shared_answers._told] == [feed_cursor(number) for number in (4, 5, 6)]
