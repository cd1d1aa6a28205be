"""What looks for secrets finds them, in whatever spelling: else that it finds none says nothing."""

import base64
import json
import logging
from urllib.parse import quote

import pytest

from jobs.api_keys import new_key
from tests.secrecy import HITS, Watching, findings, spellings
from tests.tokens import token
from tests.webhooks import KEY, SECRET

RAW = bytes(range(200, 232))
ODD = 'p"a/s\\s é word'


@pytest.mark.parametrize(
    "text",
    [new_key()[0], token(), SECRET, base64.b64encode(new_key()[0].encode()).decode(), new_key()[0].encode().hex()],
    ids=["key", "token", "secret of a webhook", "key in base64", "key in hexadecimal"],
)
def test_what_is_usable_is_known_by_its_shape(text: str) -> None:
    assert findings("here", f"some {text} there".encode(), {})
    assert findings("here", b"\0\x01" + text.encode() + b"\0", {})


def test_what_is_not_usable_is_not_taken_for_it() -> None:
    text, presented = new_key()
    for harmless in (presented.id.encode(), presented.digest, presented.digest.hex().encode(), b"jg_" + b"A" * 30):
        assert findings("here", harmless, {}) == []
    assert findings("here", text.encode()[:-1], {}) == []


@pytest.mark.parametrize("value", [RAW, ODD.encode(), b"x" * 31, b"y" * 32, b"z" * 33])
def test_what_has_no_shape_is_known_by_any_of_its_spellings(value: bytes) -> None:
    exact = dict.fromkeys(spellings(value), "it")
    ways = [value, value.hex().encode(), value.hex().upper().encode(), quote(value, safe="").encode()]
    for before in range(4):
        for behind in range(4):
            embedded = b"a" * before + value + b"b" * behind
            ways += [base64.b64encode(embedded), base64.urlsafe_b64encode(embedded)]
    if value == ODD.encode():
        ways.append(json.dumps({"password": ODD}).encode())
    for way in ways:
        assert findings("here", b"some " + way + b" there", exact), way


def test_the_secrets_of_webhooks_are_known_without_their_prefix_and_as_bytes() -> None:
    plain = SECRET.removeprefix("whsec_")
    for way in (plain.encode(), base64.b64decode(plain), KEY.encode(), base64.b64decode(KEY)):
        assert findings("here", way)


def test_what_is_logged_is_looked_at() -> None:
    before = len(HITS)
    record = logging.LogRecord("jobgate.x", logging.INFO, "x.py", 1, "shown: %s", (new_key()[0],), None)
    Watching().emit(record)
    assert len(HITS) == before + 1
    assert "an API key in the log of jobgate.x" in HITS.pop()


def test_what_the_product_logs_is_looked_at_from_the_least_level_on() -> None:
    before = len(HITS)
    logging.getLogger("jobgate.x").debug("shown: %s", new_key()[0])
    assert len(HITS) == before + 1
    assert "an API key in the log of jobgate.x" in HITS.pop()
