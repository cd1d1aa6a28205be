"""What is due is found by index, however much waits for others."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from storage.client import Database
from storage.deliveries import Deliveries, Room
from storage.sealing import NO_KEYS
from storage.webhooks import Webhooks
from tests.factories import NOW
from tests.integration.test_indexes import Explained


def delivery(number: int) -> dict[str, Any]:
    full = number < 3000
    place = {"webhook_id": "wh_full" if full else "wh_other", "chain": f"chain_{number}", "number": number}
    told = {"event": "job.failed", "job_id": f"job_{number}", "body": "{}", "tries": 0, "attempts": []}
    more = {"token": None, "parked": False, "reason": None, "created_at": NOW, "completed_at": None}
    due_at = NOW + timedelta(milliseconds=number)
    return {**place, **told, **more, "_id": f"dlv_{number}", "status": "pending", "due_at": due_at}


async def test_deliveries_to_a_webhook_without_room_are_passed_over_unread(database: Database) -> None:
    await database["deliveries"].insert_many([delivery(number) for number in range(3100)])
    await database.command("profile", 2)
    deliveries = Deliveries(database, Webhooks(database, NO_KEYS))
    room = Room(8, Counter(wh_full=8))
    assert await deliveries.next_due(room) == NOW + timedelta(milliseconds=3000)
    at = NOW + timedelta(minutes=1)
    assert (await deliveries.claim(32, room, "t1", at, timedelta(seconds=45))).moved
    await database.command("profile", 0)
    # The other webhook is not there: all that was planned for it is removed.
    await Explained(database).check(most=100, collection="deliveries")
