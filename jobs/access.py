"""Who asks, and what they may: scopes say what may be done, a reach says to the jobs of which products and envs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from jobs.errors import JobgateError
from jobs.filters import EventFilter, JobFilter
from jobs.job import JobError
from jobs.lifecycle import Action
from jobs.origins import UNKNOWN, Origin


class Scope(StrEnum):
    """What may be done, as keys and tokens name it."""

    JOBS_READ = "jobs:read"
    JOBS_DISPATCH = "jobs:dispatch"
    JOBS_CONTROL = "jobs:control"
    JOBS_DELETE = "jobs:delete"
    WEBHOOKS_MANAGE = "webhooks:manage"
    PAYLOADS_READ = "payloads:read"
    """To see the input and the result of jobs, and the whole of their errors."""
    ADMIN = "admin"
    """All of the others as well."""


SCOPE_OF: Final[Mapping[Action, Scope]] = MappingProxyType({Action.DELETE: Scope.JOBS_DELETE})
"""The scope that an action on a job needs, unless that is ``jobs:control``."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The products and envs whose jobs somebody may see and change; None: all. What lies in one that is named is reached."""

    products: frozenset[str] | None
    envs: frozenset[str] | None

    def includes(self, product: str | None, env: str | None) -> bool:
        """Whether this product and env are reached; None stands for all of them, which only an unlimited reach includes."""
        return _includes(self.products, product) and _includes(self.envs, env)

    def narrowed(self, conditions: JobFilter) -> JobFilter:
        """The same conditions, met only by jobs within reach."""
        if self == EVERYWHERE:
            return conditions
        product = _narrowed(self.products, conditions.product)
        return replace(conditions, product=product, env=_narrowed(self.envs, conditions.env))

    def narrowed_events(self, wanted: EventFilter) -> EventFilter:
        """The same conditions, met only by events of jobs within reach."""
        return replace(wanted, jobs=self.narrowed(wanted.jobs))


EVERYWHERE: Final = Reach(None, None)
"""The jobs of all products and envs."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. ``name`` is what transitions and events remember as their actor."""

    name: str
    scopes: frozenset[Scope]
    reach: Reach
    credential: str = "anonymous"
    """What tells one key or token from another; budgets are kept by it."""
    origin: Origin = UNKNOWN
    """From where and by what they ask: events remember it beside the name."""

    def may(self, scope: Scope) -> bool:
        """Whether the principal has this scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def allowed(self, actions: Iterable[Action]) -> list[Action]:
        """Those of the actions that the principal may take."""
        return [action for action in actions if self.may(SCOPE_OF.get(action, Scope.JOBS_CONTROL))]


ANYBODY: Final = Principal("anonymous", frozenset(Scope), EVERYWHERE)
"""Whoever reaches a gateway that asks nobody who they are."""


def shortened(error: JobError) -> str:
    """An error for those who may not read payloads: no more than its code, since its message may quote the input."""
    return f"{error.code}: …"


def check_reach(principal: Principal, product: str | None, env: str | None, scope: Scope) -> None:
    """Raise :class:`Forbidden` for a product and env, None for all of them, that the principal does not reach."""
    if not principal.reach.includes(product, env):
        place = f"{_quoted(product, 'products')} and {_quoted(env, 'envs')}"
        raise Forbidden(scope, f"the scope {scope} is not given for {place}")


class Forbidden(JobgateError):
    """The caller lacks a scope, or has it for other products and envs only; nothing was done."""

    def __init__(self, scope: Scope, detail: str = "") -> None:
        self.scope = scope
        super().__init__(detail or f"this needs the scope {scope}")


def _includes(reached: frozenset[str] | None, value: str | None) -> bool:
    return reached is None or value in reached


def _quoted(name: str | None, all_of_them: str) -> str:
    return f"all {all_of_them}" if name is None else repr(name[:100])


def _narrowed(reached: frozenset[str] | None, wanted: Iterable[str] | None) -> tuple[str, ...] | None:
    if reached is None:
        return None if wanted is None else tuple(wanted)
    return tuple(sorted(reached)) if wanted is None else tuple(value for value in wanted if value in reached)
