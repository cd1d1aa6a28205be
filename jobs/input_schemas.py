"""What tasks say about their input: a JSON Schema, checked when it is declared, and applied to every dispatch.

Nothing is ever fetched: a schema refers to nothing outside itself. Schemas come from the installation's own workers and are
trusted as their code is; a regular expression in one can be as slow as in any program.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import extend, validator_for
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from jobs.errors import Issue
from jobs.json_values import JsonValue, NotJson, check_json
from jobs.secret_places import DIALECT, has_secrets, secrets_problem

MAX_ISSUES: Final = 20
"""So many violations of one input are told."""

MAX_SCHEMA_BYTES: Final = 64 * 1024
"""Size of a schema written as compact UTF-8 JSON."""

_MAX_MESSAGE: Final = 300
_MAX_KEY: Final = 200
_QUOTES_NO_VALUE: Final = ("required", "additionalProperties")
"""Keywords whose messages name properties, and do not show what stands there."""


class BadSchema(ValueError):
    """What was declared is not a schema that can be applied; the message says why."""


def schema_text(schema: Mapping[str, JsonValue]) -> str:
    """A schema as JSON text.

    Raises :class:`BadSchema` unless it is valid, of a known dialect, complete in itself, and what it marks as secret can be
    kept so.
    """
    try:
        check_json(schema)
        text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
        if len(text.encode()) > MAX_SCHEMA_BYTES:
            raise BadSchema(f"more than {MAX_SCHEMA_BYTES} bytes of JSON")
        _class_of(schema).check_schema(schema)
        _check_references(schema)
    except NotJson as error:
        raise BadSchema(f"not JSON: {error}") from None
    except SchemaError as error:
        raise BadSchema(f"{error.json_path}: {_bounded(error.message)}") from None
    problem = secrets_problem(text)
    if problem is not None:
        raise BadSchema(problem)
    return text


def schema_issues(text: str, value: JsonValue, path: tuple[str, ...]) -> Iterator[Issue]:
    """Where ``value``, which stands at ``path`` in the caller's arguments, violates a schema: the first 20 places.

    Nothing of the value is quoted where the schema marks anything as secret: what is in the wrong place may be the secret.
    """
    explain = _explained_without_values if has_secrets(text) else _explained
    try:
        for error in islice(_validator(text).iter_errors(value), MAX_ISSUES):
            # Of alternatives none of which is met, the one that the value comes closest to tells more.
            closest = best_match([error])
            keys = (str(key)[:_MAX_KEY] for key in closest.absolute_path)
            yield Issue((*path, *keys), explain(closest))
    # The latter only where something else than a worker of this version has stored the schema.
    except (RecursionError, Unresolvable):
        yield Issue(path, "cannot be checked: the task's schema refers to itself without end, or to what is not in it")


def _explained(error: Any) -> str:
    return _forbidden(error) or _bounded(error.message)


def _forbidden(error: Any) -> str | None:
    """What the schema itself calls a value that must not be there, and may be a secret; None where it has no name for it."""
    unwanted = error.validator_value
    if error.validator == "not" and isinstance(unwanted, Mapping) and "title" in unwanted:
        return _bounded(f"must not be {unwanted['title']}")
    return None


def _explained_without_values(error: Any) -> str:
    if error.validator in _QUOTES_NO_VALUE:
        return _bounded(error.message)
    if error.validator is None:
        return "is not allowed by the task's schema"
    forbidden = _forbidden(error)
    if forbidden is not None:
        return forbidden
    wanted = error.validator_value
    # What the schema itself says is no secret.
    said = f" {json.dumps(wanted)}" if isinstance(wanted, str | int | float) else ""
    return _bounded(f"does not meet {error.validator}{said} of the task's schema")


def _bounded(message: str) -> str:
    """Messages quote the value, however large it is, and then say what is wrong."""
    half = _MAX_MESSAGE // 2
    return message if len(message) <= _MAX_MESSAGE else f"{message[:half]} … {message[-half:]}"


@lru_cache(maxsize=256)
def _validator(text: str) -> Any:
    schema = json.loads(text)
    validator = extend(_class_of(schema), {"uniqueItems": _unique_items})
    # Where the root is referred to, its dialect would choose a class that is not extended.
    schema.pop("$schema", None)
    return validator(schema, registry=Registry())


def _class_of(schema: Mapping[str, JsonValue]) -> Any:
    dialect = schema.get("$schema", DIALECT)
    known = validator_for({"$schema": dialect}, default=None) if isinstance(dialect, str) else None
    if known is None:
        raise BadSchema(f"$schema: {_bounded(repr(dialect))} is not a known dialect of JSON Schema")
    return known


def _check_references(schema: Mapping[str, JsonValue]) -> None:
    resource = specification_with(schema.get("$schema", DIALECT)).create_resource(schema)
    _follow(resource, Registry().resolver_with_root(resource))


def _follow(resource: Resource[Any], resolver: Any) -> None:
    if isinstance(resource.contents, Mapping):
        for keyword in ("$ref", "$dynamicRef"):
            if keyword in resource.contents:
                _look_up(resource.contents[keyword], resolver)
    for part in resource.subresources():
        _follow(part, resolver.in_subresource(part))


def _look_up(reference: str, resolver: Any) -> None:
    try:
        resolver.lookup(reference)
    except Unresolvable:
        shown = _bounded(repr(reference))
        raise BadSchema(f"{shown} refers to nothing within the schema, and nothing else is ever fetched") from None


def _unique_items(validator: Any, wanted: bool, items: JsonValue, schema: object) -> Iterator[ValidationError]:
    """As the library's own, but in a time that grows with the number of items, not with its square."""
    if wanted and validator.is_type(items, "array") and len(set(_canonical(items))) < len(items):
        yield ValidationError("has the same item more than once")


def _canonical(items: Iterable[JsonValue]) -> Iterator[str]:
    return (json.dumps(_plain(item), sort_keys=True) for item in items)


def _plain(item: JsonValue) -> JsonValue:
    if isinstance(item, dict):
        return {key: _plain(value) for key, value in item.items()}
    if isinstance(item, list):
        return [_plain(value) for value in item]
    return int(item) if isinstance(item, float) and item.is_integer() else item
