"""Delivering: events are planned for the webhooks that want them, and sent until they are taken or given up."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from random import random
from typing import Final

from jobs.addresses import AddressRefused, BadUrl, parse_url
from jobs.errors import StoreUnavailable
from jobs.standard_webhooks import signed_headers
from jobs.webhooks import Delivery, DeliveryTerms, Try, Verdict, judge
from storage.clock import DatabaseClock
from storage.deliveries import Claimed, Deliveries, Room, switched_off
from storage.delivery_plan import DeliveryPlan
from storage.leases import Lease
from storage.sealing import CannotOpen
from storage.signals import Signals, Topic
from storage.webhooks import Webhooks
from worker.guarded_http import Answer, ConnectionLost, GuardedHttp, Request, TimedOut, Unreachable

logger = logging.getLogger("jobgate.webhooks")

LEASE: Final = timedelta(seconds=6)
_RENEW_EVERY: Final = LEASE.total_seconds() / 3
_PAUSE: Final = 1.0
_LEAST_PAUSE: Final = 0.05
_HOLD_FACTOR: Final = 3
_LOOK_AT: Final = 32
_AT_ONCE: Final = 64
"""Attempts under way in one process."""

_TO_ONE: Final = 8
"""Attempts under way to one webhook: one that answers slowly must not hold up the others."""

_UNTIL_THERE_IS_A_KEY: Final = timedelta(minutes=1)
_LEAVE_WITHIN: Final = 5.0
_LONGEST_ERROR: Final = 200


class Planner:
    """One candidate for planning deliveries from the log. ``wanted`` tells whether this process should at the moment."""

    def __init__(
        self,
        plan: DeliveryPlan,
        lease: Lease,
        signals: Signals,
        clock: DatabaseClock,
        wanted: Callable[[], Awaitable[bool]],
    ) -> None:
        self._plan = plan
        self._lease = lease
        self._signals = signals
        self._clock = clock
        self._wanted = wanted
        self._leads_until = 0.0
        self._rest_until = 0.0

    async def run_once(self) -> float:
        """Plan what has happened, if this process holds the lease; answer the seconds until the next look."""
        rest = self._rest_until - time.monotonic()
        if rest > 0:
            return rest
        if not await self._leads():
            return _PAUSE
        planned = await self._plan.extend(self._clock.now())
        if planned is None:
            # Most installations have no webhook: their events must not cost a look each.
            self._rest_until = time.monotonic() + _PAUSE
            return _PAUSE
        count, more = planned
        if count:
            self._signals.wake(Topic.DELIVERIES)
        return 0.0 if more else _PAUSE

    async def stop(self) -> None:
        """Let another process take over at once."""
        if self._leads_until:
            self._leads_until = 0.0
            await self._lease.release()

    async def _leads(self) -> bool:
        now = time.monotonic()
        if now < self._leads_until:
            return True
        if not await self._wanted():
            await self.stop()
            return False
        self._leads_until = now + _RENEW_EVERY if await self._lease.acquire() else 0.0
        return bool(self._leads_until)


class Deliverer:
    """Attempts deliveries that are due. Any number of processes may do so beside each other."""

    def __init__(
        self,
        deliveries: Deliveries,
        webhooks: Webhooks,
        http: GuardedHttp,
        signals: Signals,
        clock: DatabaseClock,
        wanted: Callable[[], Awaitable[bool]],
        terms: DeliveryTerms,
    ) -> None:
        self._deliveries = deliveries
        self._webhooks = webhooks
        self._http = http
        self._signals = signals
        self._clock = clock
        self._wanted = wanted
        self._terms = terms
        self._under_way: dict[asyncio.Task[None], Claimed] = {}
        self._leaving = asyncio.Event()

    async def run_once(self) -> float:
        """Begin what is due and there is room for; answer the seconds until the next look."""
        left = _AT_ONCE - len(self._under_way)
        if self._leaving.is_set() or left <= 0 or not await self._wanted():
            return _PAUSE
        # An attempt takes its time, and what it leads to has to be written.
        hold = _HOLD_FACTOR * self._terms.timeout
        room = Room(_TO_ONE, Counter(claimed.delivery.webhook_id for claimed in self._under_way.values()))
        claims = await self._deliveries.claim(min(left, _LOOK_AT), room, secrets.token_hex(8), self._clock.now(), hold)
        if self._leaving.is_set():
            # Since it was asked above: who lets attempts end did not know of these.
            await self._give_back(claims.claimed)
            return _PAUSE
        for one in claims.claimed:
            task = asyncio.create_task(self._attempt(one), name=f"delivery {one.delivery.id}")
            self._under_way[task] = one
            task.add_done_callback(self._conclude)
        return 0.0 if claims.claimed or claims.moved else await self._pause(room)

    async def _pause(self, room: Room) -> float:
        due = await self._deliveries.next_due(room)
        wait = _PAUSE if due is None else (due - self._clock.now()).total_seconds()
        # One that is due by now was not to be had a moment ago: another process is at it, or an earlier one of its job.
        return min(max(wait, _LEAST_PAUSE), _PAUSE)

    async def stop(self) -> None:
        """Let attempts end, for a moment, and give back the others."""
        self._leaving.set()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_LEAVE_WITHIN)
        left = dict(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._give_back(left.values())

    async def _give_back(self, left: Iterable[Claimed]) -> None:
        with suppress(StoreUnavailable):  # then they are attempted once their claims are over
            for claimed in left:
                await self._deliveries.give_back(claimed, self._clock.now())

    def _conclude(self, task: asyncio.Task[None]) -> None:
        claimed = self._under_way.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.WARNING if isinstance(error, StoreUnavailable) else logging.ERROR
            # It is made once more, when its claim is over.
            logger.log(level, "delivery %s: %s", claimed.delivery.id, error, exc_info=level == logging.ERROR and error)
        self._signals.wake(Topic.DELIVERIES)

    async def _attempt(self, claimed: Claimed) -> None:
        delivery = claimed.delivery
        now = self._clock.now()
        try:
            signed_with = await self._webhooks.secrets_of(delivery.webhook_id, now)
        except CannotOpen as error:
            # No fault of the receiver: whoever runs the installation has taken a key away too early, and can put it back.
            logger.error("delivery %s waits: the secret of its webhook cannot be opened: %s", delivery.id, error)
            await self._deliveries.give_back(claimed, now + _UNTIL_THERE_IS_A_KEY)
            return
        if not signed_with:
            # It was deleted a moment ago: whoever claims next finds that out, and removes all that was for it.
            await self._deliveries.give_back(claimed, now)
            return
        # The receiver compares the time in the headers with its own clock: that of the world, not the database's.
        content = claimed.body.encode()
        headers = signed_headers(delivery.id, datetime.now(UTC), content, signed_with)
        await self._note(claimed, await self._send(claimed.target.url, headers, content, now))

    async def _send(self, to: str, headers: Mapping[str, str], content: bytes, now: datetime) -> Try:
        began = time.monotonic()
        try:
            url = parse_url(to)
            sent = {"content-type": "application/json", "user-agent": "jobgate", **headers}
            answer = await self._http.send(Request("POST", url, sent, content), self._terms.timeout)
            return Try(now, answer.duration, answer.status, retry_after=_retry_after(answer, datetime.now(UTC)))
        except (AddressRefused, BadUrl, ConnectionLost, TimedOut, Unreachable) as error:
            return Try(now, timedelta(seconds=time.monotonic() - began), error=str(error)[:_LONGEST_ERROR])
        except Exception as error:  # a defect has to spend attempts, or it would hold up what waits behind for ever
            logger.exception("an attempt at delivery %s", headers["webhook-id"])
            return Try(now, timedelta(seconds=time.monotonic() - began), error=type(error).__name__)

    async def _note(self, claimed: Claimed, last: Try) -> None:
        delivery = claimed.delivery
        if last.succeeded:
            await self._conclude_attempt(claimed, last, self._judge(delivery, last, None))
            await self._webhooks.note_success(delivery.webhook_id)
            return
        failing_since = await self._webhooks.note_failure(delivery.webhook_id, claimed.target.generation)
        verdict = self._judge(delivery, last, failing_since)
        # Before the attempt counts: whoever is killed in between has left a delivery that is looked at once more.
        if verdict.disables and not await self._switch_off(claimed, verdict):
            verdict = self._judge(delivery, last, None)
        await self._conclude_attempt(claimed, last, verdict)

    def _judge(self, delivery: Delivery, last: Try, failing_since: datetime | None) -> Verdict:
        # Chance spreads retries out; nothing secret hangs on it.
        draw = random()  # noqa: S311
        return judge(delivery.tries, last, failing_since, draw=draw, retries=self._terms.retries)

    async def _switch_off(self, claimed: Claimed, verdict: Verdict) -> bool:
        """Whether that was done: not to a webhook that was set again, or has taken a message, meanwhile."""
        webhook_id, why = claimed.delivery.webhook_id, verdict.disables or ""
        off_since = await self._webhooks.disable(webhook_id, claimed.target.generation, why, verdict.failing_since)
        if off_since is None:
            return False
        logger.warning("webhook %s is switched off: %s", webhook_id, why)
        await self._deliveries.bury(webhook_id, switched_off(why), off_since)
        return True

    async def _conclude_attempt(self, claimed: Claimed, last: Try, verdict: Verdict) -> None:
        if not await self._deliveries.conclude(claimed, last, verdict):
            logger.info("delivery %s was given to another process: what came of it is not noted", claimed.delivery.id)


def _retry_after(answer: Answer, now: datetime) -> timedelta | None:
    """What a receiver asks for, in seconds or as a date; None when that makes no sense."""
    given = answer.headers.get("retry-after", "")
    if given.isascii() and given.isdigit():
        return timedelta(seconds=min(int(given[:9]), 86_400))
    try:
        return max(parsedate_to_datetime(given) - now, timedelta(0)) if given else None
    except (TypeError, ValueError, OverflowError):
        return None
