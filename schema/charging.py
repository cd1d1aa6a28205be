"""Operations that their callers pay for out of budgets."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

from strawberry.types.graphql import OperationType

from jobs.budget import Buckets, Kind, OverBudget
from schema.context import Context
from schema.document_limits import DocumentLimits, estimated
from schema.document_size import Size
from schema.faults import over_budget


class Charged(DocumentLimits):
    """Takes what an operation costs, and has it begun only if that was there; over HTTP and WebSockets alike.

    What is refused as a document costs nothing. What passes here has its price, also if it comes to nothing later.
    """

    def __init__(self, buckets: Buckets, *, suggestions: bool = True) -> None:
        super().__init__(suggestions=suggestions)
        self._buckets = buckets
        self._left: float | None = None

    async def on_validate(self) -> AsyncIterator[None]:  # type: ignore[override]  # Strawberry takes either
        """Validate the document, and charge for the operation."""
        self._check()
        if self._size is not None:
            await self._charge(self._size)
        yield

    async def _charge(self, size: Size) -> None:
        execution = self.execution_context
        context: Context = execution.context
        amounts: dict[Kind, float] = {Kind.COST: estimated(size)}
        if execution.operation_type is OperationType.MUTATION:
            amounts[Kind.MUTATIONS] = size.width
        elif execution.operation_type is OperationType.SUBSCRIPTION:
            amounts[Kind.SUBSCRIPTIONS] = 1
        try:
            left = await context.budgets.take(context.principal.credential, amounts)
        except OverBudget as error:
            left = error.left
            execution.pre_execution_errors = [over_budget(error)]
        self._left = left.get(Kind.COST)

    def get_results(self) -> dict[str, Any]:
        """As well as the cost, what is left to spend, and how much comes in per second."""
        told = super().get_results()
        if "cost" in told and self._left is not None:
            # Redis tells it but for a fraction: what is whole would be told as one less.
            told["cost"] |= {
                "remaining": math.floor(round(self._left, 2)),
                "restoreRate": self._buckets[Kind.COST].rate,
            }
        return told
