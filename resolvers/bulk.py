"""One action on all jobs that match a filter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

from jobs.access import EVERYWHERE, Principal
from jobs.audit import AuditAction
from jobs.bulk import ID_PREFIX, BulkOperation, BulkRequest, BulkStatus, check_request
from jobs.errors import InvalidInput, Issue, NotWritten, StoreUnavailable
from resolvers.audit import note
from resolvers.pursuit import Pauses, found_in_time, unknown_outcome
from resolvers.reading import check_filter
from resolvers.services import Services
from resolvers.steering import check_reason
from storage.limits import WRITE_SECONDS, Deadline
from storage.signals import CONCERNS, Topic

logger = logging.getLogger("jobgate.bulk")

AT_ONCE: Final = 1000
"""So many jobs are looked at before the caller is answered: smaller operations are complete then."""

MAX_GOING_ON: Final = 10
"""Operations whose first jobs are looked at at a time; those of more are left to the runners from the beginning."""

_LOOK_EVERY: Final = 0.25


async def begin_bulk(services: Services, principal: Principal, request: BulkRequest) -> BulkOperation:
    """Begin an operation, and answer it as it is after its first jobs; what is left goes on without the caller.

    Raises ``Forbidden``, ``InvalidInput``, ``FilterTooSlow``, ``StoreUnavailable``.
    """
    check_request(request)
    check_filter(principal, request.conditions, ("filter",))
    check_reason(request.reason)
    now, deadline = services.clock.now(), Deadline()
    operation_id = f"{ID_PREFIX}{services.new_id()}"
    try:
        operation = await services.bulk.begin(
            principal.reach, request, operation_id, actor=principal.name, now=now, origin=principal.origin
        )
    except NotWritten:
        raise
    except StoreUnavailable as error:
        found = await found_in_time(lambda: services.operations.find(principal.reach, operation_id), Deadline())
        if found is None:
            raise unknown_outcome(error, "the operation was begun") from error
        operation = found
    return await _after_first_steps(services, operation, deadline)


async def find_operation(services: Services, principal: Principal, operation_id: str) -> BulkOperation | None:
    """The operation, or None when there is none that the caller may see."""
    return await services.operations.find(principal.reach, operation_id)


async def stop_operation(services: Services, principal: Principal, operation_id: str) -> BulkOperation | None:
    """Have an operation go no further, and answer it: what it has changed stays changed, and one that is over stays as it is.

    None when there is none that the caller may see. Raises ``StoreUnavailable``.
    """
    # Stopping one that was stopped changes nothing: it is tried until there is an answer.
    deadline = Deadline()
    pauses = Pauses(deadline)
    noted = False
    while True:
        try:
            async with deadline.within(WRITE_SECONDS):
                found = await services.operations.find(principal.reach, operation_id)
                if found is None or found.status is not BulkStatus.RUNNING:
                    return found
                if not noted:
                    await note(services, principal, AuditAction.STOP_BULK_OPERATION, [operation_id])
                    noted = True
                return await services.operations.stop(principal.reach, operation_id)
        except StoreUnavailable as error:
            if not await pauses.rest():
                raise unknown_outcome(error, "the operation was stopped") from error


async def follow_operation(
    services: Services, principal: Principal, operation_id: str
) -> AsyncGenerator[BulkOperation, None]:
    """An operation as it is now, and each time it has been seen to have moved on, until it is over.

    Raises ``InvalidInput`` when there is none that the caller may see, ``StoreUnavailable``.
    """
    seen = None
    while seen is None or seen.status is BulkStatus.RUNNING:
        operation = await find_operation(services, principal, operation_id)
        if operation is None:
            raise InvalidInput([Issue(("id",), "there is no such bulk operation")])
        if operation != seen:
            yield operation
        seen = operation
        if operation.status is BulkStatus.RUNNING:
            await asyncio.sleep(_LOOK_EVERY)


async def _after_first_steps(services: Services, operation: BulkOperation, deadline: Deadline) -> BulkOperation:
    """The operation as it is after its first jobs, or as it was begun where these take too long: then they go on.

    It is stored: whatever happens from here on, it is going to be done, and its id is what the caller needs.
    """
    if len(services.going_on) >= MAX_GOING_ON:
        with suppress(StoreUnavailable):
            await _leave_to_runners(services, operation)
        return operation
    steps = asyncio.create_task(_first_steps(services, operation))
    services.going_on.add(steps)
    steps.add_done_callback(services.going_on.discard)
    steps.add_done_callback(_consume)
    # Waited for, not limited: a transaction must not be left while the driver is still at it.
    await asyncio.wait({steps}, timeout=max(deadline.left, WRITE_SECONDS))
    with suppress(StoreUnavailable):
        return steps.result() if steps.done() else operation
    return operation


def _consume(steps: asyncio.Task[BulkOperation]) -> None:
    if not steps.cancelled() and (error := steps.exception()) is not None:
        logger.warning("the first steps of an operation: %s", error)


async def _first_steps(services: Services, operation: BulkOperation) -> BulkOperation:
    while operation.status is BulkStatus.RUNNING and operation.position < AT_ONCE:
        moved = await services.bulk.advance(operation, services.clock.now())
        if moved is None:
            return await services.operations.find(EVERYWHERE, operation.id) or operation
        operation = moved
    services.signals.wake(*CONCERNS[operation.action])
    if operation.status is BulkStatus.RUNNING:
        await _leave_to_runners(services, operation)
    return operation


async def _leave_to_runners(services: Services, operation: BulkOperation) -> None:
    await services.operations.release(operation)
    services.signals.wake(Topic.OPERATIONS)
