"""Declaring tasks, finding them, and loading the modules that declare them."""

import itertools
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from worker import tasks
from worker.builtin import builtin_tasks
from worker.tasks import TaskDefinition, TaskError, TaskLoadError, TaskRegistry, define, load_tasks, task

numbers = itertools.count()
WriteModule = Callable[..., str]


@pytest.fixture(autouse=True)
def own_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test declares is forgotten with it."""
    monkeypatch.setattr(tasks, "_declared", [])


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteModule:
    """Writes a module that can be imported, under a name that no other test has used."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source: str) -> str:
        name = f"tasks_of_test_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


def nothing(context: Any, given: Any) -> Any:
    """Does nothing.

    And says so at length.
    """


async def nothing_slowly(context: Any, given: Any) -> Any: ...


def declaring(name: str) -> str:
    return f"from worker.tasks import task\n\n@task({name!r})\ndef handler(context, given):\n    return given\n"


def test_a_declared_function_stays_as_it_is_and_is_found() -> None:
    declared = task("mail.send", retries=3, timeout=30)(nothing)
    assert declared is nothing
    found = load_tasks([]).find("mail", "send")
    assert found == TaskDefinition("mail.send", nothing, "Does nothing.", 3, timedelta(seconds=30))


def test_the_first_dot_divides_namespace_and_task() -> None:
    definition = define("mail.send.bulk", nothing)
    assert (definition.namespace, definition.task) == ("mail", "send.bulk")
    assert TaskRegistry([definition]).find("mail", "send.bulk") is definition
    assert TaskRegistry([definition]).find("mail.send", "bulk") is definition


def test_what_is_not_there_is_not_found() -> None:
    assert TaskRegistry([define("mail.send", nothing)]).find("mail", "sent") is None


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [(None, None), (0.5, timedelta(milliseconds=500)), (timedelta(hours=1), timedelta(hours=1))],
)
def test_timeouts_are_seconds_or_timedeltas(timeout: float | timedelta | None, expected: timedelta | None) -> None:
    assert define("mail.send", nothing, timeout=timeout).timeout == expected


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), timedelta(0)])
def test_a_timeout_must_be_a_length_of_time(timeout: float | timedelta) -> None:
    with pytest.raises(TaskLoadError, match=r"'mail\.send'.* timeout"):
        define("mail.send", nothing, timeout=timeout)


def test_retries_must_not_be_negative() -> None:
    with pytest.raises(TaskLoadError, match="retries must not be negative"):
        define("mail.send", nothing, retries=-1)


@pytest.mark.parametrize(
    "name", ["send", ".send", "mail.", "mail send.x", "mäil.send", "a" * 65 + ".b", "a." + "b" * 129]
)
def test_a_name_has_a_namespace_and_a_task(name: str) -> None:
    with pytest.raises(TaskLoadError, match="is not a task name such as"):
        define(name, nothing)


def test_the_longest_names_are_accepted() -> None:
    name = f"{'n' * 64}.{'t' * 128}"
    assert define(name, nothing).name == name


def no_arguments() -> None: ...
def one_argument(context: Any) -> None: ...
def three_arguments(context: Any, given: Any, more: Any) -> None: ...
def a_keyword_too(context: Any, given: Any, *, more: Any) -> None: ...


@pytest.mark.parametrize("handler", [no_arguments, one_argument, three_arguments, a_keyword_too, int])
def test_a_handler_takes_two_arguments(handler: Callable[..., Any]) -> None:
    with pytest.raises(TaskLoadError, match=re.escape("'mail.send' must take two arguments, (context, input)")):
        define("mail.send", handler)


def optional_third(context: Any, given: Any, more: Any = None) -> None: ...
def anything(*arguments: Any) -> None: ...


@pytest.mark.parametrize("handler", [optional_third, anything, partial(three_arguments, None)])
def test_a_handler_may_take_more_than_it_is_given(handler: Callable[..., Any]) -> None:
    assert define("mail.send", handler).handler is handler


def yielding(context: Any, given: Any) -> Iterator[int]:
    yield 1


async def yielding_slowly(context: Any, given: Any) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("handler", [yielding, yielding_slowly])
def test_a_handler_does_not_yield(handler: Callable[..., Any]) -> None:
    with pytest.raises(TaskLoadError, match="must return its result, not yield"):
        define("mail.send", handler)


class Slow:
    """Answers in its own time."""

    async def __call__(self, context: Any, given: Any) -> Any: ...


class Quick:
    def __call__(self, context: Any, given: Any) -> Any: ...


@pytest.mark.parametrize(
    ("handler", "is_async"),
    [
        (nothing, False),
        (nothing_slowly, True),
        (partial(nothing_slowly), True),
        (partial(partial(nothing)), False),
        (Slow(), True),
        (partial(Slow()), True),
        (Quick(), False),
        (Slow().__call__, True),
    ],
)
def test_handlers_that_are_to_be_awaited_are_told_apart(handler: Callable[..., Any], is_async: bool) -> None:
    assert define("mail.send", handler).is_async is is_async


