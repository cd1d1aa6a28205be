"""Tasks: the handlers that workers can run, under the names that jobs call them by."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from jobs.errors import JobgateError
from jobs.input_schemas import BadSchema
from worker.input_schemas import InputType, declared_schema

INVALID_INPUT: Final = "INVALID_INPUT"
"""The code of every handler here whose input is not what it takes."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_.-]{1,128}")
_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)


class TaskError(Exception):
    """A failure that a handler has a name for: retry policies match ``code``, people read ``message``."""

    def __init__(self, code: str, message: str = "") -> None:
        if not _CODE.fullmatch(code):
            raise ValueError(f"a code is 1 to 100 letters, digits and _ . : -, not {code!r}")
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


class TaskLoadError(JobgateError):
    """Tasks could not be loaded; the message says which and why."""


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """A handler and its terms."""

    name: str
    """``namespace.task``: the first dot divides."""
    handler: Handler
    description: str | None = None
    retries: int = 0
    """The least number of automatic retries that a job of this task gets; a dispatch may ask for more."""
    timeout: timedelta | None = None
    """How long an attempt may take when the dispatch does not say."""
    input_schema: str | None = None
    """The JSON Schema that every dispatch's input has to meet, as JSON text."""

    @property
    def namespace(self) -> str:
        return self.name.partition(".")[0]

    @property
    def task(self) -> str:
        return self.name.partition(".")[2]

    @property
    def is_async(self) -> bool:
        return _is_async(self.handler)


class TaskRegistry:
    """The tasks of one worker, by name."""

    def __init__(self, definitions: Iterable[TaskDefinition] = ()) -> None:
        self._definitions: dict[str, TaskDefinition] = {}
        for definition in definitions:
            self.add(definition)

    def add(self, definition: TaskDefinition) -> None:
        """Raises :class:`TaskLoadError` when the name is taken by another handler."""
        known = self._definitions.get(definition.name)
        if known is not None and known.handler is not definition.handler:
            places = f"{_place(known.handler)} and {_place(definition.handler)}"
            raise TaskLoadError(f"the task {definition.name!r} is defined twice: {places}")
        self._definitions[definition.name] = definition

    def find(self, namespace: str, task: str) -> TaskDefinition | None:
        return self._definitions.get(f"{namespace}.{task}")

    def definitions(self) -> list[TaskDefinition]:
        """All of them, by name."""
        return sorted(self._definitions.values(), key=lambda definition: definition.name)


_declared: Final[list[TaskDefinition]] = []


def task(
    name: str,
    *,
    retries: int = 0,
    timeout: float | timedelta | None = None,
    description: str | None = None,
    input: InputType | None = None,
) -> Callable[[H], H]:
    """Declare a function ``(context, input)`` as the handler of a task; it stays callable as it is.

    ``timeout`` is in seconds unless it is a ``timedelta``. ``input`` is a JSON Schema, or a type that pydantic or msgspec has
    one of: what does not meet it is not dispatched. The handler is given plain JSON all the same. Raises
    :class:`TaskLoadError` for terms that make no sense.
    """

    def declare(handler: H) -> H:
        terms = define(name, handler, retries=retries, timeout=timeout, description=description, input=input)
        _declared.append(terms)
        return handler

    return declare


def define(
    name: str,
    handler: Handler,
    *,
    retries: int = 0,
    timeout: float | timedelta | None = None,
    description: str | None = None,
    input: InputType | None = None,
) -> TaskDefinition:
    """A checked definition. Raises :class:`TaskLoadError`."""
    if not _NAME.fullmatch(name):
        raise TaskLoadError(f"{name!r} is not a task name such as 'notifications.send_email'")
    if retries < 0:
        raise TaskLoadError(f"task {name!r}: retries must not be negative")
    _check_handler(name, handler)
    said, limit = description or _first_paragraph(handler), _limit(name, timeout)
    return TaskDefinition(name, handler, said, retries, limit, _schema(name, input))


def load_tasks(modules: Sequence[str], built_in: Iterable[TaskDefinition] = ()) -> TaskRegistry:
    """Import the modules and collect what they declare, beside what is built in. Raises :class:`TaskLoadError`."""
    registry = TaskRegistry(built_in)
    # `python -m` and a console script differ in whether the current directory can be imported from.
    if "" not in sys.path:
        sys.path.insert(0, "")
    for module in modules:
        before = len(_declared)
        _import(module)
        # A module may also have been imported before, by another of them, and one may do no more than import others.
        if len(_declared) == before and not any(_is_within(one.handler, module) for one in _declared):
            raise TaskLoadError(f"the module {module!r} declares no task")
    for definition in _declared:
        registry.add(definition)
    return registry


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except TaskLoadError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise TaskLoadError(f"there is no module {module!r}") from error
        raise TaskLoadError(f"the module {module!r} needs {error.name!r}, which is not installed") from error
    # SystemExit: a script that was named by mistake must not end the worker without a word.
    except (Exception, SystemExit) as error:
        raise TaskLoadError(
            f"the module {module!r} failed: {_in_one_line(error)} ({_origin(error, module)})"
        ) from error


def _in_one_line(error: BaseException) -> str:
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return " ".join(f"{type(error).__name__}: {said}".split())


def _origin(error: BaseException, module: str) -> str:
    """The line to look at: the module's own that led to the error, however deep in a library that was raised."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [(frame, line) for frame, line in frames if frame.f_globals.get("__name__") == module]
    frame, line = (own or frames)[-1]
    return f"{frame.f_code.co_filename}:{line}"


def _limit(name: str, timeout: float | timedelta | None) -> timedelta | None:
    try:
        limit = timedelta(seconds=timeout) if isinstance(timeout, int | float) else timeout
    except (ValueError, OverflowError):
        raise TaskLoadError(f"task {name!r}: {timeout} s is not a timeout") from None
    if limit is not None and limit <= timedelta(0):
        raise TaskLoadError(f"task {name!r}: the timeout must be positive")
    return limit


def _schema(name: str, declared: InputType | None) -> str | None:
    try:
        return None if declared is None else declared_schema(declared)
    except BadSchema as error:
        raise TaskLoadError(f"task {name!r}: the input schema is of no use: {error}") from error


def _check_handler(name: str, handler: Handler) -> None:
    try:
        inspect.signature(handler).bind(object(), object())
    # The second: a builtin function that does not tell its signature.
    except (TypeError, ValueError):
        raise TaskLoadError(f"the handler of {name!r} must take two arguments, (context, input)") from None
    if any(inspect.isgeneratorfunction(form) or inspect.isasyncgenfunction(form) for form in _forms(handler)):
        raise TaskLoadError(f"the handler of {name!r} must return its result, not yield")


def _is_async(handler: Handler) -> bool:
    return any(inspect.iscoroutinefunction(form) for form in _forms(handler))


def _forms(handler: Handler) -> tuple[Handler, Handler]:
    """What may tell the kind of a handler: itself, or how its class calls it."""
    bare = _bare(handler)
    return bare, type(bare).__call__


def _bare(handler: Handler) -> Handler:
    while isinstance(handler, partial):
        handler = handler.func
    return handler


def _first_paragraph(handler: Handler) -> str | None:
    documented = inspect.getdoc(_bare(handler))
    return " ".join(documented.split("\n\n")[0].split()) if documented else None


def _is_within(handler: Handler, module: str) -> bool:
    return f"{_bare(handler).__module__}.".startswith(f"{module}.")


def _place(handler: Handler) -> str:
    code = getattr(_bare(handler), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(handler)
