"""What a client takes for an answer."""

import pytest

from gateway.accepted import JSON, RESPONSE, Accepted

URQL = (
    "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"
)


@pytest.mark.parametrize(
    ("headers", "media_type"),
    [
        ([], JSON),
        (["*/*"], JSON),
        (["text/html"], JSON),
        ([""], JSON),
        ([JSON], JSON),
        ([RESPONSE], RESPONSE),
        (["Application/GraphQL-Response+JSON; charset=utf-8"], RESPONSE),
        ([f"{JSON}, {RESPONSE}"], RESPONSE),
        ([JSON, RESPONSE], RESPONSE),
        ([f"{RESPONSE};q=0.9, {JSON}"], JSON),
        ([f"{RESPONSE}; q=0.9, {JSON}; q=0.9"], RESPONSE),
        ([f"{RESPONSE};q=0.9, {JSON};q=0.8"], RESPONSE),
        ([f"{RESPONSE};q=0"], JSON),
        ([f"{RESPONSE};q=0.000, */*"], JSON),
        ([f"{RESPONSE};q=much"], RESPONSE),
        ([f"{RESPONSE};q=nan"], RESPONSE),
        ([f"{RESPONSE};q=0.5, application/*"], JSON),
        ([f"{RESPONSE};q=0.5, */*;q=0.1"], RESPONSE),
        ([f"{RESPONSE};q=0.5, */*"], JSON),
        ([f"{RESPONSE};q=0.5, {JSON};q=1.5"], JSON),
        ([URQL], RESPONSE),
    ],
)
def test_json_is_answered_in_the_media_type_that_is_wanted_most(headers: list[str], media_type: str) -> None:
    assert Accepted(headers).json == media_type


@pytest.mark.parametrize(
    ("headers", "stream", "only_stream"),
    [
        ([], False, False),
        (["text/event-stream"], True, True),
        (["text/event-stream;q=0"], False, False),
        ([f"{JSON};q=0, text/event-stream;q=0.1"], True, True),
        (["text/event-stream", "*/*;q=0.1"], True, False),
        ([URQL], True, False),
    ],
)
def test_a_stream_is_answered_to_those_who_take_it(headers: list[str], stream: bool, only_stream: bool) -> None:
    accepted = Accepted(headers)
    assert (accepted.stream, accepted.only_stream) == (stream, only_stream)
