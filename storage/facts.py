"""Events, runs and counters of the statistics ↔ documents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from pymongo import UpdateOne

from jobs.events import EventType
from jobs.lifecycle import JobStatus
from jobs.statistics import Cell, Counters, Fact, Origin, RunEnd, Standing
from jobs.times import EPOCH, to_milliseconds
from storage.documents import Document

ORIGIN: Final = ("product", "env", "namespace", "task")


def fact_from_event(event: Mapping[str, Any]) -> Fact:
    """What an event of the log has to say. One without ``before`` moves no job: it comes with another that does."""
    origin = origin_of(event)
    run = None if event.get("run") is None else run_end(event["run"])
    before = event.get("before")
    if before is None:
        return Fact(origin, run=run)
    gone = event["type"] == EventType.JOB_DELETED.value
    after = None if gone else Standing(JobStatus(event["status"]), event["retry_count"])
    was = None if before["status"] is None else Standing(JobStatus(before["status"]), before["retry_count"])
    return Fact(origin, was, after, run)


def origin_of(document: Mapping[str, Any]) -> Origin:
    return Origin(*(document[field] for field in ORIGIN))


def run_end(run: Mapping[str, Any]) -> RunEnd:
    return RunEnd(JobStatus(run["status"]), run["scheduled_for"], run["started_at"], run["completed_at"])


def cell_id(cell: Cell) -> str:
    """The id of a cell's document: as JSON, since a product may contain whatever would separate it from a task."""
    start = None if cell.start is None else to_milliseconds(cell.start - EPOCH)
    return json.dumps([cell.level, start, *_named(cell.origin).values()])


def cell_from_document(document: Mapping[str, Any]) -> Cell:
    return Cell(origin_of(document), document["level"], document["start"])


def counters_from_document(document: Mapping[str, Any]) -> Counters:
    return Counters(Counter(document.get("counts", {})), dict(document.get("longest", {})))


def increment(cell: Cell, counters: Counters) -> Document:
    """The update that adds counters to a cell."""
    update: Document = {"$setOnInsert": {"level": cell.level, "start": cell.start, **_named(cell.origin)}}
    update["$inc"] = {f"counts.{name}": by for name, by in counters.counts.items() if by}
    if counters.longest:
        update["$max"] = {f"longest.{name}": length for name, length in counters.longest.items()}
    return update


def fold_write(cell: Cell, counters: Counters, until: int, *, create: bool) -> UpdateOne:
    """The write that adds a batch of events, the last of which has the number ``until``, unless the cell has it already."""
    update = increment(cell, counters)
    update["$set"] = {"folded": until}
    return UpdateOne({"_id": cell_id(cell), "folded": {"$lt": until}}, update, upsert=create)


def _named(origin: Origin) -> dict[str, str]:
    return {field: getattr(origin, field) for field in ORIGIN}
