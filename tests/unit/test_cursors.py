import base64
import json
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.cursors import decode_cursor, encode_cursor
from jobs.errors import BadCursor, InvalidInput
from jobs.feed import feed_cursor, feed_number
from jobs.lifecycle import JobStatus
from jobs.paging import (
    Order,
    OrderField,
    PageRequest,
    job_cursor,
    job_position,
    order_value,
    page_request,
    page_size,
)
from jobs.times import EPOCH
from tests.factories import NOW, make_job

ORDERS = st.builds(Order, st.sampled_from(OrderField), st.booleans())
INSTANTS = st.integers(0, 253_339_228_800_000).map(lambda ms: EPOCH + timedelta(milliseconds=ms))


@given(ORDERS, INSTANTS, INSTANTS, st.none() | INSTANTS, st.integers(-1000, 1000), st.text(max_size=40))
def test_the_cursor_of_a_job_leads_to_its_place(
    order: Order, created: datetime, scheduled: datetime, completed: datetime | None, priority: int, suffix: str
) -> None:
    job = replace(
        make_job(job_id=f"job_{suffix}"),
        created_at=created,
        updated_at=created,
        scheduled_at=scheduled,
        completed_at=completed,
        priority=priority,
    )
    position = job_position(job_cursor(order, job), order)
    assert (position.value, position.job_id) == (order_value(order.field, job), job.id)


def test_a_cursor_of_another_order_is_refused() -> None:
    cursor = job_cursor(Order(OrderField.PRIORITY), make_job())
    for other in (Order(), Order(OrderField.PRIORITY, descending=False)):
        with pytest.raises(BadCursor):
            job_position(cursor, other)


@pytest.mark.parametrize(
    "parts",
    [
        ["job", "created_at", True, None, "job_1"],  # every job has been created
        ["job", "priority", True, None, "job_1"],
        ["job", "created_at", True, "1", "job_1"],
        ["job", "created_at", True, True, "job_1"],
        ["job", "created_at", True, 10**18, "job_1"],
        ["job", "created_at", True, 1],
        ["job"],
        ["feed", 1],
        [],
        {"job": 1},
        "job",
        1,
    ],
)
def test_parts_that_no_list_gave_out_are_refused(parts: object) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode().rstrip("=")
    order = Order(OrderField.PRIORITY) if "priority" in str(parts) else Order()
    with pytest.raises(BadCursor):
        job_position(cursor, order)


@given(st.text(max_size=600))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with suppress(BadCursor):
        assert feed_cursor(feed_number(text)) == text


@pytest.mark.parametrize("text", ["", "W10", "5", "W", "=", "WyJmZWVkIiwxXQ==", "\ud800", "ä", "[" * 300, "A" * 513])
def test_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        feed_number(text)


@pytest.mark.parametrize("number", [0, 1, 2**62])
def test_feed_cursors_lead_back_to_their_number(number: int) -> None:
    assert feed_number(feed_cursor(number)) == number


@pytest.mark.parametrize("part", [-1, 2**63, True, 1.0, "1", None])
def test_feed_cursors_hold_a_number_and_nothing_else(part: object) -> None:
    with pytest.raises(BadCursor):
        feed_number(encode_cursor(["feed", part]))


def test_deeply_nested_text_is_refused() -> None:
    with pytest.raises(BadCursor):
        decode_cursor(base64.urlsafe_b64encode(b"[" * 380).decode(), "feed", lambda _: 1)


def test_pages_have_bounds() -> None:
    assert (page_size(None, "first"), page_size(0, "first"), page_size(200, "first")) == (50, 0, 200)
    for size in (-1, 201):
        with pytest.raises(InvalidInput, match=f"last: must be between 0 and 200, not {size}"):
            page_size(size, "last")


def test_the_paging_arguments_are_checked_together() -> None:
    assert page_request(None, None, None, None) == PageRequest(50)
    assert page_request(5, None, "a", "b") == PageRequest(5, "a", "b")
    assert page_request(None, 5, None, "b") == PageRequest(5, None, "b", backward=True)
    with pytest.raises(InvalidInput, match="last: give first or last, not both"):
        page_request(1, 1, None, None)


def test_order_values_are_the_fields_of_the_job() -> None:
    done = replace(make_job(priority=3), completed_at=NOW + timedelta(seconds=1), status=JobStatus.COMPLETED)
    values = {field.value: order_value(field, done) for field in OrderField}
    assert values == {
        "created_at": NOW,
        "scheduled_at": NOW,
        "updated_at": NOW,
        "completed_at": NOW + timedelta(seconds=1),
        "priority": 3,
    }


def test_an_offset_goes_with_a_size_only() -> None:
    assert page_request(5, None, None, None, 10) == PageRequest(5, offset=10)
    for last, after, before in ((5, None, None), (None, "a", None), (None, None, "b")):
        with pytest.raises(InvalidInput, match="offset: goes with first only"):
            page_request(None, last, after, before, 10)
    for offset in (-1, 10_001):
        with pytest.raises(InvalidInput, match="offset: must be between 0 and 10000"):
            page_request(5, None, None, None, offset)
