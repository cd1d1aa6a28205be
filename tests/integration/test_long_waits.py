"""Calls that MongoDB answers late, and those beside them that it answers at once."""

import asyncio
import os

from gateway.devstack import Servers
from storage.client import close_client, open_client

MOTORS_OWN = 5 * (os.cpu_count() or 1)
"""Threads that motor would have, had nobody asked for more."""


async def test_as_many_long_waits_as_would_hold_all_threads_of_motor_hold_up_nobody(servers: Servers) -> None:
    client = open_client(f"{servers.mongodb_url}&maxPoolSize=0")
    hello = await client.admin.command("hello")
    # Answered once the topology changes, or else this late: much later than anything that only waits for a thread.
    late = {"hello": 1, "topologyVersion": hello["topologyVersion"], "maxAwaitTimeMS": 6_000}
    waits = {asyncio.ensure_future(client.admin.command(late)) for _ in range(MOTORS_OWN)}
    ping = asyncio.ensure_future(client.admin.command("ping"))
    first, _ = await asyncio.wait({*waits, ping}, return_when=asyncio.FIRST_COMPLETED)
    assert first == {ping}
    await asyncio.wait(waits)
    await close_client(client)
