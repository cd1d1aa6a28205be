"""Credentials of ``http.request``: what their file may say, and that it is told to nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from jobs.addresses import parse_url
from worker.http_credentials import (
    BadCredentials,
    load_credentials,
    origin_of,
    read_credentials,
)

BEARER: Final = "t0ken-of-the-company"
ORIGINS: Final = ["https://api.example.com"]


def read(allow_http: bool = False, **entry: Any) -> Any:
    return read_credentials(json.dumps({"billing": {"origins": ORIGINS, **entry}}), allow_http=allow_http)["billing"]


@pytest.mark.parametrize(
    ("entry", "header", "value"),
    [
        ({"bearer": BEARER}, "authorization", f"Bearer {BEARER}"),
        ({"basic": {"user": "ann", "password": BEARER}}, "authorization", "Basic YW5uOnQwa2VuLW9mLXRoZS1jb21wYW55"),
        ({"header": {"name": "X-Api-Key", "value": BEARER}}, "x-api-key", BEARER),
    ],
)
def test_a_credential_is_a_header_in_one_of_three_ways(entry: dict[str, Any], header: str, value: str) -> None:
    credential = read(**entry)
    assert (credential.header, credential.value) == (header, value)
    assert credential.origins == {"https://api.example.com:443"}
    assert BEARER not in repr(credential)
    assert BEARER in credential.secrets


def test_it_may_be_kept_to_some_products_and_envs() -> None:
    credential = read(bearer=BEARER, products=["shop"], envs=["prd"])
    assert [credential.is_for(*pair) for pair in (("shop", "prd"), ("shop", "dev"), ("blog", "prd"))] == [
        True,
        False,
        False,
    ]
    assert read(bearer=BEARER).is_for("any", "where")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://API.example.com/a?b", "https://api.example.com:443"),
        ("http://api.example.com", "http://api.example.com:80"),
        ("https://api.example.com:8443", "https://api.example.com:8443"),
        ("https://[::1]:1/", "https://[::1]:1"),
    ],
)
def test_an_origin_has_its_port(url: str, origin: str) -> None:
    assert origin_of(parse_url(url)) == origin


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "the top: "),
        (json.dumps({"a b": {"origins": ORIGINS, "bearer": BEARER}}), "a b.[key]: "),
    ],
)
def test_a_file_of_another_form_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(BadCredentials) as refused:
        read_credentials(text, allow_http=False)
    assert str(refused.value).startswith(complaint)
    assert BEARER not in str(refused.value)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({}, "billing: must have one of bearer, basic, header"),
        (
            {"bearer": BEARER, "header": {"name": "x", "value": BEARER}},
            "billing: must have one of bearer, basic, header",
        ),
        ({"bearer": BEARER, "origins": []}, "billing.origins: "),
        ({"bearer": BEARER, "origin": "x"}, "billing.origin: "),
        ({"bearer": [BEARER]}, "billing.bearer: "),
        ({"bearer": BEARER, "origins": ["api.example.com"]}, "billing.origins: 'api.example.com' must begin with http"),
        ({"bearer": BEARER, "origins": ["https://xn--ss.de"]}, "billing.origins: 'https://xn--ss.de' is not a URL: "),
        ({"bearer": BEARER, "origins": ["https://x.example/a"]}, "billing.origins: 'https://x.example/a' is more than"),
        ({"bearer": BEARER, "origins": ["https://x.example?"]}, "billing.origins: 'https://x.example?' is more than"),
        ({"bearer": BEARER, "origins": ["http://x.example"]}, "billing.origins: 'http://x.example' must begin with"),
        ({"bearer": f"{BEARER}\r\nX: y"}, "billing: what is sent must be one line of ASCII"),
        ({"bearer": f"{BEARER}é"}, "billing: what is sent must be one line of ASCII"),
        ({"bearer": "abc"}, "billing: a secret must have 4 characters at least"),
        ({"header": {"name": "X Y", "value": BEARER}}, "billing.header.name is not a header that may be set"),
        ({"header": {"name": "Host", "value": BEARER}}, "billing.header.name is not a header that may be set"),
        ({"basic": {"user": "a:b", "password": BEARER}}, "billing.basic.user: must not have a colon"),
        ({"basic": {"user": "a\nb", "password": BEARER}}, "billing.basic.user: "),
    ],
)
def test_what_makes_no_sense_is_named_and_no_secret_shown(entry: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadCredentials) as refused:
        read(**entry)
    assert str(refused.value).startswith(complaint)
    assert BEARER not in str(refused.value)


def test_without_tls_only_where_that_is_allowed() -> None:
    origins = ["http://127.0.0.1:81"]
    assert read(allow_http=True, bearer=BEARER, origins=origins).origins == set(origins)


def test_they_come_from_a_file(tmp_path: Path) -> None:
    assert load_credentials("", allow_http=False) == {}
    file = tmp_path / "credentials.json"
    with pytest.raises(BadCredentials, match="cannot be read: No such file or directory"):
        load_credentials(str(file), allow_http=False)
    file.write_bytes(b"\xff")
    with pytest.raises(BadCredentials, match="are not text in UTF-8"):
        load_credentials(str(file), allow_http=False)
    file.write_text("{")
    with pytest.raises(BadCredentials, match=r"credentials\.json: not JSON"):
        load_credentials(str(file), allow_http=False)
    file.write_text(json.dumps({"billing": {"origins": ORIGINS, "bearer": BEARER}}))
    assert list(load_credentials(str(file), allow_http=False)) == ["billing"]
