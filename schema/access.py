"""Who may ask for what: each root field names the scope that it needs, and is guarded by it when the schema is put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Self

import strawberry
from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema, GraphQLUnionType, get_named_type
from strawberry.types import get_object_definition

from jobs.access import Forbidden, Principal, Scope
from schema.problems import Forbidden as ForbiddenProblem

_SCOPE: Final = "scope"


def needs(scope: Scope, description: str) -> dict[str, Any]:
    """The options of a root field that only those with this scope may ask for."""
    return {"metadata": {_SCOPE: scope}, "description": f"{description} Needs the scope {scope}."}


def for_anyone(description: str) -> dict[str, Any]:
    """The options of a root field that whoever is let in may ask for."""
    return {"metadata": {_SCOPE: None}, "description": description}


@strawberry.type(description="Who is asking, and what they may.")
class Viewer:
    name: str = strawberry.field(description="The name of the key, or the subject of the token.")
    scopes: list[str] = strawberry.field(description="What the caller may do.")
    products: list[str] | None = strawberry.field(description="The products whose jobs are visible; null: all of them.")
    envs: list[str] | None = strawberry.field(description="The envs whose jobs are visible; null: all of them.")

    @classmethod
    def from_domain(cls, principal: Principal) -> Self:
        products, envs = principal.reach.products, principal.reach.envs
        return cls(
            name=principal.name,
            scopes=[scope.value for scope in Scope if principal.may(scope)],
            products=None if products is None else sorted(products),
            envs=None if envs is None else sorted(envs),
        )


def root_scopes(roots: tuple[type, ...]) -> dict[tuple[str, str], Scope | None]:
    """The scope of each root field, by type and Python name. Raises ``TypeError`` for one that names none."""
    scopes = {}
    for root in roots:
        definition = get_object_definition(root, strict=True)
        for field in definition.fields:
            if _SCOPE not in field.metadata:
                raise TypeError(f"{definition.name}.{field.python_name} does not say which scope it needs")
            scopes[definition.name, field.python_name] = field.metadata[_SCOPE]
    return scopes


def guard(schema: GraphQLSchema, named: Callable[[str], str], scopes: dict[tuple[str, str], Scope | None]) -> None:
    """Have the root fields refuse whoever lacks their scope. ``named`` makes a GraphQL name of a Python name.

    Raises ``TypeError`` for one that cannot be guarded.
    """
    for (type_name, python_name), scope in scopes.items():
        type_ = schema.type_map[type_name]
        if not isinstance(type_, GraphQLObjectType):
            raise TypeError(f"{type_name} is no type with fields")
        if scope is not None:
            _guard_field(type_.fields[named(python_name)], scope)


def _guard_field(field: GraphQLField, scope: Scope) -> None:
    if field.subscribe is not None:
        field.subscribe = _guarded(field.subscribe, scope, _raise)
    elif field.resolve is None:
        raise TypeError("a field that nothing answers cannot be guarded")
    else:
        field.resolve = _guarded(field.resolve, scope, ForbiddenProblem.from_domain if _tells(field) else _raise)


def _guarded(resolve: Callable[..., Any], scope: Scope, refuse: Callable[[Forbidden], Any]) -> Callable[..., Any]:
    def resolve_guarded(source: Any, info: Any, **arguments: Any) -> Any:
        if not info.context.principal.may(scope):
            return refuse(Forbidden(scope))
        return resolve(source, info, **arguments)

    return resolve_guarded


def _tells(field: GraphQLField) -> bool:
    """Whether being refused is among the answers of this field; else it is an error."""
    type_ = get_named_type(field.type)
    return isinstance(type_, GraphQLUnionType) and any(member.name == "Forbidden" for member in type_.types)


def _raise(error: Forbidden) -> Any:
    raise error
