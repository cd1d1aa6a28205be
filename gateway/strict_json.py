"""Reading JSON from strangers: what is not JSON by the letter, or could not be passed on, is refused."""

from __future__ import annotations

import json
import re
from typing import Final

_HALF_CHARACTER: Final = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(data: str | bytes) -> object:
    """Raises ``JSONDecodeError`` for all that is not JSON in UTF-8, is too deep, or holds a number of too many digits."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        parsed: object = json.loads(text, parse_constant=_refuse_constant)
        if _HALF_CHARACTER.search(text):
            # One without its other half is no text: neither MongoDB nor an answer could carry it.
            json.dumps(parsed, ensure_ascii=False).encode()
        return parsed
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(str(error), "", 0) from None


def _refuse_constant(name: str) -> object:
    """NaN and the infinities, which Python would read and JSON does not have."""
    raise ValueError(f"{name} is not JSON")