@pytest.mark.parametrize(
    ("handler", "description"),
    [
        (nothing, "Does nothing."),
        (partial(nothing), "Does nothing."),
        (nothing_slowly, None),
        (Slow(), "Answers in its own time."),
    ],
)
def test_the_first_paragraph_describes(handler: Callable[..., Any], description: str | None) -> None:
    assert define("mail.send", handler).description == description
    assert define("mail.send", handler, description="Given.").description == "Given."


def test_a_name_that_is_taken_twice_is_refused_with_both_places() -> None:
    registry = TaskRegistry([define("mail.send", nothing)])
    lines = [handler.__code__.co_firstlineno for handler in (nothing, anything)]
    with pytest.raises(TaskLoadError, match=rf"'mail.send' .*twice: .*:{lines[0]} and .*:{lines[1]}$"):
        registry.add(define("mail.send", anything))


def test_definitions_are_in_order() -> None:
    registry = TaskRegistry([define("b.b", nothing), define("a.z", nothing), define("a.a", nothing)])
    assert [definition.name for definition in registry.definitions()] == ["a.a", "a.z", "b.b"]


def test_modules_are_loaded_beside_what_is_built_in(write_module: WriteModule) -> None:
    registry = load_tasks([write_module(declaring("mail.send"))], builtin_tasks(allow_private=False))
    assert [definition.name for definition in registry.definitions()] == (
        ["demo.echo", "demo.fail", "demo.sleep", "http.request", "mail.send"]
    )


def test_a_module_may_be_named_twice(write_module: WriteModule) -> None:
    module = write_module(declaring("mail.send"))
    assert len(load_tasks([module, module]).definitions()) == 1


def test_a_module_may_gather_the_tasks_of_others(write_module: WriteModule) -> None:
    gathering = write_module(f"import {write_module(declaring('mail.send'))}\n")
    assert load_tasks([gathering]).find("mail", "send") is not None


def test_two_modules_may_not_declare_the_same_task(write_module: WriteModule) -> None:
    first, second = write_module(declaring("mail.send")), write_module(declaring("mail.send"))
    with pytest.raises(TaskLoadError, match=rf"twice: .*{first}.py:3 and .*{second}.py:3"):
        load_tasks([first, second])


def test_a_module_in_the_current_directory_is_found(
    write_module: WriteModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = write_module(declaring("mail.send"))
    monkeypatch.undo()
    monkeypatch.setattr(tasks, "_declared", [])
    monkeypatch.chdir(tmp_path)
    assert load_tasks([module]).find("mail", "send") is not None


@pytest.mark.parametrize("module", ["no_such_module", "tests.no_such_module", "no_such_package.tasks"])
def test_a_module_that_is_not_there_is_named(module: str) -> None:
    with pytest.raises(TaskLoadError, match=f"^there is no module '{module}'$"):
        load_tasks([module])


FAILING = {
    "import not_installed_at_all": "needs 'not_installed_at_all', which is not installed",
    "import task": "needs 'task', which is not installed",
    "\n1 / 0": r"failed: ZeroDivisionError: division by zero \(.*:2\)",
    "\n\ndef broken(:": r"failed: SyntaxError: .* \(.*:3\)",
    "import json\njson.loads('{')": r"failed: JSONDecodeError: .* \(.*tasks_of_test_\d+.py:2\)",
    "raise RuntimeError('two\\nlines')": r"failed: RuntimeError: two lines \(",
    "raise SystemExit(3)": r"failed: SystemExit: 3 \(",
    "answer = 42": "declares no task$",
}


@pytest.mark.parametrize("source", FAILING)
def test_a_module_that_fails_is_named_with_the_line(source: str, write_module: WriteModule) -> None:
    module = write_module(source)
    with pytest.raises(TaskLoadError, match=f"^the module '{module}' {FAILING[source]}") as failed:
        load_tasks([module])
    assert "\n" not in str(failed.value)


def test_a_task_error_has_a_code_and_a_message() -> None:
    error = TaskError("CARD_DECLINED", "the card was declined")
    assert (error.code, error.message, str(error)) == (
        ("CARD_DECLINED", "the card was declined", "CARD_DECLINED: the card was declined")
    )


@pytest.mark.parametrize("code", ["", "two words", "a" * 101, "ä", "line\n"])
def test_a_code_is_one_word(code: str) -> None:
    with pytest.raises(ValueError, match="1 to 100 letters"):
        TaskError(code, "?")


@pytest.mark.parametrize("code", ["A", "app:db.timeout-2_x", "a" * 100])
def test_codes_may_have_parts(code: str) -> None:
    assert TaskError(code).code == code
