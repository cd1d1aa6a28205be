"""What a task declares its input to be, as a JSON Schema: given as one, or as a type that pydantic or msgspec can describe."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from jobs.input_schemas import BadSchema, schema_text

InputType = Any
"""A JSON Schema, a pydantic model, a msgspec Struct, a dataclass, or whatever else pydantic knows a schema of."""


def declared_schema(declared: InputType) -> str:
    """The schema as JSON text. Raises :class:`BadSchema`."""
    if isinstance(declared, Mapping):
        return schema_text(declared)
    try:
        schema = _of_struct(declared) or TypeAdapter(declared).json_schema()
    # What pydantic raises for a type it does not know, or one without a schema; what msgspec raises is a TypeError.
    except (PydanticUserError, TypeError, NameError) as error:
        raise BadSchema(f"{declared!r} has no JSON Schema: {str(error).splitlines()[0]}") from None
    return schema_text(schema)


def _of_struct(declared: InputType) -> Any:
    """What msgspec says of its own types. It need not be installed: whoever has such a type has imported it."""
    msgspec = sys.modules.get("msgspec")
    if msgspec is None or not isinstance(declared, type) or not issubclass(declared, msgspec.Struct):
        return None
    return msgspec.json.schema(declared)
