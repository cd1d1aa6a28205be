"""Finding those who want an event: the same ones as by asking everybody, and without asking everybody."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.events import EventType
from jobs.feed import JobEvent, Snapshot
from jobs.filter_index import FilterIndex
from jobs.filters import EventFilter, InputMatch, JobFilter
from jobs.job import JobError
from jobs.lifecycle import JobStatus
from jobs.origins import Origin, OriginFilter
from tests.factories import NOW

SNAPSHOT: Final = Snapshot(JobStatus.QUEUED, False, "demo", "echo", "shop", "prd", (), NOW, NOW, 0, None, None)

# Few values, so that filters and events often meet; each condition may be missing, and may be empty.
NAMES: Final = st.sampled_from(["a", "b", "c"])
TYPES: Final = st.sampled_from([EventType.JOB_QUEUED, EventType.JOB_STARTED, EventType.JOB_FAILED])
STATUSES: Final = st.sampled_from([JobStatus.QUEUED, JobStatus.FAILED])
INSTANTS: Final = st.sampled_from([NOW + timedelta(seconds=number) for number in range(3)])


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(values, max_size=3).map(tuple)


FILTERS: Final = st.builds(
    EventFilter,
    types=some(TYPES),
    jobs=st.builds(
        JobFilter,
        ids=some(NAMES),
        status=some(STATUSES),
        recurring=st.none() | st.booleans(),
        product=some(NAMES),
        env=some(NAMES),
        namespace=some(NAMES),
        task=some(NAMES),
        tags=some(NAMES),
        from_=st.none() | INSTANTS,
        to=st.none() | INSTANTS,
        error_code=some(NAMES),
        idempotency_key=st.none() | NAMES,
        input=st.none() | st.just((InputMatch("a", 1),)),
    ),
    from_=st.none() | INSTANTS,
    to=st.none() | INSTANTS,
    origin=st.none() | st.builds(OriginFilter, by=some(NAMES), address=some(NAMES)),
)
SPARSE: Final = st.builds(
    EventFilter,
    types=some(TYPES),
    jobs=st.builds(JobFilter, ids=some(NAMES), product=some(NAMES), env=some(NAMES), task=some(NAMES)),
)
EVENTS: Final = st.builds(
    JobEvent,
    number=st.integers(1, 9),
    job_id=NAMES,
    seq=st.just(1),
    type=TYPES,
    at=INSTANTS,
    actor=NAMES,
    origin=st.none() | st.builds(Origin, address=NAMES),
    reason=st.none(),
    snapshot=st.builds(
        Snapshot,
        status=STATUSES,
        recurring=st.booleans(),
        namespace=NAMES,
        task=NAMES,
        product=NAMES,
        env=NAMES,
        tags=st.lists(NAMES, max_size=3).map(tuple),
        scheduled_at=st.just(NOW),
        effective_at=INSTANTS,
        execution_count=st.just(0),
        error=st.none() | st.builds(JobError, code=NAMES, message=st.just("")),
        idempotency_key=st.none() | NAMES,
    ),
)


@given(st.lists(FILTERS | SPARSE, max_size=4), st.lists(EVENTS, min_size=1, max_size=4), st.sets(st.integers(0, 3)))
def test_those_are_found_whose_filter_matches(
    filters: Sequence[EventFilter], events: Sequence[JobEvent], gone: set[int]
) -> None:
    index: FilterIndex[int] = FilterIndex()
    for owner, wanted in enumerate(filters):
        index.add(owner, wanted)
    for owner in gone & set(range(len(filters))):
        index.discard(owner)
    there = [owner for owner in range(len(filters)) if owner not in gone]
    assert (len(index), sorted(index)) == (len(there), there)
    for event in events:
        asked = [owner for owner in there if filters[owner].matches(event)]
        assert sorted(index.interested(event)) == asked
    for owner in there:
        index.discard(owner)
    assert (len(index), index._entries) == (0, {})


def event(**changes: Any) -> JobEvent:
    """A queued job_1 of the shop, but for ``changes``."""
    of_job = {name: changes.pop(name) for name in ("product", "env", "task") if name in changes}
    told = JobEvent(1, "job_1", 1, EventType.JOB_QUEUED, NOW, None, None, replace(SNAPSHOT, **of_job))
    return replace(told, **changes)


SELECTIVE: Final[dict[str, dict[str, Any]]] = {
    "ids": {"jobs": JobFilter(ids=("job_1", "job_2"))},
    "product": {"jobs": JobFilter(product=("shop", "books"))},
    "env": {"jobs": JobFilter(product=("shop",), env=("prd", "stg"))},
    "types": {"types": (EventType.JOB_QUEUED, EventType.JOB_FAILED)},
    "types of a product": {"types": (EventType.JOB_QUEUED,), "jobs": JobFilter(product=("shop",))},
    "all": {"types": (EventType.JOB_QUEUED,), "jobs": JobFilter(product=("shop",), env=("prd",))},
}
OTHERS: Final = {
    "ids": event(job_id="job_3"),
    "product": event(product="toys"),
    "env": event(env="dev"),
    "types": event(type=EventType.JOB_STARTED),
    "types of a product": event(type=EventType.JOB_STARTED),
    "all": event(env="dev"),
}


@pytest.mark.parametrize("kind", SELECTIVE)
def test_who_wants_something_else_is_not_even_asked(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[EventFilter] = []
    matches = EventFilter.matches

    def noted(self: EventFilter, *told: Any) -> bool:
        asked.append(self)
        return matches(self, *told)

    monkeypatch.setattr(EventFilter, "matches", noted)
    index: FilterIndex[str] = FilterIndex()
    wanted = EventFilter(**SELECTIVE[kind])
    with_more = replace(wanted, jobs=replace(wanted.jobs, task=("echo",)))
    index.add("exact", wanted)
    index.add("more", with_more)
    assert list(index.interested(OTHERS[kind])) == []
    assert asked == []
    # Nor is one asked for what has led to it: only for the rest.
    assert list(index.interested(event())) == ["exact", "more"]
    assert asked == [EventFilter(jobs=JobFilter(task=("echo",)))]


def test_a_filter_of_many_values_is_not_filed_under_all_their_combinations() -> None:
    """A thousand products in a thousand environments would be a million entries for one subscriber."""
    named = tuple(f"name_{number}" for number in range(1000))
    index: FilterIndex[str] = FilterIndex()
    index.add("broad", EventFilter(tuple(EventType), JobFilter(product=named, env=named)))
    assert len(index._entries) == 1000
    assert list(index.interested(event(product="name_3", env="name_5"))) == ["broad"]
    assert list(index.interested(event(product="name_3", env="prd"))) == []


@pytest.mark.parametrize("ids", [1, 1000])
def test_ids_lead_to_a_filter_however_many_they_are(ids: int) -> None:
    index: FilterIndex[str] = FilterIndex()
    index.add("some", EventFilter(jobs=JobFilter(ids=tuple(f"job_{number}" for number in range(1, ids + 1)))))
    assert list(index.interested(event(job_id=f"job_{ids}"))) == ["some"]
    assert list(index.interested(event(job_id=f"job_{ids + 1}"))) == []


def test_each_is_found_once_in_the_order_of_their_coming() -> None:
    index: FilterIndex[int] = FilterIndex()
    doubled = EventFilter((EventType.JOB_QUEUED,) * 2, JobFilter(product=("shop", "shop")))
    for owner in range(3):
        index.add(owner, doubled)
    assert list(index.interested(event())) == [0, 1, 2]


def test_conditions_that_are_empty_match_nothing() -> None:
    index: FilterIndex[str] = FilterIndex()
    for name in ("ids", "status", "product", "env", "namespace", "task", "tags"):
        empty: dict[str, Any] = {name: ()}
        index.add(name, EventFilter(jobs=JobFilter(**empty)))
    index.add("types", EventFilter(types=()))
    assert list(index.interested(event())) == []


@pytest.mark.parametrize(
    "more",
    [{"origin": OriginFilter(by=("ann",))}, {"from_": NOW + timedelta(seconds=1)}, {"to": NOW}],
    ids=["origin", "from", "to"],
)
def test_what_does_not_lead_to_a_filter_is_asked_of_each_event(more: dict[str, Any]) -> None:
    index: FilterIndex[str] = FilterIndex()
    index.add("all", EventFilter(jobs=JobFilter(product=("shop",))))
    index.add("some", EventFilter(jobs=JobFilter(product=("shop",)), **more))
    assert list(index.interested(event())) == ["all"]
