"""Arguments that several fields share, with their descriptions."""

from __future__ import annotations

from typing import Annotated

import strawberry

JobId = Annotated[strawberry.ID, strawberry.argument(description="The id of a job.")]
First = Annotated[int, strawberry.argument(description="How many, 200 at most.")]
OptionalFirst = Annotated[int | None, strawberry.argument(description="How many from the front, 200 at most.")]
OptionalLast = Annotated[int | None, strawberry.argument(description="How many from the end, 200 at most.")]
After = Annotated[str | None, strawberry.argument(description="A cursor: only what comes behind it.")]
Before = Annotated[str | None, strawberry.argument(description="A cursor: only what comes before it.")]
Reason = Annotated[
    str | None, strawberry.argument(description="Why, for whoever looks at the job later: 1000 characters.")
]
OptionalOffset = Annotated[
    int | None,
    strawberry.argument(
        description="How many to leave out at the front, 10 000 at most: for tables with page numbers."
    ),
]
RunCount = Annotated[int, strawberry.argument(description="How many instants, 100 at most.")]
WebhookId = Annotated[strawberry.ID, strawberry.argument(description="The id of a webhook.")]
DeliveryId = Annotated[strawberry.ID, strawberry.argument(description="The id of a delivery.")]
BulkId = Annotated[strawberry.ID, strawberry.argument(description="The id of a bulk operation.")]
DryRun = Annotated[bool, strawberry.argument(description="Count the jobs that would be changed, and change none.")]
