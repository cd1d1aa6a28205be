"""Answers that quote a secret: what is left of them does not tell it, in whatever spelling it came."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.guarded_http import Answer
from worker.masking import hidden, without_secrets

BEARER: Final = "t0ken-of-the-company"


def masked(body: bytes, *secrets: str, is_truncated: bool = False) -> bytes:
    return without_secrets(Answer(200, {}, body, is_truncated, timedelta(0)), secrets).body


def test_what_an_answer_quotes_is_masked() -> None:
    answer = Answer(200, {"x": f"a {BEARER} b"}, f"é {BEARER}".encode(), False, timedelta(0))
    without = without_secrets(answer, (BEARER,))
    assert (without.headers, without.body.decode()) == ({"x": "a [secret] b"}, "é [secret]")
    assert hidden({BEARER: [BEARER, 1, None]}, (BEARER,)) == {"[secret]": ["[secret]", 1, None]}


@pytest.mark.parametrize("secret", ['a"b\\c/d', "tab\tand\nlines\r\b\f", "pässwörd", "\N{KEY}\N{LOCK}keys"])
def test_any_spelling_is_masked(secret: str) -> None:
    plain, ascii_only = json.dumps(secret, ensure_ascii=False)[1:-1], json.dumps(secret)[1:-1]
    everything = "".join(f"\\u{unit}" for unit in secret.encode("utf-16-be").hex(" ", 2).split())
    for spelt in (
        secret,
        plain,
        ascii_only,
        plain.replace("/", "\\/"),
        everything,
        everything.upper().replace("U", "u"),
    ):
        assert masked(f"<{spelt}>".encode(), secret) == b"<[secret]>"


@given(st.text('ab/\\"+é', min_size=4, max_size=12), st.data())
def test_a_secret_that_is_cut_anywhere_leaves_nothing(secret: str, data: st.DataObject) -> None:
    spelt = data.draw(st.sampled_from([secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]))
    cut = spelt.encode()
    cut = cut[: data.draw(st.integers(0, len(cut)))]
    assert masked(b"<" + cut, secret, is_truncated=True) == b"<"


@pytest.mark.parametrize("end", ["xyzab", "xyza", "abcd-xyzab", "abcd-abcd"])
def test_what_is_cut_off_as_the_beginning_of_one_secret_leaves_none_of_another(end: str) -> None:
    secrets = ("abcd-xyzabe", "xyzab", "abQQ")
    assert masked(f"<{end}".encode(), *secrets, is_truncated=True) == b"<"


def test_an_end_that_begins_no_secret_stays() -> None:
    assert masked(b"t0ken-off", BEARER, is_truncated=True) == b"t0ken-off"
    assert masked(b"got t0ken", BEARER) == b"got t0ken"
    assert masked(b"anything", is_truncated=True) == b"anything"
