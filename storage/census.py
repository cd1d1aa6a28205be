"""A look at an installation from outside, for ``jobgate doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from jobs.lifecycle import JobStatus
from storage.client import Database
from storage.errors import mongodb_errors
from storage.indexes import INDEXES
from storage.outbox import oldest_untold
from storage.registry import WORKER_ALIVE

COUNT_BOUND: Final = 10_000


@dataclass(frozen=True, slots=True)
class Census:
    """What there is."""

    version: str
    workers: int
    """Workers that were heard of lately."""
    waiting: int
    """Jobs that are queued, counted up to ``COUNT_BOUND``."""
    oldest_untold: timedelta
    """The age of the oldest event that has not reached the log; zero when all have."""
    missing_indexes: list[str]


async def take_census(database: Database) -> Census:
    """Look at everything. Raises ``StoreUnavailable``."""
    with mongodb_errors():
        hello = await database.command("hello", codec_options=database.codec_options)
        build = await database.command("buildInfo")
        now = hello["localTime"]
        lately = now - WORKER_ALIVE
        untold = await oldest_untold(database["jobs"])
        return Census(
            version=build["version"],
            workers=await database["workers"].count_documents({"heartbeat_at": {"$gt": lately}}),
            waiting=await database["jobs"].count_documents({"status": JobStatus.QUEUED.value}, limit=COUNT_BOUND),
            oldest_untold=timedelta(0) if untold is None else max(timedelta(0), now - untold),
            missing_indexes=await _missing_indexes(database),
        )


async def _missing_indexes(database: Database) -> list[str]:
    missing: list[str] = []
    for collection, models in INDEXES.items():
        there = await database[collection].index_information()
        names = [model.document["name"] for model in models]
        missing += [f"{collection}.{name}" for name in names if name not in there]
    return missing
