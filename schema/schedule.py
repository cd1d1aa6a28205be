"""Trying a schedule before anything is dispatched."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from schema.problems import InvalidInput


@strawberry.type(description="When a schedule would run.")
class SchedulePreview:
    runs: list[datetime] = strawberry.field(
        description="The first instants, as if it were dispatched now; fewer than asked for where it ends before."
    )


SchedulePreviewResult = Annotated[
    SchedulePreview | InvalidInput,
    strawberry.union("SchedulePreviewResult", description="When it would run, or what is wrong with it."),
]
