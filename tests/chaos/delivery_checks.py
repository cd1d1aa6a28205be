"""I11: what becomes of the events that a webhook asks for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from tests.chaos.evidence import Document, Evidence
from tests.chaos.findings import Finding, unless
from tests.chaos.receiver import PRODUCTS, TOLD, Message


def deliveries_are_complete(evidence: Evidence) -> Finding:
    finding = Finding(
        "I11",
        "each event that a webhook asks for is taken under one id, signed and in its job's order, or dead with a reason",
    )
    due = [event for event in evidence.events if event["type"] in TOLD and event["product"] in PRODUCTS]
    planned = Counter(one["number"] for one in evidence.deliveries)
    for event in due:
        finding.look(
            unless(planned[event["_id"]] == 1, f"event {event['_id']} is planned {planned[event['_id']]} times")
        )
    finding.look(unless(len(due) == len(evidence.deliveries), f"{len(evidence.deliveries)} planned of {len(due)} due"))
    sent: defaultdict[str, list[Message]] = defaultdict(list)
    for message in evidence.messages:
        sent[message.id].append(message)
    for delivery in evidence.deliveries:
        finding.look(_unfinished(delivery, sent[delivery["_id"]]))
    finding.look(_out_of_order(evidence, sent))
    repeated = sum(sum(one.taken for one in messages) > 1 for messages in sent.values())
    dead = sum(one["status"] == "dead" for one in evidence.deliveries)
    finding.note = f"{len(evidence.messages)} messages, {repeated} taken more than once, {dead} deliveries dead"
    return finding


def _unfinished(delivery: Document, messages: list[Message]) -> Iterator[str]:
    name = delivery["_id"]
    yield from unless(delivery["status"] != "pending", f"{name} is pending in the end")
    if delivery["status"] == "delivered":
        yield from unless(any(one.taken for one in messages), f"{name} is delivered, and nobody has taken it")
    elif delivery["status"] == "dead":
        yield from unless(bool(delivery["reason"]) and len(messages) >= 1, f"{name} is dead for no reason")
    yield from unless(all(one.body is not None for one in messages), f"{name} was not signed as it should be")
    yield from unless(len({str(one.body) for one in messages}) <= 1, f"{name} says something else each time")


def _out_of_order(evidence: Evidence, sent: Mapping[str, list[Message]]) -> Iterator[str]:
    """The next is not sent before the one before was taken; one that was given up holds up nobody."""
    jobs: defaultdict[tuple[str, str], list[Document]] = defaultdict(list)
    for delivery in sorted(evidence.deliveries, key=lambda one: one["number"]):
        jobs[delivery["webhook_id"], delivery["job_id"]].append(delivery)
    for deliveries in jobs.values():
        for earlier, later in pairwise(deliveries):
            taken = min((one.at for one in sent[earlier["_id"]] if one.taken), default=None)
            first = min((one.at for one in sent[later["_id"]]), default=None)
            yield from unless(
                taken is None or first is None or taken <= first,
                f"{later['_id']} was sent before {earlier['_id']} was taken",
            )
