"""What the values of settings may be: each check raises ``ValueError``, which says what is wrong, and of secrets no more."""

from __future__ import annotations

import re
from base64 import b64decode
from ipaddress import ip_address, ip_network
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AnyHttpUrl, BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from jobs.input_matches import index_path_problem
from jobs.retention import LEAST_DAYS_OF_EVENTS
from storage.sealing import KEY_BYTES

AUTH_NONE: Final = "none"
AUTH_KEYS: Final = "keys"
AUTH_JWT: Final = "jwt"

_MOST_INDEXES: Final = 10
_ORIGIN: Final = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

_ASYMMETRIC: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Whoever can check these cannot sign; with HMAC, every gateway could make tokens."""


def modules(value: str) -> str:
    for name in filter(None, value.split(",")):
        if not _MODULE.fullmatch(name):
            raise ValueError(f"{name!r} is not a module name such as package.module")
    return value


def paths(value: str) -> str:
    paths = listed(value)
    if len(paths) > _MOST_INDEXES:
        raise ValueError(f"{len(paths)} paths, more than the {_MOST_INDEXES} allowed")
    for path in paths:
        problem = index_path_problem(path)
        if problem:
            raise ValueError(f"{path[:80]!r}: {problem}")
    return value


def keys(value: str) -> str:
    for number, key in enumerate(listed(value), start=1):
        try:
            length = len(b64decode(key, validate=True))
        except ValueError:
            length = 0
        if length != KEY_BYTES:
            # Which one, and not what it is: a message is logged.
            raise PydanticCustomError(
                "key", "key {number} is not {bytes} bytes in base64", {"number": number, "bytes": KEY_BYTES}
            )
    return value


def origins(value: str) -> str:
    for origin in listed(value):
        if not _ORIGIN.fullmatch(origin) or not _is_as_browsers_write_it(origin):
            raise ValueError(f"{origin[:80]!r} is not an origin as browsers name it, such as https://app.example.com")
    return value


def _is_as_browsers_write_it(origin: str) -> bool:
    """Which is what it is compared with: small letters, no port that the scheme has anyway."""
    try:
        return str(AnyHttpUrl(origin)) == f"{origin}/"
    except ValidationError:
        return False


def networks(value: str) -> str:
    """Addresses and networks of those who are believed: never everybody, since then anybody could name any address."""
    for network in listed(value):
        try:
            is_everybody = ip_network(network).prefixlen == 0
        except ValueError:
            raise ValueError(f"{network[:80]!r} is no address and no network such as 10.0.3.0/28") from None
        if is_everybody:
            raise ValueError(f"{network[:80]!r} is everybody: name the proxies alone, such as 10.0.3.0/28")
    return value


def listed(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (part.strip() for part in value.split(",")))))


def _unless_empty(value: object) -> object:
    return None if value == "" else value


Days = Annotated[Annotated[float, Field(ge=0, le=36_500)] | None, BeforeValidator(_unless_empty)]
"""An age at which something is removed; empty: never."""

DaysOfEvents = Annotated[
    Annotated[float, Field(ge=LEAST_DAYS_OF_EVENTS, le=36_500)] | None, BeforeValidator(_unless_empty)
]

PerSecond = Annotated[Annotated[float, Field(ge=0.001, le=1_000_000)] | None, BeforeValidator(_unless_empty)]
"""A rate; empty: no limit."""


def auth(value: str) -> str:
    """Ways in which callers may show who they are."""
    ways = listed(value)
    for way in ways:
        if way not in (AUTH_NONE, AUTH_KEYS, AUTH_JWT):
            raise ValueError(f"{way[:80]!r} is none of {AUTH_NONE}, {AUTH_KEYS} and {AUTH_JWT}")
    if AUTH_NONE in ways and len(ways) > 1:
        raise ValueError(f"{AUTH_NONE} stands alone")
    return value


def algorithms(value: str) -> str:
    """Algorithms of signatures that tokens may have."""
    for name in listed(value):
        if name not in _ASYMMETRIC:
            raise ValueError(f"{name[:80]!r} is none of {', '.join(_ASYMMETRIC)}")
    if not listed(value):
        raise ValueError("names no algorithm")
    return value


def key_set(value: str) -> str:
    """Where the keys are that tokens are signed with: a file, or a URL that nobody on the way can answer for."""
    if "://" not in value:
        return value
    url = urlsplit(value)
    if not url.hostname or not (url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname))):
        raise ValueError("must be the path of a file or an https URL; http is for loopback only")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
