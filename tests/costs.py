"""What answers tell about what they have cost, for tests that are about something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def costless(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer without its ``extensions``, in which there is the cost alone."""
    assert list(answer.get("extensions", {"cost": 0})) == ["cost"]
    return {name: value for name, value in answer.items() if name != "extensions"}
