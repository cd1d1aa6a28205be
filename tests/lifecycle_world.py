"""What is stored of some jobs beside what their models say of them, and how time passes there.

What is due and which leases are over is decided by the database's clock, which no test can set. Time is made to pass instead
by putting back every stored instant by whole hours: for jobs that recur once an hour that is the same as waiting.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import ReplaceOne

from storage.client import Database
from storage.documents import Document, job_from_document
from tests.lifecycle_model import Model
from tests.lifecycle_parts import Clock, Run
from tests.lifecycle_tables import CALLERS, first_forbidden

HALF_HOUR: Final = timedelta(minutes=30)


def aged(value: Any, by: timedelta) -> Any:
    """The same with every instant in it put back."""
    match value:
        case datetime():
            return value - by
        case dict():
            return {key: aged(one, by) for key, one in value.items()}
        case list():
            return [aged(one, by) for one in value]
        case _:
            return value


class World:
    """Jobs: their models, and what is stored of them."""

    def __init__(self, database: Database, began_at: datetime) -> None:
        self._jobs, self._events, self._executions = (database[name] for name in ("jobs", "events", "executions"))
        self._origin = began_at
        self._revisions: dict[str, int] = {}
        self._passed_over: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self._seen: dict[str, int] = defaultdict(int)
        self.clock = Clock()
        self.models: dict[str, Model] = {}
        self.documents: dict[str, Document] = {}

    async def clear(self) -> None:
        """Remove the jobs, so that no other world finds them. The log goes on."""
        for collection in (self._jobs, self._executions):
            await collection.delete_many({})

    def at(self, half_hours: int) -> datetime:
        """An instant of the models as one of those stored."""
        return self._origin + half_hours * HALF_HOUR

    async def pass_time(self, hours: int) -> None:
        by = hours * 2 * HALF_HOUR
        for collection in (self._jobs, self._executions):
            # The oldest first: no run is put where another one still is.
            stored = await collection.find().sort("scheduled_for").to_list(None)
            writes = [ReplaceOne({"_id": one["_id"]}, aged(one, by)) for one in stored]
            if writes:
                await collection.bulk_write(writes, ordered=True)
        self.documents = aged(self.documents, by)
        self._origin -= by
        self.clock.now += hours * 2

    async def check(self) -> None:
        """Everything is as the models have it, and what no model has moved is what it was."""
        self.documents, before = {one["_id"]: one async for one in self._jobs.find()}, self.documents
        log: dict[str, list[Document]] = defaultdict(list)
        async for event in self._events.find({"job_id": {"$in": list(self.models)}}).sort("_id"):
            log[event["job_id"]].append(event)
        assert self.documents.keys() <= self.models.keys()
        for model in self.models.values():
            document = self.documents.get(model.id)
            outbox = [] if document is None else document.pop("outbox")
            events = [*log[model.id], *outbox]
            check_told(model, events)
            self._check_passed_over(model, events)
            if document is None:
                assert model.gone, f"{model.id} is not there"
            elif self._revisions.get(model.id) == model.revision:
                assert document == before[model.id], f"{model.id} was to stay as it is"
            else:
                self._check_changed(model, document)

    def _check_changed(self, model: Model, document: Document) -> None:
        stored, expected = self._facts(document), facts_of(model)
        differing = {name: (stored[name], expected[name]) for name in stored if stored[name] != expected[name]}
        assert not differing, f"{model.id}, stored and expected: {differing}"
        actions = {action.value for action in job_from_document(document).allowed_actions}
        assert model.gone or actions == {operation for operation in CALLERS if model.verdict(operation) == "ok"}
        self._revisions[model.id] = model.revision

    def _check_passed_over(self, model: Model, events: list[Document]) -> None:
        """What is new to it: time is put back everywhere but in the log."""
        told = self._passed_over[model.id]
        for event in events[self._seen[model.id] :]:
            if passed := event.get("passed_over"):
                ends = (self._in_half_hours(passed[name]) for name in ("first", "last"))
                told.append((passed["cause"], passed["count"], *ends))
        self._seen[model.id] = len(events)
        assert told == model.account.passed_over, (
            f"{model.id} passed over {told[-3:]}, not {model.account.passed_over[-3:]}"
        )

    def _facts(self, document: Document) -> Document:
        """What a document says of what models know."""
        run = document["run"]
        return {
            "status": "gone" if document["deleted_at"] else document["status"],
            **{name: self._in_half_hours(document[name]) for name in _SAME},
            "run": run and {one.name: self._in_half_hours(run[one.name]) for one in fields(Run)},
            "pausing": document["status"] in ("paused", "running") and document["paused"] is not None,
        }

    def _in_half_hours(self, value: Any) -> Any:
        return round((value - self._origin) / HALF_HOUR) if isinstance(value, datetime) else value


_SAME: Final = ("next_run_at", "execution_count", "revision", "steered", "last_token")


def facts_of(model: Model) -> Document:
    return {
        "status": model.status,
        **{name: getattr(model, name) for name in _SAME},
        "run": model.run and asdict(model.run),
        "pausing": model.pausing and model.status in ("paused", "running"),
    }


def check_told(model: Model, events: list[Document]) -> None:
    """Events, wherever the relay has put them, are numbered without a gap, are those expected, and follow the table."""
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))
    told = [_told(one) for one in events]
    assert told == model.told, f"{model.id} told {told[-4:]}, not {model.told[-4:]}"
    forbidden = first_forbidden(told)
    assert forbidden is None, f"{model.id} told {told[forbidden]} after {told[:forbidden][-3:]}"
    runs = [run for one in events if (run := one.get("execution") or one.get("run"))]
    assert [(run["number"], run["status"]) for run in runs] == model.ended


def _told(event: Document) -> tuple[str, str]:
    """A job that was deleted keeps its status until it is removed."""
    name = event["type"].removeprefix("job.")
    return name, "gone" if name == "deleted" else event["status"]
