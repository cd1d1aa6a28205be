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
    name: str, *, retries: int = 0, timeout: float | timedelta | None = None, description: str | None = None
) -> Callable[[H], H]:
    """Declare a function ``(context, input)`` as the handler of a task; it stays callable as it is.

    ``timeout`` is in seconds unless it is a ``timedelta``. Raises :class:`TaskLoadError` for terms that make no sense.
    """

    def declare(handler: H) -> H:
        _declared.append(define(name, handler, retries=retries, timeout=timeout, description=description))
        return handler

    return declare


def define(
    name: str,
    handler: Handler,
    *,
    retries: int = 0,
    timeout: float | timedelta | None = None,
    description: str | None = None,
) -> TaskDefinition:
    """A checked definition. Raises :class:`TaskLoadError`."""
    if not _NAME.fullmatch(name):
        raise TaskLoadError(f"{name!r} is not a task name such as 'notifications.send_email'")
    if retries < 0:
        raise TaskLoadError(f"task {name!r}: retries must not be negative")
    limit = timedelta(seconds=timeout) if isinstance(timeout, int | float) else timeout
    if limit is not None and limit <= timedelta(0):
        raise TaskLoadError(f"task {name!r}: the timeout must be positive")
    _check_signature(name, handler)
    return TaskDefinition(name, handler, description or _first_paragraph(handler), retries, limit)


def load_tasks(modules: Sequence[str], built_in: Iterable[TaskDefinition] = ()) -> TaskRegistry:
    """Import the modules and collect what they declare, beside what is built in. Raises :class:`TaskLoadError`."""
    registry = TaskRegistry(built_in)
    # `python -m` and a console script differ in whether the current directory can be imported from.
    if "" not in sys.path:
        sys.path.insert(0, "")
    for module in modules:
        _import(module)
        declared = [
            one for one in _declared if one.handler.__module__.split(".")[: module.count(".") + 1] == module.split(".")
        ]
        if not declared:
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
        if error.name is not None and module.startswith(error.name):
            raise TaskLoadError(f"there is no module {module!r}") from error
        raise TaskLoadError(f"the module {module!r} needs {error.name!r}, which is not installed") from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename}:{last.lineno}"
        raise TaskLoadError(f"the module {module!r} failed: {type(error).__name__}: {error} ({place})") from error


def _check_signature(name: str, handler: Handler) -> None:
    try:
        inspect.signature(handler).bind(object(), object())
    except TypeError:
        raise TaskLoadError(f"the handler of {name!r} must take two arguments, (context, input)") from None


def _is_async(handler: Handler) -> bool:
    while isinstance(handler, partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)


def _first_paragraph(handler: Handler) -> str | None:
    documented = inspect.getdoc(handler)
    return " ".join(documented.split("\n\n")[0].split()) if documented else None


def _place(handler: Handler) -> str:
    code = getattr(handler, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(handler)
