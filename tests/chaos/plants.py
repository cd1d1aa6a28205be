"""Bugs that are planted into processes of the product, one at a time, to see that the checks find them.

Each undoes one guard. They are put in by ``member``, from outside: the product has no switch for any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from pymongo.write_concern import WriteConcern

import jobs.decisions as decisions
import schema.subscription as subscription
import storage.client as client
import storage.delivery_plan as delivery_plan
import storage.job_updates as job_updates
import storage.signals as signals
import storage.steering_updates as steering_updates
import storage.transitions as transitions
from jobs.access import EVERYWHERE, Principal, Reach
from jobs.feed import JobEvent, feed_number
from jobs.filters import EventFilter
from jobs.lifecycle import Action
from jobs.origins import Origin
from resolvers.services import Services
from storage.outbox import Outbox
from storage.transitions import JobWriter
from worker.heart import Heart
from worker.sweeper import Sweeper

_BATCH: Final = 500
_HESITATION: Final = 0.03
"""Seconds between a read and the write that trusts it: what a busy process takes now and then."""


def _put(owner: Any, name: str, instead: Any) -> None:
    """Replace a part of the product, for this process."""
    setattr(owner, name, instead)


@dataclass(frozen=True, slots=True)
class Plant:
    """A bug."""

    what: str
    put_in: Callable[[], None]


def _drop_token() -> None:
    held = job_updates.held

    def held_by_anybody(finish: Any) -> dict[str, Any]:
        return {key: value for key, value in held(finish).items() if key != "run.token"}

    _put(transitions, "held", held_by_anybody)


def _acknowledge_early() -> None:
    _put(client, "WriteConcern", lambda *_, **__: WriteConcern(1, j=True))


def _stop_sweeping() -> None:
    async def run_once(_: Sweeper) -> float:
        return 1.0

    _put(Sweeper, "run_once", run_once)


def _reuse_nudge_ids() -> None:
    _put(signals, "nudge_name", lambda ref: f"{ref.job_id}:{ref.number}")


def _trust_leadership() -> None:
    _put(transitions, "unmoved", lambda job: {"_id": {"$eq": job.id}})


def _subscribe_after_reading() -> None:
    async def job_events(
        services: Services, _: Principal, wanted: EventFilter, after: str | None
    ) -> AsyncGenerator[JobEvent, None]:
        position = services.hub.position if after is None else feed_number(after)
        while position < services.hub.position:
            events = (await services.events.read(EVERYWHERE, position, _BATCH)).events
            for event in events:
                yield event
            position = events[-1].number if events else services.hub.position
        # As long as it takes to ask somebody whether the caller may listen.
        await asyncio.sleep(10 * _HESITATION)
        async with services.hub.subscribe(EVERYWHERE, wanted, services.hub.position) as subscriber:
            while True:
                yield await subscriber.next()

    _put(subscription, "job_events", job_events)


def _pause_around_queued() -> None:
    _put(steering_updates, "_RUNS", {"$in": ["$status", ["running", "queued"]]})


def _cancel_what_was_read() -> None:
    async def cancel(
        self: JobWriter,
        reach: Reach,
        job_id: str,
        *,
        actor: str | None,
        reason: str | None,
        origin: Origin | None = None,
        mark: str | None = None,
    ) -> Any:
        wanted = {"_id": {"$eq": job_id}, **steering_updates.steerable(Action.CANCEL)}
        if await self._jobs.find_one(wanted, {"_id": 1}) is None:
            return None
        await asyncio.sleep(_HESITATION)
        return await self._move({"_id": {"$eq": job_id}}, steering_updates.cancel_update(actor, reason, origin), mark)

    _put(JobWriter, "cancel", cancel)


def _beat_on_the_loop() -> None:
    beat = Heart._beat  # there is no other way in

    def beat_when_the_loop_has_time(self: Heart) -> float:
        async def on_the_loop() -> float:
            return beat(self)

        loop = self._loop
        assert loop is not None
        return asyncio.run_coroutine_threadsafe(on_the_loop(), loop).result()

    _put(Heart, "_beat", beat_when_the_loop_has_time)


def _charge_for_shutdowns() -> None:
    release = decisions._after_release  # there is no other way in

    def charged(job: Any, run: Any, reason: str, *, now: Any) -> decisions.Decision:
        return release(job, replace(run, attempt=run.attempt + 1), reason, now=now)

    _put(decisions, "_after_release", charged)


def _empty_before_logging() -> None:
    append, empty = Outbox._append, Outbox._empty  # there is no other way in

    async def append_emptied(self: Outbox, events: list[Any]) -> list[Any]:
        last = {event["job_id"]: event["seq"] for event in events}
        jobs = [{"_id": job, "outbox": [{"seq": seq}]} for job, seq in last.items()]
        await empty(self, jobs)
        await asyncio.sleep(_HESITATION)
        return await append(self, events)

    _put(Outbox, "_append", append_emptied)


def _deliver_in_any_order() -> None:
    new = delivery_plan._new  # there is no other way in

    def alone(event: Any, webhook: Any, name: Any, now: Any) -> dict[str, Any]:
        document = new(event, webhook, name, now)
        return {**document, "chain": document["_id"]}

    _put(delivery_plan, "_new", alone)


PLANTS: Final = {
    "token-dropped": Plant("the token is dropped from the filter of finishes", _drop_token),
    "w-1": Plant("writes are acknowledged by one mongod", _acknowledge_early),
    "sweeper-off": Plant("nobody expires leases", _stop_sweeping),
    "nudge-id-reused": Plant("all nudges of a run have one id", _reuse_nudge_ids),
    "leadership-trusted": Plant("promotions are not compare-and-set", _trust_leadership),
    "subscribe-after-read": Plant("subscriptions begin after the log was read", _subscribe_after_reading),
    "pause-around-queued": Plant("pausing leaves queued runs alone", _pause_around_queued),
    "cancel-reads-then-writes": Plant("cancelling is a read, then a write by id", _cancel_what_was_read),
    "heartbeat-on-the-loop": Plant("the heartbeat waits for the event loop", _beat_on_the_loop),
    "shutdown-spends-attempt": Plant("a release on shutdown costs an attempt", _charge_for_shutdowns),
    "emptied-before-logged": Plant("outboxes are emptied before the log has their events", _empty_before_logging),
    "chain-broken": Plant("a delivery does not wait for those before it", _deliver_in_any_order),
}
