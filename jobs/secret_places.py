"""Which parts of an input are secret: those that the task's JSON Schema says are ``writeOnly``, as passwords are in OpenAPI.

Whether a schema that can apply to a part does apply to it, of alternatives and conditions, is not asked: rather too much is
secret than too little. Names of properties are never secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from referencing import Registry, Specification
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT7, DRAFT201909, DRAFT202012, UnknownDialect, specification_with

from jobs.json_values import JsonValue

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
"""What a schema is written in that does not say so."""

Place: TypeAlias = tuple[str, ...]
"""Names of properties and numbers of items, from the top of an input on."""

_MARK: Final = "writeOnly"
_KNOW_THE_MARK: Final = (DRAFT7, DRAFT201909, DRAFT202012)

# Subschemas of the very value that the schema is about …
_ALTERNATIVES: Final = ("allOf", "anyOf", "oneOf")
_CONDITIONS: Final = ("if", "then", "else", "not")
_DEPENDENCIES: Final = ("dependentSchemas", "dependencies")
# … of its properties, and of its items.
_OTHER_PROPERTIES: Final = ("additionalProperties", "unevaluatedProperties")
_ITEMS: Final = ("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains")


class _Part(NamedTuple):
    """A schema within a schema. ``resolver`` knows what it refers to."""

    schema: Mapping[str, Any]
    resolver: Any
    specification: Specification[Any]


class _Marked(NamedTuple):
    """A schema with marks. ``problem``: why they cannot be heeded; None when they can."""

    root: _Part
    problem: str | None


def has_secrets(text: str) -> bool:
    """Whether a schema, as JSON text, marks anything as secret."""
    return _marked(text) is not None


def secrets_problem(text: str) -> str | None:
    """Why what a schema, as JSON text, marks as secret could not be kept so; None when it can be."""
    marked = _marked(text)
    return None if marked is None else marked.problem


def secret_places(text: str, value: JsonValue) -> Iterator[Place]:
    """Where ``value`` is secret by a schema that has no :func:`secrets_problem`. Null is no secret: nothing is said there.

    They are looked for as they are asked for: of a large input, no more than the caller has a use for.
    """
    marked = _marked(text)
    if marked is not None:
        yield from _places(_all_in_place([marked.root]), value, ())


def _places(parts: Sequence[_Part], value: JsonValue, place: Place) -> Iterator[Place]:
    """``parts`` are all schemas that can apply to the value."""
    if value is not None and any(map(_is_marked, parts)):
        yield place
    elif isinstance(value, dict):
        for name, child in value.items():
            yield from _places(_all_in_place(_of_property(parts, name)), child, (*place, name))
    elif isinstance(value, list):
        # The same for each of them, of which there may be a hundred thousand.
        of_items = _all_in_place(item for part in parts for item in _subschemas(part, _ITEMS))
        are_marked = any(map(_is_marked, of_items))
        for number, child in enumerate(value):
            if are_marked or isinstance(child, dict | list):
                yield from _places(of_items, child, (*place, str(number)))


@lru_cache(maxsize=256)
def _marked(text: str) -> _Marked | None:
    root = _root(json.loads(text))
    try:
        reached = _reached(root)
    except Unresolvable:
        # What lies behind it is not seen: a schema that so much as names the mark is not trusted to have none there.
        return _Marked(root, "refers to what is not in it") if f'"{_MARK}"' in text else None
    # References can lead to where the dialect knows of no schemas, such as the components of an OpenAPI document.
    parts = _everywhere([root, *reached.values()])
    return _Marked(root, _problem(root, parts, reached)) if any(map(_is_marked, parts)) else None


def _root(schema: Mapping[str, Any]) -> _Part:
    try:
        specification: Specification[Any] = specification_with(schema.get("$schema", DIALECT))
    except UnknownDialect:
        specification = DRAFT202012
    resolver = Registry().resolver_with_root(specification.create_resource(schema))
    return _Part(schema, resolver, specification)


def _problem(root: _Part, parts: Sequence[_Part], reached: Mapping[int, _Part]) -> str | None:
    if root.specification not in _KNOW_THE_MARK:
        return f"marks something as {_MARK}, which its dialect does not know: take draft 7 or a later one"
    if any("$dynamicRef" in part.schema or "$recursiveRef" in part.schema for part in parts):
        return f"has both {_MARK} and $dynamicRef or $recursiveRef, so that it could not be told what is secret"
    if any(map(_is_marked, _all_in_place([root]))):
        return f"has {_MARK} at the top: mark the parts of the input that are secret, not the whole"
    if any(_is_marked(part) and id(part.schema) not in reached for part in parts):
        return (
            f"has {_MARK} where it is about no part of an input: for names, or in a definition that nothing refers to"
        )
    return None


def _is_marked(part: _Part) -> bool:
    # Dialects differ in whether they check the value: what is not plainly false is meant.
    return part.schema.get(_MARK, False) is not False


def _everywhere(parts: Iterable[_Part]) -> list[_Part]:
    """These schemas and all within them, each once, whatever they are about."""
    return _with_all(parts, _all_within)


def _all_within(part: _Part) -> Iterator[_Part]:
    resources = part.specification.create_resource(part.schema).subresources()
    return _within(part, *(resource.contents for resource in resources))


def _with_all(parts: Iterable[_Part], following: Callable[[_Part], Iterable[_Part]]) -> list[_Part]:
    """These schemas, those that follow them, and so on; each once, however they refer to one another."""
    found: dict[int, _Part] = {}
    pending = list(parts)
    while pending:
        part = pending.pop()
        if id(part.schema) not in found:
            found[id(part.schema)] = part
            pending.extend(following(part))
    return list(found.values())


def _reached(root: _Part) -> Mapping[int, _Part]:
    """All schemas that are about some part of the input, by what tells them apart."""
    reached: dict[int, _Part] = {}
    pending = [root]
    while pending:
        new = [part for part in _all_in_place(pending) if id(part.schema) not in reached]
        reached |= {id(part.schema): part for part in new}
        pending = [child for part in new for child in _of_children(part)]
    return reached


def _of_children(part: _Part) -> Iterator[_Part]:
    for keyword in ("properties", "patternProperties"):
        yield from _within(part, *_by_name(part, keyword).values())
    yield from _subschemas(part, (*_OTHER_PROPERTIES, *_ITEMS))


def _all_in_place(parts: Iterable[_Part]) -> list[_Part]:
    """These schemas and all that can apply to the same value with them."""
    return _with_all(parts, _in_place)


def _in_place(part: _Part) -> Iterator[_Part]:
    yield from _subschemas(part, (*_ALTERNATIVES, *_CONDITIONS))
    for keyword in _DEPENDENCIES:
        yield from _within(part, *_by_name(part, keyword).values())
    if "$ref" in part.schema:
        resolved = part.resolver.lookup(part.schema["$ref"])
        if isinstance(resolved.contents, Mapping):
            yield _Part(resolved.contents, resolved.resolver, part.specification)


def _of_property(parts: Iterable[_Part], name: str) -> Iterator[_Part]:
    for part in parts:
        properties, patterns = _by_name(part, "properties"), _by_name(part, "patternProperties")
        matching = [schema for pattern, schema in patterns.items() if re.search(pattern, name)]
        yield from _within(part, *([properties[name]] if name in properties else []), *matching)
        if name not in properties and not matching:
            yield from _subschemas(part, _OTHER_PROPERTIES)


def _by_name(part: _Part, keyword: str) -> Mapping[str, Any]:
    there = part.schema.get(keyword)
    # A keyword that the dialect does not know may hold anything.
    return there if isinstance(there, Mapping) else {}


def _subschemas(part: _Part, keywords: Iterable[str]) -> Iterator[_Part]:
    """What stands at the keywords: a schema, or a list of schemas."""
    for keyword in keywords:
        there = part.schema.get(keyword)
        yield from _within(part, *(there if isinstance(there, list) else [there]))


def _within(part: _Part, *schemas: Any) -> Iterator[_Part]:
    # What else may stand there, true, false and lists of names, marks nothing.
    for schema in schemas:
        if isinstance(schema, Mapping):
            resource = part.specification.create_resource(schema)
            yield _Part(schema, part.resolver.in_subresource(resource), part.specification)
